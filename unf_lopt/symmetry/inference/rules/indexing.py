"""Reading and writing at positions that are computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unf_lopt.symmetry.inference.rules._registry import rule, shape_out

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from jax.extend import core

    from unf_lopt.symmetry.inference._graph import Node
    from unf_lopt.symmetry.inference._walk import Axes, Walker


@rule("dynamic_slice")
def dynamic_slice(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """An axis that is taken whole passes; a position in another counts from its start."""
    operand = arguments[0]
    result = []
    for node, size in zip(operand, equation.params["slice_sizes"], strict=True):
        if node.size != size:
            walker.graph.freeze(node)
            node = walker.graph.leaf(size, frozen=True)
        result.append(node)
    return [tuple(result)]


@rule("dynamic_update_slice")
def dynamic_update_slice(
    walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]
) -> Sequence[Axes]:
    """An axis that is written whole is tied to the update's; others are frozen."""
    operand, update = arguments[:2]
    for node, written in zip(operand, update, strict=True):
        if node.size == written.size:
            walker.graph.unify(node, written)
        else:
            walker.graph.freeze(node)
            walker.graph.freeze(written)
    return [operand]


@rule("gather")
def gather(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """Axes taken whole pass, batch axes are tied to the indices', indexed ones are frozen.

    Unless the positions in an axis are known to count along an axis of the indices: entries are
    taken in their order then, and both axes are one. The diagonal of a matrix is so taken.
    """
    operand, indices = arguments
    numbers = equation.params["dimension_numbers"]
    walker.graph.freeze(indices[-1])
    sizes = equation.params["slice_sizes"]
    single = [position for position, size in enumerate(sizes) if size == 1]
    counted = _counted(walker, operand, numbers.start_index_map, single)
    batch = _batch(walker, indices, counted, numbers.start_index_map)
    for own, other in zip(
        numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True
    ):
        walker.graph.unify(operand[own], batch[other])
    windows = []
    for position, (node, size) in enumerate(zip(operand, sizes, strict=True)):
        if position in numbers.operand_batching_dims:
            continue
        if position in counted:
            walker.graph.unify(node, batch[counted[position]])
            node = walker.graph.leaf(1)
        elif node.size != size:
            walker.graph.freeze(node)
            node = walker.graph.leaf(size, frozen=True)
        if position not in numbers.collapsed_slice_dims:
            windows.append(node)
    window, rest = iter(windows), iter(batch)
    rank = len(shape_out(equation))
    return [tuple(next(window) if d in numbers.offset_dims else next(rest) for d in range(rank))]


def _counted(
    walker: Walker, operand: Axes, positions: Sequence[int], single: Container[int]
) -> dict[int, int]:
    """Axes of the operand in which known positions count along one axis of the indices.

    Args:
      walker: at an equation whose second input are the indices.
      operand: the axes of the first.
      positions: the axes that the entries of the indices' last axis are positions in.
      single: axes of which a position takes one entry; others are not looked at.

    Returns:
      For each such axis, the axis of the indices, which has as many entries.
    """
    entries = walker.known_numbers(1)
    found: dict[int, int] = {}
    for number, position in enumerate(map(int, positions)):
        if entries is None or position not in single:
            continue
        own = entries[..., number]
        for axis, size in enumerate(own.shape):
            aligned = np.arange(size).reshape([-1 if n == axis else 1 for n in range(own.ndim)])
            if size == operand[position].size and (own == aligned).all():
                found[position] = axis
    return found


def _batch(
    walker: Walker, indices: Axes, counted: dict[int, int], positions: Sequence[int]
) -> list[Node]:
    """The axes of the indices but the last: new ones where nothing but counting depends on them."""
    batch = list(indices[:-1])
    for axis in set(counted.values()):
        entries = walker.known_numbers(1)
        rest = [n for n, own in enumerate(map(int, positions)) if counted.get(own) != axis]
        if entries is not None and (entries == entries.take([0], axis))[..., rest].all():
            batch[axis] = walker.graph.leaf(batch[axis].size)
    return batch


@rule("scatter", "scatter-add", "scatter-max", "scatter-min", "scatter-mul", "scatter-sub")
def scatter(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """The transpose of a gather.

    Where updates replace each other, the last one wins, so their order counts; where they are
    added or compared it does not, nor where their positions count and all differ.
    """
    operand, indices, updates = arguments
    params = equation.params
    numbers = params["dimension_numbers"]
    batching = numbers.operand_batching_dims
    walker.graph.freeze(indices[-1])
    positions = numbers.scatter_dims_to_operand_dims
    counted = _counted(walker, operand, positions, numbers.inserted_window_dims)
    batch = _batch(walker, indices, counted, positions)
    written = [
        node
        for position, node in enumerate(operand)
        if position not in numbers.inserted_window_dims and position not in batching
    ]
    for position in numbers.inserted_window_dims:
        if position in counted:
            walker.graph.unify(operand[position], batch[counted[position]])
        else:
            walker.graph.freeze(operand[position])
    for node, position in zip(written, numbers.update_window_dims, strict=True):
        if node.size == updates[position].size:
            walker.graph.unify(node, updates[position])
        else:
            walker.graph.freeze(node)
            walker.graph.freeze(updates[position])
    ordered = equation.primitive.name == "scatter" and not params["unique_indices"]
    differ = {*numbers.scatter_indices_batching_dims, *counted.values()}
    rest = [n for d, n in enumerate(updates) if d not in numbers.update_window_dims]
    for number, (update, index) in enumerate(zip(rest, batch, strict=True)):
        walker.graph.unify(update, index)
        if ordered and number not in differ:
            walker.graph.freeze(update)
    for own, other in zip(batching, numbers.scatter_indices_batching_dims, strict=True):
        walker.graph.unify(operand[own], batch[other])
    return [operand]
