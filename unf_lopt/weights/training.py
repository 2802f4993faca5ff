"""Adam on many networks at once: one program trains a population."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from unf_lopt._types import PyTree


def clipped_adam(learning_rate: Any, clip: float = 1.0) -> optax.GradientTransformation:
    """Adam with clipped gradients; its state is the same for every rate.

    Args:
      learning_rate: may be traced.
      clip: largest Euclidean norm of a gradient.
    """
    return optax.chain(optax.clip_by_global_norm(clip), optax.adam(learning_rate))


def train_network(
    loss: Callable[[PyTree, jax.Array], jax.Array],
    params: PyTree,
    key: jax.Array,
    *,
    num_steps: int,
    learning_rate: Any,
    clip: float = 1.0,
) -> PyTree:
    """Parameters after Adam with clipped gradients at a constant rate; made to be vmapped.

    Args:
      loss: of parameters and a key, from which it draws a batch.
      params: to start from.
      key: of all batches.
      num_steps: of Adam.
      learning_rate: may be traced.
      clip: largest Euclidean norm of a gradient.
    """
    optimizer = clipped_adam(learning_rate, clip)

    def step(carry: tuple[PyTree, Any], number: jax.Array) -> tuple[tuple[PyTree, Any], None]:
        params, state = carry
        grad = jax.grad(loss)(params, jax.random.fold_in(key, number))
        updates, state = optimizer.update(grad, state, params)
        return (optax.apply_updates(params, updates), state), None

    start = (params, optimizer.init(params))
    return jax.lax.scan(step, start, jnp.arange(num_steps))[0][0]


def log_uniform(key: jax.Array, low: float, high: float) -> jax.Array:
    """A number whose logarithm is uniform."""
    return jnp.exp(jax.random.uniform(key, minval=jnp.log(low), maxval=jnp.log(high)))


def glorot(key: jax.Array, *shape: int) -> jax.Array:
    """Uniform with variance two over the sum of the last two sizes (Glorot and Bengio, 2010)."""
    return jax.nn.initializers.glorot_uniform()(key, shape)
