"""Mean squares and products of gradient, momentum and parameters: what functionals see."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

SMALLEST = 1e-30

Leaves = Sequence[jax.Array]


class Statistics(NamedTuple):
    """Mean squares and products of every tensor: arrays ``[tensors]``.

    Attributes:
      gradient: of the gradient.
      first: of the debiased momentum.
      second: mean of the debiased second moment.
      params: of the parameters.
      product: of gradient and momentum, mean product.
    """

    gradient: jax.Array
    first: jax.Array
    second: jax.Array
    params: jax.Array
    product: jax.Array

    @property
    def cosine(self) -> jax.Array:
        """Of gradient and momentum; 0 where one of them is zero."""
        squares = self.gradient * self.first
        return self.product / jnp.sqrt(jnp.where(squares > SMALLEST, squares, 1))


def statistics(grad: Leaves, first: Leaves, second: Leaves, params: Leaves) -> Statistics:
    """Of every tensor, from leaves in one order."""

    def means(leaves: Iterable[jax.Array]) -> jax.Array:
        return jnp.stack([jnp.mean(x) for x in leaves])

    return Statistics(
        gradient=means(map(jnp.square, grad)),
        first=means(map(jnp.square, first)),
        second=means(second),
        params=means(map(jnp.square, params)),
        product=means(map(jnp.multiply, grad, first)),
    )


def log(mean_square: jax.Array) -> jax.Array:
    """The logarithm, bounded below."""
    return jnp.log(mean_square + SMALLEST)


def bounded(x: jax.Array, bound: float) -> jax.Array:
    """Near 0 the number itself, and never beyond ±bound."""
    return bound * jnp.tanh(x / bound)
