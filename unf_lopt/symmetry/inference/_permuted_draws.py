"""A loss whose random draws are permuted: what a symmetry in distribution is tested with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core
from jax.extend.core import primitives

from unf_lopt.symmetry import _axes
from unf_lopt.symmetry._errors import SpecError
from unf_lopt.symmetry.inference._graph import LEAF
from unf_lopt.symmetry.inference._infer import Inference
from unf_lopt.symmetry.inference._jaxprs import aval_of, opened
from unf_lopt.symmetry.inference._key_flow import jaxprs_walked
from unf_lopt.symmetry.inference._key_rules import DRAWS
from unf_lopt.symmetry.inference._result import AxisReader, node_key
from unf_lopt.symmetry.inference._trace import TracedLoss
from unf_lopt.symmetry.inference._walk import Step

Replacement = Callable[[Step], Callable[..., Any] | None]


def permute_draws(
    traced: TracedLoss, inference: Inference, permutation: Mapping[str, Any]
) -> core.ClosedJaxpr:
    """The jaxpr of a loss in which every random draw comes out permuted.

    A spec is a symmetry in distribution if, for every key, this jaxpr gives at the permuted
    parameters what the loss gives at the parameters, and if draws that are the same numbers are
    permuted alike.

    Args:
      traced: the loss.
      inference: ``infer_traced(traced, within=spec, randomness="in_distribution", record=True)``.
      permutation: ``{group of spec: index array}``, as ``spec.sample`` gives it. Index arrays may
        be tracers if the jaxpr is then evaluated equation by equation.

    Raises:
      SpecError: a group is not found to be a symmetry, so how draws move with it is not known.
    """
    indices_of = draw_indices(inference, permutation)

    def replacement(step: Step) -> Callable[..., Any] | None:
        indices = indices_of(step)
        return moved_draw(step.equation, indices) if indices else None

    return replace_equations(traced.jaxpr, inference.steps, replacement)


def draw_indices(
    inference: Inference, permutation: Mapping[str, Any], xp: Any = jnp
) -> Callable[[Step], dict[int, Any]]:
    """How what is drawn, or split from keys, moves: ``{axis of an equation's output: index}``.

    Arguments and errors are those of :func:`permute_draws`; ``xp`` is ``jax.numpy`` or ``numpy``.
    """
    draws = [step.outputs[0] for step in _draws_of(inference.steps)]
    reader = AxisReader(inference.graph, draws)
    indices = {_key_of(inference, group): index for group, index in permutation.items()}
    if len(indices) < len(permutation):
        raise SpecError(f"some of the groups {sorted(permutation)} have to be permuted alike.")

    def indices_of(step: Step) -> dict[int, Any]:
        if step.equation.primitive.name not in DRAWS:
            return {}
        first = aval_of(step.equation.invars[0]).ndim  # a key moves with all that it makes
        axes = {
            position: reader.read(node)
            for position, node in enumerate(step.outputs[0][first:], first)
        }
        return {
            position: _axes.index_of(axis, indices, reader.sizes, xp)
            for position, axis in axes.items()
            if not indices.keys().isdisjoint(_axes.spaces_of(axis))
        }

    return indices_of


def moved_draw(equation: core.JaxprEqn, indices: Mapping[int, Any]) -> Callable[..., Any]:
    """An equation that draws, as a function whose output is permuted along some axes."""

    def function(keys: Any, *parameters: Any) -> Any:
        # An entry drawn for a parameter (of a gamma distribution) moves with the parameter.
        inverse = {axis: jnp.argsort(index) for axis, index in indices.items()}
        before = [_taken(parameter, inverse) for parameter in parameters]
        return _taken(equation.primitive.bind(keys, *before, **equation.params), indices)

    return function


def replace_equations(jaxpr: Any, steps: Sequence[Step], replacement: Replacement) -> Any:
    """A jaxpr, open or closed, with some equations, inner ones included, computed by functions.

    Args:
      jaxpr: a jaxpr.
      steps: what a walk saw of it.
      replacement: gives the function of an equation's inputs that stands for it, or None.
    """
    inner, consts = opened(jaxpr)
    changed = inner.replace(eqns=[_replaced_equation(step, replacement) for step in steps])
    return core.ClosedJaxpr(changed, consts) if isinstance(jaxpr, core.ClosedJaxpr) else changed


def _replaced_equation(step: Step, replacement: Replacement) -> core.JaxprEqn:
    equation = step.equation
    function = replacement(step)
    if function is not None:
        closed = jax.make_jaxpr(function)(*(atom.aval for atom in equation.invars))
        return equation.replace(
            primitive=primitives.closed_call_p,
            params={"call_jaxpr": closed},
            effects=closed.effects,
        )
    params = dict(equation.params)
    inner = iter(step.inner)
    for name in jaxprs_walked(step) if step.inner else ():
        bodies = params[name] if isinstance(params[name], tuple) else (params[name],)
        changed = tuple(replace_equations(body, next(inner), replacement) for body in bodies)
        params[name] = changed if isinstance(params[name], tuple) else changed[0]
    return equation.replace(params=params)


def _taken(array: Any, indices: Mapping[int, Any]) -> Any:
    for axis, index in indices.items():
        array = jnp.take(array, index, axis)
    return array


def _draws_of(steps: Sequence[Step]) -> Iterator[Step]:
    for step in steps:
        if step.equation.primitive.name in DRAWS:
            yield step
        for inner in step.inner:
            yield from _draws_of(inner)


def _key_of(inference: Inference, group: str) -> str:
    """The name under which a reader of axes knows a group."""
    node = inference.limits[group].find()
    if node.kind is not LEAF or node.frozen:
        raise SpecError(
            f"the loss is not known to be symmetric in distribution under {group!r}: how its "
            "random draws are to be permuted cannot be said. infer_spec(..., within=spec, "
            "randomness='in_distribution') gives the part of the spec that is known to be one."
        )
    return node_key(node)
