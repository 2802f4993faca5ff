"""The permutation symmetries of a loss function, found from its jaxpr."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr
from jax.interpreters import partial_eval

from unf_lopt._types import PyTree
from unf_lopt.symmetry import _axes
from unf_lopt.symmetry._axes import Axis
from unf_lopt.symmetry._errors import SpecError
from unf_lopt.symmetry._provenance import Provenance
from unf_lopt.symmetry._spec import PermutationSpec
from unf_lopt.symmetry.inference._graph import AxisGraph, Node
from unf_lopt.symmetry.inference._nested import find_nesting
from unf_lopt.symmetry.inference._result import make_spec, node_key, nodes_of_spaces
from unf_lopt.symmetry.inference._trace import TracedLoss, trace_loss
from unf_lopt.symmetry.inference._walk import Axes, Step, Walker

RANDOMNESS = ("frozen", "in_distribution")


def infer_spec(
    loss_fn: Callable[..., Any],
    params: PyTree,
    *args: Any,
    has_aux: bool = False,
    state_argnum: int | None = None,
    randomness: str = "frozen",
    within: PermutationSpec | None = None,
    nested: bool = False,
) -> PermutationSpec:
    """Finds which axes of which parameters may be permuted together without changing the loss.

    The loss is traced, never computed; whatever library wrote it, its jaxpr is all that counts.
    Every axis of every array gets a node; each equation ties the nodes that it needs equal and
    freezes those in which order counts. What is left free is a symmetry: for every choice of
    permutations ``loss(permuted params) == loss(params)``, up to rounding. Data are never
    permuted. A primitive of which no rule is known freezes what it touches, and the spec names
    it. Permutations of each head's, or each scanned layer's, own are looked for with ``nested``;
    signs and scales are not found.

    Args:
      loss_fn: ``loss_fn(params, *args)`` returns a scalar; with ``state_argnum``
        ``(loss, new_state)``; with ``has_aux`` one more output, which is ignored.
      params: the parameters, as arrays or ``jax.ShapeDtypeStruct``. Integer arrays count as
        parameters like others.
      *args: the other arguments (data, PRNG keys, model state), the same.
      has_aux: whether the last output is auxiliary.
      state_argnum: the position among ``args`` of the model state (running averages), which is
        permuted with the parameters.
      randomness: ``"frozen"``: the loss is invariant for every PRNG key, so axes of random draws
        are fixed. ``"in_distribution"``: it is invariant in distribution over its keys. The
        independent numbers of one draw may be permuted, and so may the rows of a split, with all
        that derives from them. Draws that may be the same numbers are permuted alike; draws that
        may be related otherwise (one key for two shapes, a key and its descendants, words of a
        key used as numbers) are frozen, and all draws are if one uses a key that cannot be
        followed. Keys that are different arguments, or closed over with different values, are
        taken to be independent, as are different derivations of one key.
      within: a spec whose symmetries are an upper limit: the result is the part of them that the
        loss has.
      nested: whether groups are nested in other spaces where every operation allows it: the width
        of an attention in its heads, the hidden units of a mixture of experts in these, those of
        layers stacked for ``lax.scan`` in the layers. By default a group has one permutation, the
        same for all heads.

    Returns:
      The spec. Spaces are named after the first axis that they occupy (``"layer/w:1"``);
      ``spec.explain(path, axis)`` says what tied or froze an axis.

    Raises:
      SpecError: params have no leaves or an empty one, an argument is no array, the loss is not
        a scalar, or the outputs do not fit ``has_aux`` and ``state_argnum``.
      ValueError: an unknown ``randomness``, or ``nested`` together with ``within``.

    Example:
      >>> params = {"w": jnp.zeros((5, 3)), "v": jnp.zeros(3)}
      >>> loss = lambda params, x: jnp.sum(jnp.tanh(x @ params["w"]) * params["v"])
      >>> infer_spec(loss, params, jnp.ones(5)).groups
      {'v:0': 3}
    """
    traced = trace_loss(loss_fn, params, args, has_aux=has_aux, state_argnum=state_argnum)
    options: dict[str, Any] = {"randomness": randomness, "within": within, "nested": nested}
    return infer_traced(traced, **options).spec


@dataclasses.dataclass(frozen=True)
class Inference:
    """What one walk over a loss found.

    Attributes:
      graph: the axes.
      inputs: the axes of every input of the loss.
      steps: every equation with the axes of its inputs and outputs, where they were kept.
      spec: the spec of the parameters.
      limits: the node of every space of the spec that limited the inference, if one did.
    """

    graph: AxisGraph
    inputs: list[Axes]
    steps: list[Step]
    spec: PermutationSpec
    limits: Mapping[str, Node]


def infer_traced(
    traced: TracedLoss,
    *,
    randomness: str = "frozen",
    within: PermutationSpec | None = None,
    record: bool = False,
    nested: bool = False,
) -> Inference:
    """:func:`infer_spec` of a loss that is traced already.

    Args:
      traced: the loss.
      randomness: see :func:`infer_spec`.
      within: see :func:`infer_spec`.
      record: whether to keep what the walk saw, equation by equation.
      nested: see :func:`infer_spec`.
    """
    if nested and within is not None:
        raise ValueError(
            "infer_spec: nested=True does not go with within=..., which has one permutation."
        )
    if randomness not in RANDOMNESS:
        raise ValueError(f"randomness={randomness!r}: choose one of {RANDOMNESS}.")
    graph = AxisGraph()
    limits: dict[str, Node] = {}
    if within is None:
        inputs = [tuple(map(graph.leaf, value.shape)) for value in traced.inputs]
    else:
        limits, inputs = axes_of_spec(graph, fitted(within, traced, "infer_spec(within=...)"))
    count = len(traced.paths)
    inputs, parameters = inputs[:count], dict(zip(traced.paths, inputs[:count], strict=True))
    graph.reason = "data, which is never permuted"
    for number, value in enumerate(traced.inputs[count:], count):
        free = number in traced.state_inputs
        inputs.append(tuple(graph.leaf(size, frozen=not free) for size in value.shape))
    walker = Walker(graph, randomness, record or nested)
    jaxpr = _walk_loss(walker, traced, inputs)
    spec = make_spec(graph, parameters)
    if nested:
        own = [axes for n, axes in enumerate(inputs) if n < count or n in traced.state_inputs]
        nodes = nodes_of_spaces(graph, parameters)
        spec = spec.nest(find_nesting(spec, graph, nodes, own, walker.steps[0], jaxpr))
    spec = dataclasses.replace(spec, provenance=_provenance(walker, parameters))
    return Inference(graph, inputs, walker.steps[0] if record else [], spec, limits)


def state_spec(traced: TracedLoss, spec: PermutationSpec) -> PermutationSpec:
    """How the model state is permuted when a spec's groups permute the parameters.

    Args:
      traced: a loss with model state.
      spec: a spec of its parameters.

    Returns:
      A spec of the state's leaves whose groups are groups of ``spec``; all else is fixed.
    """
    found = infer_traced(traced, within=spec)
    names = {}
    for space in spec.groups:
        node = found.limits[space].find()
        names[node_key(node)] = space
        for leaf in found.graph.leaves(node):
            leaf.frozen = False  # whether the group is a symmetry is not the question here
    arrays = dict(
        zip(traced.state_paths, (found.inputs[i] for i in traced.state_inputs), strict=True)
    )
    state = make_spec(found.graph, arrays, names)
    return dataclasses.replace(state, fixed=frozenset(state.spaces.keys() - spec.groups.keys()))


def common_refinement(specs: Sequence[PermutationSpec]) -> PermutationSpec:
    """The largest symmetry that several specs of the same parameters share.

    Of nested groups one permutation for all indices of their outer spaces is left.

    Raises:
      SpecError: the specs are not of the same parameters, or there is none.
    """
    if not specs:
        raise SpecError("common_refinement needs at least one spec.")
    graph = AxisGraph()
    first, *others = specs
    _, axes = axes_of_spec(graph, first)
    for given in others:
        try:
            other = given.aligned(first.paths)
        except SpecError:
            other = None
        if other is None or first.shapes != other.shapes:
            raise SpecError(
                f"specs of different parameters have no common refinement:\n"
                f"{first.difference(given)}"
            )
        for mine, theirs in zip(axes, axes_of_spec(graph, other)[1], strict=True):
            for a, b in zip(mine, theirs, strict=True):
                graph.unify(a, b)
    return make_spec(graph, dict(zip(first.paths, axes, strict=True)))


def axes_of_spec(
    graph: AxisGraph, spec: PermutationSpec
) -> tuple[dict[str, Node], list[tuple[Node, ...]]]:
    """New nodes for the spaces of a spec, by name, and for the axes of its parameters."""
    spaces = {name: graph.leaf(n, frozen=name in spec.fixed) for name, n in spec.sizes}

    def node(axis: Axis) -> Node:
        if isinstance(axis, str):
            return spaces[axis]
        parts = [node(part) for part in _axes.parts_of(axis)]
        return graph.product(parts) if isinstance(axis, _axes.Product) else graph.sum(parts)

    return spaces, [tuple(map(node, own)) for own in spec.axes]


def _walk_loss(walker: Walker, traced: TracedLoss, inputs: Sequence[Axes]) -> Jaxpr:
    """Walks what the loss and the new state depend on, and ties the state that goes in and out.

    Returns:
      The jaxpr that was walked.
    """
    outputs = [True] * len(traced.jaxpr.jaxpr.outvars)
    jaxpr, used = partial_eval.dce_jaxpr(traced.jaxpr.jaxpr, outputs)
    live = [axes for axes, is_used in zip(inputs, used, strict=True) if is_used]
    walker.graph.reason = None
    _, *new_state = walker.walk(ClosedJaxpr(jaxpr, traced.jaxpr.consts), live)
    walker.graph.reason = "the model state, which has the same axes before and after a step"
    for number, axes in zip(traced.state_inputs, new_state, strict=True):
        walker.unify_arrays(inputs[number], walker.used(axes))
    return jaxpr


def fitted(spec: PermutationSpec, traced: TracedLoss, caller: str) -> PermutationSpec:
    """A spec with the paths, in the order, that the parameters of a loss have.

    Raises:
      SpecError: the spec has other parameters, or a parameter another shape; it names the caller.
    """
    try:
        spec = spec.aligned(traced.paths)
    except SpecError as error:
        raise SpecError(f"{caller}: the spec does not fit params: {error}") from None
    for path, own, leaf in zip(traced.paths, spec.shapes, traced.inputs, strict=False):
        if own != leaf.shape:
            raise SpecError(f"{caller}: '{path}' has shape {leaf.shape}, but {own} in the spec.")
    return spec


def _provenance(walker: Walker, parameters: Mapping[str, Axes]) -> Provenance:
    graph = walker.graph
    axes = {
        (path, position): node.number
        for path, own in parameters.items()
        for position, node in enumerate(own)
    }
    return Provenance(
        axes, graph.parts_of_nodes(), tuple(graph.edges), graph.frozen_by, walker.without_rule
    )
