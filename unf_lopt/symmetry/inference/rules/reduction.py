"""Primitives that reduce axes with an operation in which order does not count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unf_lopt.symmetry.inference.rules._registry import rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jax.extend import core

    from unf_lopt.symmetry.inference._walk import Axes, Walker


def _remaining(axes: Axes, reduced: Sequence[int]) -> Axes:
    return tuple(node for position, node in enumerate(axes) if position not in reduced)


@rule(
    "reduce_sum",
    "reduce_max",
    "reduce_min",
    "reduce_prod",
    "reduce_and",
    "reduce_or",
    "reduce_xor",
)
def reduce(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """The reduced axes go, as free as they came."""
    (axes,) = arguments
    return [_remaining(axes, equation.params["axes"])]


@rule("psum", "pmax", "pmin")
def collective(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """Under ``vmap`` with a name for its axis, a collective reduces that axis, known by position.

    Over devices nothing is known of it.
    """
    reduced = equation.params["axes"]
    if equation.params["axis_index_groups"] is not None or not all(
        isinstance(axis, int) for axis in reduced
    ):
        return walker.unknown(equation, arguments)
    return [_remaining(axes, reduced) for axes in arguments]


@rule("argmax", "argmin")
def argmax(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """A position counts from the start of the axis."""
    (axes,) = arguments
    reduced = equation.params["axes"]
    for position in reduced:
        walker.graph.freeze(axes[position])
    return [_remaining(axes, reduced)]


@rule("reduce")
def general_reduce(
    walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]
) -> Sequence[Axes]:
    """With an operation of the user's own, in which order may count."""
    first, *others = arguments[: len(arguments) // 2]
    for axes in others:
        walker.unify_arrays(first, axes)
    reduced = equation.params["dimensions"]
    for position in reduced:
        walker.graph.freeze(first[position])
    return [_remaining(first, reduced)] * len(equation.outvars)


@rule("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp")
def cumulative(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """Along the axis, order counts."""
    (axes,) = arguments
    walker.graph.freeze(axes[equation.params["axis"]])
    return [axes]
