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
    numbers, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    single = [position for position, size in enumerate(sizes) if size == 1]
    batching = numbers.operand_batching_dims, numbers.start_indices_batching_dims
    batch, counted = _batch(walker, arguments, numbers.start_index_map, single, batching)
    windows = []
    for position, (node, size) in enumerate(zip(arguments[0], sizes, strict=True)):
        if position in numbers.operand_batching_dims:
            continue
        if position in counted:
            node = walker.graph.leaf(1)
        elif node.size != size:
            walker.graph.freeze(node)
            node = walker.graph.leaf(size, frozen=True)
        if position not in numbers.collapsed_slice_dims:
            windows.append(node)
    window, rest = iter(windows), iter(batch)
    rank = len(shape_out(equation))
    return [tuple(next(window) if d in numbers.offset_dims else next(rest) for d in range(rank))]


def _batch(
    walker: Walker,
    arguments: Sequence[Axes],
    positions: Sequence[int],
    single: Container[int],
    batching: tuple[Sequence[int], Sequence[int]],
) -> tuple[list[Node], dict[int, int]]:
    """The axes of the indices but the last, tied to those of the operand that go along with them.

    Args:
      walker: at the equation.
      arguments: the axes of the operand, of the indices, and others.
      positions: the axes of the operand that entries of the indices' last axis are positions in.
      single: axes of the operand of which a position takes one entry.
      batching: batch axes of the operand, and those of the indices that they are one with.

    Returns:
      The axes; and for each axis of the operand in which known positions count along one of the
      indices, which has as many entries, the number of that one. It is a new axis if no other
      position depends on it.
    """
    operand, indices = arguments[:2]
    walker.graph.freeze(indices[-1])
    batch, entries = list(indices[:-1]), walker.known_numbers(1)
    counted: dict[int, int] = {}
    if entries is not None:
        for number, own in enumerate(map(int, positions)):
            for axis in range(len(batch)) if own in single else ():
                if batch[axis].size == operand[own].size and _counts(entries[..., number], axis):
                    counted[own] = axis
        for axis in set(counted.values()):
            others = [n for n, own in enumerate(map(int, positions)) if counted.get(own) != axis]
            rest = entries[..., others]
            if (rest == rest.take([0], axis)).all():
                batch[axis] = walker.graph.leaf(batch[axis].size)
    for own, axis in (*counted.items(), *zip(*batching, strict=True)):
        walker.graph.unify(operand[own], batch[axis])
    return batch, counted


def _counts(entries: np.ndarray, axis: int) -> bool:
    """Whether an array is 0, 1, 2, … along an axis, and the same along all others."""
    return bool((np.moveaxis(entries, axis, -1) == np.arange(entries.shape[axis])).all())


@rule("scatter", "scatter-add", "scatter-max", "scatter-min", "scatter-mul", "scatter-sub")
def scatter(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """The transpose of a gather.

    Where updates replace each other, the last one wins, so their order counts; where they are
    added or compared it does not, nor where their positions count and all differ.
    """
    operand, _, updates = arguments
    params = equation.params
    numbers = params["dimension_numbers"]
    inserted, positions = numbers.inserted_window_dims, numbers.scatter_dims_to_operand_dims
    batching = numbers.operand_batching_dims, numbers.scatter_indices_batching_dims
    batch, counted = _batch(walker, arguments, positions, inserted, batching)
    written = [
        node
        for position, node in enumerate(operand)
        if position not in inserted and position not in batching[0]
    ]
    for position in inserted:
        if position not in counted:
            walker.graph.freeze(operand[position])
    for node, position in zip(written, numbers.update_window_dims, strict=True):
        if node.size == updates[position].size:
            walker.graph.unify(node, updates[position])
        else:
            walker.graph.freeze(node)
            walker.graph.freeze(updates[position])
    ordered = equation.primitive.name == "scatter" and not params["unique_indices"]
    differ = {*batching[1], *counted.values()}
    rest = [n for d, n in enumerate(updates) if d not in numbers.update_window_dims]
    for number, (update, index) in enumerate(zip(rest, batch, strict=True)):
        walker.graph.unify(update, index)
        if ordered and number not in differ:
            walker.graph.freeze(update)
    return [operand]
