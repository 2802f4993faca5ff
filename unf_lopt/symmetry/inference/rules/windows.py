"""Primitives that slide a window: an axis of window 1 passes, the others are frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unf_lopt.symmetry.inference.rules._registry import rule, shape_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jax.extend import core

    from unf_lopt.symmetry.inference._walk import Axes, Walker


def window_passes(params: dict, dimension: int) -> bool:
    """Whether a dimension is only taken entry by entry."""
    dilations = (params.get("base_dilation"), params.get("window_dilation"))
    return (
        params["window_dimensions"][dimension] == 1
        and params["window_strides"][dimension] == 1
        and tuple(params["padding"][dimension]) == (0, 0)
        and all(dilation is None or dilation[dimension] == 1 for dilation in dilations)
    )


def _windowed(walker: Walker, equation: core.JaxprEqn, axes: Axes) -> Axes:
    result = []
    for dimension, (node, size) in enumerate(zip(axes, shape_out(equation), strict=True)):
        if window_passes(equation.params, dimension):
            result.append(node)
        else:
            walker.graph.freeze(node)
            result.append(walker.graph.leaf(size, frozen=True))
    return tuple(result)


@rule(
    "reduce_window",
    "reduce_window_max",
    "reduce_window_min",
    "reduce_window_sum",
    "select_and_gather_add",
)
def reduce_window(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """Pooling; several operands move together."""
    operands = [axes for axes in arguments if axes]
    for axes in operands[1:]:
        walker.unify_arrays(operands[0], axes)
    return [_windowed(walker, equation, operands[0])] * len(equation.outvars)


@rule("select_and_scatter_add")
def select_and_scatter_add(
    walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]
) -> Sequence[Axes]:
    """The gradient of pooling: source is of the pooled shape, operand of the full one."""
    source, operand = arguments
    for dimension, (pooled, full) in enumerate(zip(source, operand, strict=True)):
        if window_passes(equation.params, dimension):
            walker.graph.unify(pooled, full)
        else:
            walker.graph.freeze(pooled)
            walker.graph.freeze(full)
    return [operand]
