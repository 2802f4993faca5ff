"""Step sizes that follow the hypergradient: a factor of every tensor's, which it remembers.

If a gradient points where the ones before it did, the steps were too short; if it points against
them, too long. The derivative of the loss with respect to the logarithm of a step size is this
product (Jacobs, 1988; Sutton, 1992; Baydin et al., arXiv 1703.04782). Here only its cosine counts,
so that nothing depends on the size of gradients.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# A factor lies between e^-this and e^this.
LARGEST_LOG_FACTOR = 8.0
# The square root of λ, which is not negative.
LEAK = "root_leak"


def initial_scalars() -> dict[str, float]:
    """The scalars of :func:`next_log_factors`, found by hand on small tasks."""
    return {
        "log_gain": float(np.log(0.15)),
        "gain_horizon": -0.5,
        "log_sharpness": 0.0,
        "growth": 0.05,
        "slope_growth": -0.5,
        LEAK: float(np.sqrt(0.2)),
    }


def start_log_factors(tensors: int, dtype: Any = jnp.float32) -> Float[Array, " tensors"]:
    """Before the first step: factors of 1."""
    return jnp.zeros(tensors, dtype)


def next_log_factors(
    old: Float[Array, " tensors"],
    agreement: Float[Array, " tensors"],
    scalars: Any,
    time: tuple[Float[Array, ""], Float[Array, ""]],
    change: Float[Array, " tensors"] | float = 0.0,
) -> Float[Array, " tensors"]:
    """``log r ← log r + κ·(tanh(s·a + b + o) − λ·log r)``, within bounds, for every tensor.

    With λ a factor forgets: what is a little too large or too small at every step, as where
    gradients are mostly noise, sums up to at most ``1/λ`` of it and not over the whole run.

    Args:
      old: log r.
      agreement: a, the cosine of the gradient and its average before this step.
      scalars: with ``log_gain`` and ``gain_horizon``, of which κ is a power of the horizon,
        ``log_sharpness``, the logarithm of s, ``root_leak``, whose square is λ, and ``growth`` and
        ``slope_growth``, of which b is a line: what a factor does where gradients have nothing to
        do with each other.
      time: the share of the run less a half, and the logarithm of the horizon over what steps are
        set for.
      change: o, what a controller adds.
    """
    share, horizon = time
    growth = scalars["growth"] + scalars["slope_growth"] * share
    gain = jnp.exp(scalars["log_gain"] + scalars["gain_horizon"] * horizon)
    sharpness = jnp.exp(scalars["log_sharpness"])
    pull = jnp.tanh(sharpness * agreement + growth + change) - scalars[LEAK] ** 2 * old
    new = old + gain * pull
    return jnp.clip(new, -LARGEST_LOG_FACTOR, LARGEST_LOG_FACTOR).astype(old.dtype)
