"""Which axes of the inputs and outputs of an equation are the same index, for what is nested."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from unf_lopt.symmetry.inference._jaxprs import shape_of
from unf_lopt.symmetry.inference._tables import registers
from unf_lopt.symmetry.inference.rules.elementwise import ELEMENTWISE

if TYPE_CHECKING:
    from unf_lopt.symmetry.inference._walk import Step

# Positions of axes that are the same index, of one array and of another.
Pairs = Sequence[tuple[int, int]]
# Which two arrays of an equation (inputs first, then outputs) have which axes in common.
Relations = list[tuple[int, int, Pairs]]

CALLS = {
    *("closed_call", "cond", "custom_jvp_call", "custom_vjp_call", "jit", "remat2", "scan", "while")
}
# Of a step; None where all axes of an array stay in order, end to end.
_Rule = Callable[["Step"], "Relations | None"]
RULES: dict[str, _Rule] = {}
_rule = registers(RULES)


def _same_places(step: Step, but: Sequence[int] = ()) -> Relations:
    """Every axis of an input is that of the outputs in its place, if it is as long."""
    count, relations = len(step.inputs), []
    for one, other in itertools.product(range(count), range(len(step.outputs))):
        sizes = zip(step.inputs[one], step.outputs[other], strict=False)
        same = [p for p, (a, b) in enumerate(sizes) if a.size == b.size and p not in but]
        relations.append((one, count + other, [(p, p) for p in same]))
    return relations


@_rule(*ELEMENTWISE)
def _elementwise(step: Step) -> Relations:
    return _same_places(step)


@_rule("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp")
def _cumulative(step: Step) -> Relations:
    return _same_places(step, [step.equation.params["axis"]])


@_rule("rev")
def _reverse(step: Step) -> Relations:
    return _same_places(step, step.equation.params["dimensions"])


@_rule("sort")
def _sort(step: Step) -> Relations:
    return _same_places(step, [step.equation.params["dimension"]])


@_rule("transpose")
def _transpose(step: Step) -> Relations:
    order = step.equation.params["permutation"]
    return [(0, 1, [(old, new) for new, old in enumerate(order)])]


@_rule("broadcast_in_dim")
def _broadcast(step: Step) -> Relations:
    """Along a new axis all is the same, so that it needs no rule."""
    return [(0, len(step.inputs), _kept(step))]


def _kept(step: Step) -> Pairs:
    """The axes of a broadcast array that it had before, as long as now."""
    places = enumerate(step.equation.params["broadcast_dimensions"])
    shape = shape_of(step.equation.outvars[0])
    return [(a, b) for a, b in places if step.inputs[0][a].size == shape[b]]


def new_axes(step: Step) -> set[int]:
    """The axes of an output along which it is the same, since it was broadcast."""
    if step.equation.primitive.name != "broadcast_in_dim":
        return set()
    return set(range(len(step.outputs[0]))) - {place for _, place in _kept(step)}


@_rule("squeeze")
def _squeeze(step: Step) -> Relations:
    return _without(step, step.equation.params["dimensions"])


@_rule("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or")
def _reduce(step: Step) -> Relations:
    return _without(step, step.equation.params["axes"])


@_rule("argmax", "argmin")
def _argmax(step: Step) -> Relations:
    return _without(step, step.equation.params["axes"])


def _without(step: Step, dropped: Sequence[int]) -> Relations:
    kept = [position for position in range(len(step.inputs[0])) if position not in dropped]
    return [(0, 1, [(old, new) for new, old in enumerate(kept)])]


@_rule("reshape")
def _reshape(step: Step) -> Relations | None:
    """The leaves of all axes, row-major, stay in order; not if they are transposed as well."""
    return [] if step.equation.params.get("dimensions") is not None else None


@_rule("dot_general")
def _dot_general(step: Step) -> Relations:
    (left, right), (left_batch, right_batch) = step.equation.params["dimension_numbers"]
    ranks = [len(axes) for axes in step.inputs]
    free = [
        [p for p in range(rank) if p not in (*used, *batch)]
        for rank, used, batch in zip(ranks, (left, right), (left_batch, right_batch), strict=True)
    ]
    out_left = [*left_batch, *free[0]]
    start = len(out_left)
    out_right = {p: n for n, p in enumerate(right_batch)}
    out_right |= {p: start + n for n, p in enumerate(free[1])}
    together = [*zip(left, right, strict=True), *zip(left_batch, right_batch, strict=True)]
    return [
        (0, 1, together),
        (0, 2, [(p, n) for n, p in enumerate(out_left)]),
        (1, 2, list(out_right.items())),
    ]


@_rule("slice", "split", "concatenate", "pad")
def _pieces(step: Step) -> Relations:
    """Axes that are taken or put in whole, and segments that are."""
    count, relations = len(step.inputs), []
    for one, other in itertools.product(range(count), range(len(step.outputs))):
        own, result = step.inputs[one], step.outputs[other]
        if len(own) == len(result):  # not so of the number that pads
            same = range(len(own))
            relations.append((one, count + other, [(p, p) for p in same]))
    return relations
