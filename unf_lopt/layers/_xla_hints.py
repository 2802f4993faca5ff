"""A hint to XLA."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def computed_once(x: jax.Array) -> jax.Array:
    """``x`` itself, of floating point.

    A layer reads its input several times, in different shapes. XLA for CPUs computes a cheap
    function of one array, such as a ReLU, anew for each of them, which takes a third of the time
    and of the memory. What reads two arrays, as this choice between NaN and the entry does, it
    computes once.
    """
    return jnp.where(x != x, jnp.nan, x)
