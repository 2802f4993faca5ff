"""Mean squares and products of gradient, momentum and parameters: what functionals see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

SMALLEST, LARGEST = 1e-30, 1e30

Leaves = Sequence[jax.Array]


class Statistics(NamedTuple):
    """Mean squares and products of every tensor.

    Attributes:
      gradient: of the gradient.
      first: of the debiased momentum.
      second: mean of the debiased second moment.
      params: of the parameters.
      product: of gradient and momentum, mean product.
    """

    gradient: Float[Array, " tensors"]
    first: Float[Array, " tensors"]
    second: Float[Array, " tensors"]
    params: Float[Array, " tensors"]
    product: Float[Array, " tensors"]

    @property
    def cosine(self) -> Float[Array, " tensors"]:
        """Of gradient and momentum; 0 where one of them is zero."""
        return cosine(self.product, self.gradient, self.first)


class Averages(NamedTuple):
    """What is known of averages of the gradient and its square without reading them.

    Attributes:
      first: mean squares of the average of the gradient.
      second: means of the average of its square.
    """

    first: Float[Array, " tensors"]
    second: Float[Array, " tensors"]


def no_averages(tensors: int, dtype: Any = jnp.float32) -> Averages:
    """Before the first step."""
    return Averages(jnp.zeros(tensors, dtype), jnp.zeros(tensors, dtype))


def squares(leaves: Leaves) -> Float[Array, " tensors"]:
    """The sum of squares of every leaf."""
    return jnp.stack([jnp.sum(jnp.square(x)) for x in leaves])


def products(leaves: Leaves, others: Leaves) -> Float[Array, " tensors"]:
    """The sum of products of every pair of leaves."""
    return jnp.stack([jnp.sum(x * y) for x, y in zip(leaves, others, strict=True)])


def cosine(
    product: Float[Array, " tensors"], one: Float[Array, " tensors"], two: Float[Array, " tensors"]
) -> Float[Array, " tensors"]:
    """``⟨x, y⟩ / ‖x‖‖y‖`` from the mean product and mean squares; 0 where one of them is zero."""
    first, second = (jnp.sqrt(jnp.maximum(square, SMALLEST)) for square in (one, two))
    return product / first / second


def next_statistics(
    averages: Averages,
    gradient: Float[Array, " tensors"],
    product: Float[Array, " tensors"],
    params: Float[Array, " tensors"],
    decays: tuple[Float[Array, ""], Float[Array, ""]],
    count: Int[Array, ""],
) -> tuple[Statistics, Averages]:
    """The statistics of a step, and what is known of the averages after it.

    With ``m' = μ·m + (1 − μ)·g`` and ``v' = β·v + (1 − β)·g²`` means of m'² and v' follow from
    those of m², v, g² and g·m: arrays as large as the parameters are read three times, not six.

    Args:
      averages: of the last step.
      gradient: mean squares of the gradient.
      product: mean products of the gradient and its average before the step.
      params: mean squares of the parameters.
      decays: μ and β.
      count: steps taken, this one included.
    """
    one, two = decays
    new = Averages(
        # What is left of a difference of large numbers can be below zero.
        jnp.maximum(
            one**2 * averages.first + 2 * one * (1 - one) * product + (1 - one) ** 2 * gradient,
            0,
        ),
        two * averages.second + (1 - two) * gradient,
    )
    unbiased = 1 - one**count
    found = Statistics(
        gradient=gradient,
        first=new.first / unbiased**2,
        second=new.second / (1 - two**count),
        params=params,
        product=(one * product + (1 - one) * gradient) / unbiased,
    )
    kept = jax.tree.map(lambda x, old: x.astype(old.dtype), new, averages)
    return found, kept


def log(mean_square: jax.Array) -> jax.Array:
    """The logarithm, bounded below."""
    return jnp.log(mean_square + SMALLEST)


def bounded(x: jax.Array, bound: float) -> jax.Array:
    """Near 0 the number itself, and never beyond ±bound."""
    return bound * jnp.tanh(x / bound)
