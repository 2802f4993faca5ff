"""Mean squares and products of gradient, momentum and parameters: what a controller sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

SMALLEST = 1e-30

Leaves = Sequence[jax.Array]


class Statistics(NamedTuple):
    """Mean squares and products: arrays ``[tensors]``, or ``[lines]``.

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


def statistics(
    mean: Callable[[Leaves], jax.Array], grad: Leaves, first: Leaves, second: Leaves, params: Leaves
) -> Statistics:
    """The statistics of some kind of mean.

    Args:
      mean: from leaves to an array, such as :func:`of_tensors`.
      grad: the gradient.
      first: the debiased momentum.
      second: the debiased second moment.
      params: the parameters.
    """
    return Statistics(
        gradient=mean(list(map(jnp.square, grad))),
        first=mean(list(map(jnp.square, first))),
        second=mean(second),
        params=mean(list(map(jnp.square, params))),
        product=mean(list(map(jnp.multiply, grad, first))),
    )


def of_tensors(leaves: Leaves) -> jax.Array:
    """The mean of every leaf, ``[tensors]``."""
    return jnp.stack([jnp.mean(x) for x in leaves])


def log(mean_square: jax.Array) -> jax.Array:
    """The logarithm, bounded below."""
    return jnp.log(mean_square + SMALLEST)


def bounded(x: jax.Array, bound: float) -> jax.Array:
    """Near 0 the number itself, and never beyond ±bound."""
    return bound * jnp.tanh(x / bound)
