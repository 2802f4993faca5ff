"""Primitives that move entries about: reshapes, slices, concatenations, broadcasts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unf_lopt.symmetry.inference._graph import common_blocks
from unf_lopt.symmetry.inference.rules._registry import rule, shape_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jax.extend import core

    from unf_lopt.symmetry.inference._graph import Node
    from unf_lopt.symmetry.inference._walk import Axes, Walker


@rule("transpose")
def transpose(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """Axes change places."""
    (axes,) = arguments
    return [tuple(axes[position] for position in equation.params["permutation"])]


@rule("squeeze")
def squeeze(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """Axes of size 1 go."""
    (axes,) = arguments
    dropped = equation.params["dimensions"]
    return [tuple(node for position, node in enumerate(axes) if position not in dropped)]


@rule("broadcast_in_dim")
def broadcast(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """A new axis is constant, so anything may permute it."""
    axes = arguments[0]
    shape = shape_out(equation)
    result = list(walker.fresh(shape))
    for node, position in zip(axes, equation.params["broadcast_dimensions"], strict=True):
        if node.size == shape[position]:
            result[position] = node
    return [tuple(result)]


@rule("reshape")
def reshape(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """Joins axes to products, and splits products, where the sizes meet."""
    axes = arguments[0]
    if equation.params.get("dimensions") is not None:
        axes = tuple(axes[position] for position in equation.params["dimensions"])
    shape = shape_out(equation)
    sizes = [size for size in shape if size != 1]
    factors: list[Node] = []
    for have, want in common_blocks([node for node in axes if node.size != 1], sizes):
        factors += walker.graph.split_product(walker.graph.product(have), want)
    remaining = iter(factors)
    return [tuple(walker.graph.leaf(1) if size == 1 else next(remaining) for size in shape)]


@rule("tile")
def tile(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """Repeats an axis as a whole: the repetition is the major factor, and constant."""
    (axes,) = arguments
    repetitions = equation.params["reps"]
    return [
        tuple(
            walker.graph.product([walker.graph.leaf(times), node])
            for times, node in zip(repetitions, axes, strict=True)
        )
    ]


@rule("concatenate", takes_empty=True)
def concatenate(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """The axis of concatenation is the sum of the inputs'; the others are tied."""
    dimension = equation.params["dimension"]
    first, *others = arguments
    for axes in others:
        for position, (a, b) in enumerate(zip(first, axes, strict=True)):
            if position != dimension:
                walker.graph.unify(a, b)
    joined = walker.graph.sum([axes[dimension] for axes in arguments])
    return [(*first[:dimension], joined, *first[dimension + 1 :])]


@rule("stack")
def stack(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """The inputs become places along a new axis, in order."""
    position = equation.params["axis"]
    first, *others = arguments
    for axes in others:
        walker.unify_arrays(first, axes)
    return [(*first[:position], walker.graph.leaf(len(arguments), True), *first[position:])]


@rule("unstack")
def unstack(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """The inverse of stacking."""
    (axes,) = arguments
    position = equation.params["axis"]
    walker.graph.freeze(axes[position])
    return [(*axes[:position], *axes[position + 1 :])] * len(equation.outvars)


@rule("split", takes_empty=True)
def split(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """The inverse of a concatenation."""
    (axes,) = arguments
    position = equation.params["axis"]
    sizes = [int(size) for size in equation.params["sizes"]]
    pieces = walker.graph.split_sum(axes[position], sizes)
    return [(*axes[:position], piece, *axes[position + 1 :]) for piece in pieces]


@rule("slice")
def slice_(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """A segment of a sum; with a stride, an index of the minor factor of a product."""
    (axes,) = arguments
    starts = equation.params["start_indices"]
    strides = equation.params["strides"] or [1] * len(axes)
    shape = shape_out(equation)
    return [
        tuple(
            _sliced(walker, node, int(start), length, int(stride))
            for node, start, length, stride in zip(axes, starts, shape, strides, strict=True)
        )
    ]


def _sliced(walker: Walker, node: Node, start: int, length: int, stride: int) -> Node:
    if stride == 1 or length == 1:
        return walker.graph.split_sum(node, (start, length, node.size - start - length))[1]
    if node.size == length * stride:
        major, minor = walker.graph.split_product(node, (length, stride))
        walker.graph.freeze(minor)
        return major
    walker.graph.freeze(node)
    return walker.graph.leaf(length, frozen=True)


@rule("pad")
def pad(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """Adds segments that are constant, and cuts where the padding is negative."""
    axes = arguments[0]
    result = []
    for node, (low, high, interior) in zip(axes, equation.params["padding_config"], strict=True):
        if interior and node.size > 1:
            walker.graph.freeze(node)
            size = node.size + (node.size - 1) * interior + low + high
            result.append(walker.graph.leaf(size, frozen=True))
            continue
        start, stop = max(-low, 0), node.size - max(-high, 0)
        if start >= stop:  # all is cut off
            result.append(walker.graph.leaf(node.size + low + high))
            continue
        kept = walker.graph.split_sum(node, (start, stop - start, node.size - stop))[1]
        ends = walker.graph.leaf(max(low, 0)), walker.graph.leaf(max(high, 0))
        result.append(walker.graph.sum([ends[0], kept, ends[1]]))
    return [tuple(result)]


@rule("rev")
def reverse(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """Reversing commutes with no permutation in general."""
    (axes,) = arguments
    for position in equation.params["dimensions"]:
        walker.graph.freeze(axes[position])
    return [axes]


@rule("iota")
def iota(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """Counts along one axis; constant along the others."""
    dimension = equation.params["dimension"]
    return [
        tuple(
            walker.graph.leaf(size, frozen=position == dimension)
            for position, size in enumerate(shape_out(equation))
        )
    ]


@rule("empty", "empty2", "platform_index", "zeros_like")
def empty(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """All entries are alike."""
    return [walker.fresh(shape_out(equation))]
