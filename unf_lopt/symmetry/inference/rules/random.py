"""Random draws: frozen, since a permuted parameter meets the same numbers as before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unf_lopt.symmetry.inference.rules._registry import rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jax.extend import core

    from unf_lopt.symmetry.inference._walk import Axes, Walker


@rule(
    "iota_2x32_shape",
    "random_bits",
    "random_clone",
    "random_fold_in",
    "random_gamma",
    "random_seed",
    "random_split",
    "random_unwrap",
    "random_wrap",
    "rng_bit_generator",
    "rng_uniform",
    "threefry2x32",
    "threefry4x32",
)
def draw(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """The position of an entry decides what is drawn for it."""
    return walker.frozen_results(equation, arguments)
