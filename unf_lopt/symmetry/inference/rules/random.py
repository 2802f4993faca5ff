"""Random draws: frozen, since a permuted parameter meets the same numbers as before.

In distribution, independent numbers that are alike may be permuted among each other, and so may
the rows of a split: they get axes of their own. Once the whole program is walked, ``_key_flow``
ties those that may be the same numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unf_lopt.symmetry.inference._key_rules import has_independent_draws
from unf_lopt.symmetry.inference.rules._registry import rule, shape_out
from unf_lopt.symmetry.inference.rules.elementwise import elementwise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jax.extend import core

    from unf_lopt.symmetry.inference._walk import Axes, Walker


@rule("iota_2x32_shape", "rng_bit_generator", "rng_uniform", "threefry2x32", "threefry4x32")
def generator(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """Numbers without a key that could be followed: the position of an entry decides."""
    return walker.frozen_results(equation, arguments)


@rule("random_bits", "random_split")
def draw(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """Every key makes an array; the axes of the keys come first."""
    if not _is_permutable(walker, equation):
        return walker.frozen_results(equation, arguments)
    (keys,) = arguments
    return [(*keys, *walker.fresh(shape_out(equation)[len(keys) :]))]


@rule("random_gamma")
def gamma(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """Every entry of the parameter gives one, at random; axes of the keys are its first ones."""
    if not _is_permutable(walker, equation):
        return walker.frozen_results(equation, arguments)
    keys, parameter = arguments
    walker.unify_arrays(keys, parameter[: len(keys)])
    return [parameter]


@rule("random_gamma_grad")
def gamma_gradient(
    walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]
) -> Sequence[Axes]:
    """Of what was drawn and its parameter, entry by entry; nothing is drawn."""
    return elementwise(walker, equation, arguments)


@rule("random_clone", "random_fold_in", "random_seed")
def derive(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """Keys entry by entry, of keys and of numbers."""
    if walker.randomness == "frozen":
        return walker.frozen_results(equation, arguments)
    return elementwise(walker, equation, arguments)


@rule("random_wrap")
def wrap(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """Keys of their words, which are in order."""
    if walker.randomness == "frozen":
        return walker.frozen_results(equation, arguments)
    (words,) = arguments
    walker.graph.freeze(words[-1])
    return [words[:-1]]


@rule("random_unwrap")
def unwrap(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """The words of keys."""
    if walker.randomness == "frozen":
        return walker.frozen_results(equation, arguments)
    (keys,) = arguments
    return [(*keys, walker.graph.leaf(shape_out(equation)[-1], frozen=True))]


def _is_permutable(walker: Walker, equation: core.JaxprEqn) -> bool:
    keys = equation.invars[0].aval
    return walker.randomness == "in_distribution" and has_independent_draws(keys)
