"""Products of arrays that sum over axes: matrix products and convolutions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unf_lopt.symmetry.inference.rules._registry import rule, shape_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jax import lax
    from jax.extend import core

    from unf_lopt.symmetry.inference._graph import Node
    from unf_lopt.symmetry.inference._walk import Axes, Walker


@rule("dot_general")
def dot_general(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """Contracted axes are tied and go; batch axes are tied; the others come one after another."""
    left, right = arguments
    contracted, batch = equation.params["dimension_numbers"]
    for pairs in (contracted, batch):
        for a, b in zip(*pairs, strict=True):
            walker.graph.unify(left[a], right[b])
    free = [
        node
        for axes, used in ((left, contracted[0] + batch[0]), (right, contracted[1] + batch[1]))
        for position, node in enumerate(axes)
        if position not in used
    ]
    return [(*(left[position] for position in batch[0]), *free)]


@rule("conv_general_dilated")
def convolution(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """Input channels are tied, output channels come from the kernel, space is frozen.

    With groups, channels are products (group, channel in the group), the group of the image's
    channels tied to that of the kernel's output channels.
    """
    image, kernel = arguments
    params = equation.params
    numbers = params["dimension_numbers"]
    (batch, image_channel, *image_space) = numbers.lhs_spec
    (out_channel, in_channel, *kernel_space) = numbers.rhs_spec
    graph = walker.graph
    groups, batch_groups = params["feature_group_count"], params["batch_group_count"]
    out_channels = kernel[out_channel]
    image_group, in_group = _grouped(walker, image[image_channel], groups)
    batch_group, in_batch_group = _grouped(walker, image[batch], batch_groups)
    graph.unify(in_group, kernel[in_channel])
    graph.unify(_grouped(walker, out_channels, groups)[0], image_group)
    graph.unify(_grouped(walker, out_channels, batch_groups)[0], batch_group)
    shape = shape_out(equation)
    result = list(walker.fresh(shape))
    result[numbers.out_spec[0]] = in_batch_group
    result[numbers.out_spec[1]] = out_channels
    for number, (i, k, o) in enumerate(
        zip(image_space, kernel_space, numbers.out_spec[2:], strict=True)
    ):
        if convolved_alone(params, number, kernel[k].size):
            result[o] = image[i]
        else:
            graph.freeze(image[i])
            graph.freeze(kernel[k])
            graph.freeze(result[o])
    return [tuple(result)]


def _grouped(walker: Walker, node: Node, groups: int) -> list[Node]:
    """The factors (group, place in the group) of channels or a batch."""
    return walker.graph.split_product(node, (groups, node.size // groups))


def convolved_alone(params: dict, dimension: int, window: int) -> bool:
    """Whether a spatial dimension is only multiplied entry by entry."""
    return (
        window == 1
        and params["window_strides"][dimension] == 1
        and params["lhs_dilation"][dimension] == 1
        and tuple(params["padding"][dimension]) == (0, 0)
    )


@rule("ragged_dot_general")
def ragged_dot(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """A matrix product whose rows belong to groups of given sizes: groups and rows are frozen.

    The sizes may be others for each entry of the axes outside of the rows.
    """
    left, right, (*outer, group) = arguments
    numbers = equation.params["ragged_dot_dimension_numbers"]
    (contracted, batch) = numbers.dot_dimension_numbers
    for pairs in (contracted, batch):
        for a, b in zip(*pairs, strict=True):
            walker.graph.unify(left[a], right[b])
    for position in numbers.lhs_ragged_dimensions:
        walker.graph.freeze(left[position])
    for position in numbers.rhs_group_dimensions:
        walker.graph.freeze(right[position])
    walker.graph.freeze(group)
    for node, position in zip(outer, _outside_of_rows(numbers, len(left)), strict=False):
        walker.graph.unify(node, left[position])
    return [_ragged_result(walker, equation, left, right, numbers)]


def _outside_of_rows(numbers: lax.RaggedDotDimensionNumbers, rank: int) -> list[int]:
    """Axes of the left operand for each of whose entries the groups may have other sizes."""
    (contracted, _), (batch, _) = numbers.dot_dimension_numbers
    (rows,) = numbers.lhs_ragged_dimensions
    if rows in batch:
        return [*batch[: batch.index(rows)]]
    free = [axis for axis in range(rank) if axis not in (*batch, *contracted)]
    kind = contracted if rows in contracted else free
    return [*batch, *kind[: kind.index(rows)]]


def _ragged_result(
    walker: Walker,
    equation: core.JaxprEqn,
    left: Axes,
    right: Axes,
    numbers: lax.RaggedDotDimensionNumbers,
) -> Axes:
    contracted, batch = numbers.dot_dimension_numbers
    used_left = (*contracted[0], *batch[0])
    used_right = (*contracted[1], *batch[1], *numbers.rhs_group_dimensions)
    free = [
        *(node for position, node in enumerate(left) if position not in used_left),
        *(node for position, node in enumerate(right) if position not in used_right),
    ]
    result = (*(left[position] for position in batch[0]), *free)
    shape = shape_out(equation)
    if len(shape) == len(result) + 1:  # the contracted axis is ragged: one result a group
        result = (walker.graph.leaf(shape[0], frozen=True), *result)
    return result
