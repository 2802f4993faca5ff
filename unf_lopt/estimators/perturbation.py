"""Random directions in theta, of a size of their own for each of its parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from unf_lopt._types import PyTree

Std = float | Mapping[str, float]


def sizes(theta: PyTree, std: Std) -> PyTree:
    """The standard deviation of every leaf's perturbation, a tree of numbers like theta.

    Args:
      theta: the meta-parameters.
      std: one number for all, or numbers by the names of theta's parts; parts that are not named
        are not perturbed.

    Raises:
      ValueError: a number is negative or not finite, all are zero, or a name is no part's.
    """
    numbers = list(std.values()) if isinstance(std, Mapping) else [std]
    if not all(0 <= number < float("inf") for number in numbers) or not any(numbers):
        raise ValueError(f"std={std}: numbers must be positive; 0 leaves a part as it is.")
    if not isinstance(std, Mapping):
        return jax.tree.map(lambda leaf: std, theta)
    by_part = dict(std)
    if not isinstance(theta, Mapping) or not by_part.keys() <= theta.keys():
        parts = sorted(theta) if isinstance(theta, Mapping) else "none"
        raise ValueError(f"std={by_part}: theta's parts are {parts}.")
    return {
        part: jax.tree.map(lambda leaf, part=part: by_part.get(part, 0.0), tree)
        for part, tree in theta.items()
    }


def draw(key: jax.Array, theta: PyTree, std: Std) -> PyTree:
    """A normal perturbation like theta."""
    leaves, treedef = jax.tree.flatten(theta)
    keys = jax.tree.unflatten(treedef, list(jax.random.split(key, len(leaves))))
    return jax.tree.map(
        lambda own, leaf, size: size * jax.random.normal(own, jnp.shape(leaf), leaf.dtype),
        keys,
        theta,
        sizes(theta, std),
    )


def shifted(theta: PyTree, perturbation: PyTree, sign: Any) -> PyTree:
    """``theta + sign·perturbation``."""
    return jax.tree.map(lambda leaf, change: leaf + sign * change, theta, perturbation)


def standardized(differences: Float[Array, " pairs"]) -> Float[Array, " pairs"]:
    """Numbers of root mean square one; zeros stay zeros."""
    size = jnp.sqrt(jnp.mean(jnp.square(differences)))
    return differences / jnp.where(size > 0, size, 1.0)


def antithetic_gradient(
    perturbations: PyTree, differences: Float[Array, " pairs"], theta: PyTree, std: Std
) -> PyTree:
    """The mean over pairs of ``ε·(L(θ + ε) − L(θ − ε)) / 2σ²``.

    Args:
      perturbations: ε of every pair, leaves ``[pairs, ...]``.
      differences: ``L(θ + ε) − L(θ − ε)`` of every pair.
      theta: the meta-parameters.
      std: σ, see :func:`sizes`.
    """

    def gradient(change: jax.Array, size: float) -> jax.Array:
        if size == 0:
            return jnp.zeros_like(change[0])
        weights = differences.astype(change.dtype) / (2 * size**2 * len(differences))
        return jnp.tensordot(weights, change, axes=1)

    return jax.tree.map(gradient, perturbations, sizes(theta, std))
