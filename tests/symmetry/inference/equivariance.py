"""Does every equation commute with the permutations that its axes are said to leave free?

For a permutation of every free leaf of the axis graph, each array has its permuted version. An
equation's rule is right for these numbers if the equation, given the permuted inputs, computes
the permuted outputs. If that holds of every equation, and a variable's axes are the same where it
is computed and where it is used, then the whole loss is invariant; if not, the first violation
names the rule that is wrong.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

from tests.symmetry.inference import evaluation
from tests.symmetry.inference.evaluation import Visit
from unf_lopt.symmetry.inference import Inference, TracedLoss
from unf_lopt.symmetry.inference._constants import Constant
from unf_lopt.symmetry.inference._graph import LEAF, SUM, Node
from unf_lopt.symmetry.inference._reads import is_live, read_variables

Axes = tuple[Node, ...]
RELATIVE_ERROR = {8: 1e-9, 4: 1e-4, 2: 1e-2}  # of the largest entry out, by the bytes of a number
ROUNDING = 1e-3  # of that error, of the largest entry that goes in: sums may cancel


@dataclasses.dataclass(frozen=True)
class Violation:
    """An equation that does not do what its rule says.

    Attributes:
      primitive: its primitive.
      what: what is wrong.
      equation: the equation.
    """

    primitive: str
    what: str
    equation: core.JaxprEqn

    def __str__(self) -> str:
        shapes = [getattr(v.aval, "shape", ()) for v in self.equation.invars]
        return f"{self.primitive} of {shapes}: {self.what}\n{self.equation}"


class GroupElement:
    """A permutation, never the identity, of every leaf that is left free.

    Args:
      rng: where they are drawn from.
    """

    def __init__(self, rng: np.random.Generator):
        self._rng = rng
        self._drawn: dict[Node, np.ndarray | None] = {}

    def index(self, node: Node) -> np.ndarray | None:
        """``permuted[i] = original[index[i]]`` along an axis; None for the identity."""
        node = node.find()
        if node not in self._drawn:
            self._drawn[node] = self._draw(node) if node.kind is LEAF else self._combine(node)
        return self._drawn[node]

    def apply(self, axes: Axes, value: Any) -> Any:
        """The permuted version of an array."""
        for position, node in enumerate(axes):
            index = self.index(node)
            if index is not None:
                value = value[(slice(None),) * position + (index,)]
        return value

    def moves(self, axes: Axes) -> bool:
        """Whether anything happens to an array of these axes."""
        return any(self.index(node) is not None for node in axes)

    def _draw(self, leaf: Node) -> np.ndarray | None:
        if leaf.frozen or leaf.size < 2:
            return None
        while True:
            index = self._rng.permutation(leaf.size)
            if (index != np.arange(leaf.size)).any():
                return index

    def _combine(self, node: Node) -> np.ndarray | None:
        parts = [(self.index(part), part.find().size) for part in node.parts]
        if all(index is None for index, _ in parts):
            return None
        total = np.zeros(0 if node.kind is SUM else 1, int)
        for index, size in parts:
            index = np.arange(size) if index is None else index
            if node.kind is SUM:
                total = np.concatenate([total, index + len(total)])
            else:
                total = np.add.outer(total * size, index).reshape(-1)
        if len(total) != node.size:
            raise ValueError(f"an axis of size {node.size} has parts for {len(total)} entries.")
        return total


@dataclasses.dataclass
class Report:
    """What one program told.

    Attributes:
      violations: the first of every equation that has one, in order of the program.
      exercised: how often each primitive was evaluated on, or gave, something that is permuted.
      met: how often it was met at all.
      free_axes: how many axes of the parameters, of more than one entry, are permuted.
      all_axes: how many there are.
    """

    violations: list[Violation]
    exercised: collections.Counter[str]
    met: collections.Counter[str]
    free_axes: int
    all_axes: int


@dataclasses.dataclass(frozen=True)
class Program:
    """A traced loss and what its equations compute on some inputs.

    Attributes:
      traced: the loss.
      jaxpr: without dead code.
      used: which inputs are alive.
      visits: the numbers.
    """

    traced: TracedLoss
    jaxpr: core.ClosedJaxpr
    used: list[bool]
    visits: list[Visit]


def run_program(traced: TracedLoss, inputs: Sequence[Any]) -> Program:
    """Evaluates a loss on some inputs, in the precision in force."""
    jaxpr, used = evaluation.live_jaxpr(traced)
    alive = [value for value, is_used in zip(inputs, used, strict=True) if is_used]
    _, visits = evaluation.evaluate(jaxpr, alive)
    return Program(traced, jaxpr, used, visits)


def check(program: Program, inference: Inference, seed: int, first_only: bool = False) -> Report:
    """Checks every equation of a program against the axes that an inference gave it.

    Args:
      program: the program.
      inference: of its loss, with ``record=True``.
      seed: of the permutations.
      first_only: whether to stop at the first violation.
    """
    element = GroupElement(np.random.default_rng(seed))
    count = len(program.traced.paths)
    axes = [axis for own in inference.inputs[:count] for axis in own if axis.size > 1]
    free = sum(element.index(axis) is not None for axis in axes)
    report = Report([], collections.Counter(), collections.Counter(), free, len(axes))
    alive = [a for a, is_used in zip(inference.inputs, program.used, strict=True) if is_used]
    jaxpr = program.jaxpr.jaxpr
    for violation in _check_jaxpr(jaxpr, alive, inference.steps, program.visits, element, report):
        report.violations.append(violation)
        if first_only:
            break
    return report


def _check_jaxpr(
    jaxpr: core.Jaxpr,
    inputs: Sequence[Axes],
    steps: Sequence[Any],
    visits: Sequence[Visit],
    element: GroupElement,
    report: Report,
) -> Iterator[Violation]:
    places, read = dict(zip(jaxpr.invars, inputs, strict=True)), read_variables(jaxpr)
    for step, visit in zip(steps, visits, strict=True):
        name = step.equation.primitive.name
        places.update(zip(step.equation.outvars, step.outputs, strict=True))
        report.met[name] += 1
        if not is_live(step.equation, read):
            continue
        report.exercised[name] += any(map(element.moves, (*step.inputs, *step.outputs)))
        for what in _equation_faults(step, visit, places, element, read):
            yield Violation(name, what, step.equation)
        yield from _check_bodies(step, visit, element, report)


def _equation_faults(
    step: Any,
    visit: Visit,
    places: dict[core.Var, Axes],
    element: GroupElement,
    read: set[core.Var],
) -> Iterator[str]:
    """At most one fault of an equation, in the outputs on which anything depends."""
    arguments = []
    own = (step.equation.invars, step.inputs, visit.arguments, visit.is_constant)
    for number, (atom, axes, value, is_constant) in enumerate(zip(*own, strict=True)):
        if _sizes(axes) != np.shape(value):
            yield f"input {number} has shape {np.shape(value)}, its axes {_sizes(axes)}"
            return
        permuted = element.apply(axes, value)
        if is_constant:
            if permuted is not value and not _same(permuted, value):
                yield f"input {number} is a constant that its axes' permutations change"
                return
            permuted = value
        elif isinstance(places[atom], Constant):
            if not all(_same(element.apply(a, value), value) for a in (places[atom], axes)):
                yield f"input {number} is computed from constants, and its permutations change it"
                return
        elif not _act_alike(places[atom], axes, element, value):
            yield f"input {number} has other axes than where it was computed"
            return
        arguments.append(permuted)
    for number, (axes, value) in enumerate(zip(step.outputs, visit.results, strict=True)):
        if _sizes(axes) != np.shape(value):
            yield f"output {number} has shape {np.shape(value)}, its axes {_sizes(axes)}"
            return
        for position, node in enumerate(axes):
            if node.uniform and not _is_uniform(value, position):
                yield f"output {number} varies along axis {position}, which is said to be uniform"
                return
    if evaluation.is_call(step.equation):
        return  # its body is checked
    if not any(map(element.moves, (*step.inputs, *step.outputs))):
        return
    results = evaluation.compute(step.equation, arguments)
    scale = max(map(_scale, visit.arguments), default=0.0)
    for number, (axes, var) in enumerate(zip(step.outputs, step.equation.outvars, strict=True)):
        if var not in read:
            continue
        expected = element.apply(axes, visit.results[number])
        if not _close(results[number], expected, scale):
            yield f"output {number} of the permuted inputs is not the permuted output"
            return


def _check_bodies(
    step: Any, visit: Visit, element: GroupElement, report: Report
) -> Iterator[Violation]:
    equation, name = step.equation, step.equation.primitive.name
    inside = evaluation.bodies(equation)
    if len(step.inner) != len(inside):
        if any(map(element.moves, (*step.inputs, *step.outputs))):
            yield Violation(name, "its rule did not walk all jaxprs inside", equation)
        return
    for body, steps, times in zip(inside, step.inner, visit.inner, strict=True):
        inputs = [
            step.inputs[source][1:] if sliced else step.inputs[source]
            for source, sliced in zip(body.sources, body.sliced, strict=True)
        ]
        for visits in times:
            yield from _check_jaxpr(body.jaxpr.jaxpr, inputs, steps, visits, element, report)
    if evaluation.is_call(equation):
        yield from _call_faults(step, inside[0], element)


def _call_faults(step: Any, body: evaluation.Body, element: GroupElement) -> Iterator[Violation]:
    """A call's outputs have the axes that its jaxpr gave them."""
    jaxpr = body.jaxpr.jaxpr
    places = dict(zip(jaxpr.invars, step.inputs, strict=True))
    for inner in step.inner[0]:
        places.update(zip(inner.equation.outvars, inner.outputs, strict=True))
    for number, (atom, axes) in enumerate(zip(jaxpr.outvars, step.outputs, strict=True)):
        if atom in places and not _act_alike(places[atom], axes, element):
            what = f"output {number} has other axes than inside the call"
            yield Violation(step.equation.primitive.name, what, step.equation)


def _act_alike(left: Axes, right: Axes, element: GroupElement, value: Any = None) -> bool:
    """Whether two arrays of axes are moved alike.

    Where the first is marked as uniform, and the array is, they need not be: an array that does
    not vary along an axis is the same under every permutation of it.
    """
    if len(left) != len(right):
        return False
    for position, (a, b) in enumerate(zip(left, right, strict=True)):
        one, other = element.index(a), element.index(b)
        alike = one is other or (one is not None and other is not None and (one == other).all())
        if not alike and not (a.uniform and value is not None and _is_uniform(value, position)):
            return False
    return True


def _is_uniform(value: Any, position: int) -> bool:
    if jax.dtypes.issubdtype(getattr(value, "dtype", np.dtype(float)), jax.dtypes.prng_key):
        return False
    array = np.asarray(value)
    return _close(array, np.broadcast_to(array.take([0], position), array.shape), 0.0)


def _sizes(axes: Axes) -> tuple[int, ...]:
    return tuple(node.size for node in axes)


def _plain(value: Any) -> np.ndarray:
    if jax.dtypes.issubdtype(getattr(value, "dtype", np.dtype(float)), jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    array = np.asarray(value)
    return array if array.dtype.kind in "fciub" else array.astype(np.float64)


def _scale(value: Any) -> float:
    array = _plain(value)
    if array.dtype.kind not in "fc":
        return 0.0
    return float(np.max(np.abs(array), where=np.isfinite(array), initial=0.0))


def _same(left: Any, right: Any) -> bool:
    return np.array_equal(_plain(left), _plain(right), equal_nan=_plain(left).dtype.kind in "fc")


def _close(actual: Any, expected: Any, scale: float) -> bool:
    width = getattr(expected, "dtype", np.dtype(float)).itemsize
    actual, expected = _plain(actual), _plain(expected)
    if actual.dtype.kind not in "fc":
        return np.array_equal(actual, expected)
    if actual.shape != expected.shape:
        return False
    error = RELATIVE_ERROR[width // 2 if actual.dtype.kind == "c" else width]
    bound = error * (_scale(expected) + ROUNDING * scale)
    return np.allclose(actual, expected, rtol=error, atol=bound, equal_nan=True)
