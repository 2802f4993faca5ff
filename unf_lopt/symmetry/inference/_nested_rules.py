"""Which axes of the inputs and outputs of an equation are the same index, for what is nested."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from unf_lopt.symmetry.inference._graph import is_fixed
from unf_lopt.symmetry.inference._jaxprs import shape_of
from unf_lopt.symmetry.inference._tables import registers
from unf_lopt.symmetry.inference.rules.contraction import convolved_alone
from unf_lopt.symmetry.inference.rules.elementwise import ELEMENTWISE
from unf_lopt.symmetry.inference.rules.windows import window_passes

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
def _reshape(step: Step) -> None:
    """The leaves of all axes, row-major, stay in order."""


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


def _first(axis: int) -> int:
    """The place of an axis's first factor, where all axes have two."""
    return 2 * axis


def _rest(axis: int) -> int:
    """The place of what an axis has beside its first factor."""
    return 2 * axis + 1


def _groups(step: Step) -> list[dict[int, int]]:
    """Channels of group after group, of the image, the kernel and the result."""
    params = step.equation.params
    numbers = params["dimension_numbers"]
    channels, batches = params["feature_group_count"], params["batch_group_count"]
    image = {numbers.lhs_spec[1]: channels, numbers.lhs_spec[0]: batches}
    made = channels * batches  # one of them is 1
    return [image, {numbers.rhs_spec[0]: made}, {numbers.out_spec[1]: made}]


# How many entries the first factor of an axis has, where some have one. Every axis then counts as
# two, its first factor and the rest, one after the other.
FACTORS: dict[str, Callable[[Step], list[dict[int, int]]]] = {"conv_general_dilated": _groups}


@_rule("conv_general_dilated")
def _convolution(step: Step) -> Relations:
    """A product over the channels of a group; space is no space of a group but where it passes."""
    params = step.equation.params
    numbers = params["dimension_numbers"]
    (batch, channel, *space), (out_channel, in_channel, *window) = numbers[:2]
    (new_batch, new_channel, *new_space) = numbers.out_spec
    grouped = batch if params["batch_group_count"] > 1 else channel
    kept = [
        (_rest(old), _rest(new))
        for number, (old, k, new) in enumerate(zip(space, window, new_space, strict=True))
        if convolved_alone(params, number, step.inputs[1][k].size)
    ]
    return [
        (0, 1, [(_rest(channel), _rest(in_channel)), (_first(grouped), _first(out_channel))]),
        (0, 2, [(_rest(batch), _rest(new_batch)), (_first(grouped), _first(new_channel)), *kept]),
        (1, 2, [(f(out_channel), f(new_channel)) for f in (_first, _rest)]),
    ]


@_rule("reduce_window_max", "reduce_window_min", "reduce_window_sum")
def _reduce_window(step: Step) -> Relations:
    axes = range(len(step.inputs[0]))
    return [(0, 1, [(p, p) for p in axes if window_passes(step.equation.params, p)])]


@_rule("gather")
def _gather(step: Step) -> Relations:
    """Axes of which every slice has all, and those of the indices.

    Nothing is the same where positions are known to count along an axis, as for a diagonal.
    """
    params, (operand, indices), (result,) = step.equation.params, step.inputs, step.outputs
    numbers, sizes = params["dimension_numbers"], params["slice_sizes"]
    picked = (p for p in numbers.start_index_map if operand[p].size != sizes[p])
    if not all(is_fixed(operand[p]) for p in picked):
        return []
    gone = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    left = (p for p in range(len(operand)) if p not in gone)
    whole = [
        (p, n)
        for p, n in zip(left, sorted(numbers.offset_dims), strict=True)
        if sizes[p] == operand[p].size
    ]
    others = [n for n in range(len(result)) if n not in numbers.offset_dims]
    of_indices = dict(zip(range(len(indices) - 1), others, strict=True))
    batches = [
        *zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True)
    ]
    return [
        (0, 1, batches),
        (0, 2, [*whole, *((p, of_indices[q]) for p, q in batches)]),
        (1, 2, [*of_indices.items()]),
    ]


@_rule("dynamic_slice")
def _dynamic_slice(step: Step) -> Relations:
    return _same_places(step)[:1]


@_rule("dynamic_update_slice")
def _dynamic_update_slice(step: Step) -> Relations:
    return _same_places(step)[:2]
