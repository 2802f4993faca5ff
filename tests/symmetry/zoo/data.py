"""Small data and the pieces that many losses share."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Standard normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def labels(*shape: int, classes: int, seed: int = 1) -> np.ndarray:
    """Integers below ``classes``."""
    return np.random.default_rng(seed).integers(0, classes, shape).astype(np.int32)


def cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Mean cross entropy against integer targets; the last axis of the logits are the classes."""
    one_hot = jax.nn.one_hot(targets, logits.shape[-1])
    return -jnp.mean(jnp.sum(one_hot * jax.nn.log_softmax(logits), axis=-1))


def dense(layer: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    """``x @ w + b`` along the last axis."""
    return x @ layer["w"] + layer["b"]


def standardized(x: jax.Array, axis: int | tuple[int, ...] = -1) -> jax.Array:
    """Mean 0 and variance 1 along an axis."""
    centred = x - jnp.mean(x, axis, keepdims=True)
    return centred / jnp.sqrt(jnp.mean(jnp.square(centred), axis, keepdims=True) + 1e-5)


def layer_norm(layer: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    """Layer norm along the last axis with scale and offset."""
    return standardized(x) * layer["scale"] + layer["offset"]


def shapes_of(init: Any, *args: Any) -> Any:
    """Shapes of what ``init(*args)`` returns, nothing computed."""
    return jax.eval_shape(init, *args)


def ones_like(shapes: Any) -> Any:
    """Ones, of the shapes and types of a model state that holds means, variances and counters."""
    return jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), shapes)


def classification(n: Any) -> tuple[np.ndarray, np.ndarray]:
    """A batch of vectors (``n.pixels``) and their classes."""
    return normal(n.batch, n.pixels), labels(n.batch, classes=n.classes)


def regression(n: Any) -> tuple[np.ndarray, np.ndarray]:
    """A batch of vectors (``n.pixels``) and a number for each."""
    return normal(n.batch, n.pixels), normal(n.batch, seed=1)


def sequences(n: Any) -> tuple[np.ndarray, np.ndarray]:
    """A batch of sequences of vectors (``n.features``) and their classes."""
    return normal(n.batch, n.time, n.features), labels(n.batch, classes=n.classes)


def reconstruction(a: jax.Array, b: jax.Array) -> jax.Array:
    """Mean squared distance."""
    return jnp.mean(jnp.sum((a - b) ** 2, axis=-1))
