"""Primitives that order entries by value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unf_lopt.symmetry.inference.rules._registry import rule, shape_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jax.extend import core

    from unf_lopt.symmetry.inference._walk import Axes, Walker


@rule("sort")
def sort(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """The order that comes in does not matter, the order that goes out is fixed.

    Several operands are sorted by the first ``num_keys`` together. Where others are read, equal
    keys leave them in the order in which they came, so that axis is frozen.
    """
    dimension = equation.params["dimension"]
    first, *others = arguments
    for axes in others:
        walker.unify_arrays(first, axes)
    if any(map(walker.is_read, equation.outvars[equation.params["num_keys"] :])):
        walker.graph.freeze(first[dimension])
    ordered = walker.graph.leaf(first[dimension].size, frozen=True)
    result = (*first[:dimension], ordered, *first[dimension + 1 :])
    return [result] * len(arguments)


@rule("top_k", "approx_top_k")
def top_k(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """Positions count from the start of the axis; the values alone are as sorted."""
    axes = arguments[0]
    is_exact = equation.primitive.name == "top_k"
    dimension = equation.params["axis" if is_exact else "reduction_dimension"] % len(axes)
    if not is_exact or walker.is_read(equation.outvars[1]):
        walker.graph.freeze(axes[dimension])
    ordered = walker.graph.leaf(shape_out(equation)[dimension], frozen=True)
    return [(*axes[:dimension], ordered, *axes[dimension + 1 :])] * 2
