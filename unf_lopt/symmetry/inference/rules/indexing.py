"""Reading and writing at positions that are computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unf_lopt.symmetry.inference.rules._registry import rule, shape_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jax import lax
    from jax.extend import core

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
    """Axes taken whole pass, batch axes are tied to the indices', indexed ones are frozen."""
    operand, indices = arguments
    numbers = equation.params["dimension_numbers"]
    walker.graph.freeze(indices[-1])
    _tie_batch(walker, operand, indices, numbers)
    windows = []
    for position, (node, size) in enumerate(
        zip(operand, equation.params["slice_sizes"], strict=True)
    ):
        if position in numbers.operand_batching_dims:
            continue
        if node.size != size:
            walker.graph.freeze(node)
            node = walker.graph.leaf(size, frozen=True)
        if position not in numbers.collapsed_slice_dims:
            windows.append(node)
    window, batch = iter(windows), iter(indices[:-1])
    rank = len(shape_out(equation))
    return [tuple(next(window) if d in numbers.offset_dims else next(batch) for d in range(rank))]


def _tie_batch(
    walker: Walker, operand: Axes, indices: Axes, numbers: lax.GatherDimensionNumbers
) -> None:
    for own, other in zip(
        numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True
    ):
        walker.graph.unify(operand[own], indices[other])


@rule("scatter", "scatter-add", "scatter-max", "scatter-min", "scatter-mul", "scatter-sub")
def scatter(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """The transpose of a gather.

    Where updates replace each other, the last one wins, so their order counts; where they are
    added or compared it does not.
    """
    operand, indices, updates = arguments
    params = equation.params
    numbers = params["dimension_numbers"]
    batching = numbers.operand_batching_dims
    walker.graph.freeze(indices[-1])
    written = [
        node
        for position, node in enumerate(operand)
        if position not in numbers.inserted_window_dims and position not in batching
    ]
    for position in numbers.inserted_window_dims:
        walker.graph.freeze(operand[position])
    for node, position in zip(written, numbers.update_window_dims, strict=True):
        if node.size == updates[position].size:
            walker.graph.unify(node, updates[position])
        else:
            walker.graph.freeze(node)
            walker.graph.freeze(updates[position])
    ordered = equation.primitive.name == "scatter" and not params["unique_indices"]
    batch = [n for d, n in enumerate(updates) if d not in numbers.update_window_dims]
    for number, (update, index) in enumerate(zip(batch, indices[:-1], strict=True)):
        walker.graph.unify(update, index)
        if ordered and number not in numbers.scatter_indices_batching_dims:
            walker.graph.freeze(update)
    for own, other in zip(batching, numbers.scatter_indices_batching_dims, strict=True):
        walker.graph.unify(operand[own], indices[other])
    return [operand]
