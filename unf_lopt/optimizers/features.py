"""What the functional sees: parameters, gradient, momenta and time, as channels."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

PyTree = Any

MOMENTUM_DECAYS = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
TIMESCALES = (1, 3, 10, 30, 100, 300, 1000, 3000, 10000, 30000, 100000)
INPUT_CHANNELS = 2 + len(MOMENTUM_DECAYS) + len(TIMESCALES)
MOMENTA = ("sum", "average")
INPUTS = ("raw", "tensor_rms", "channel_rms")

_NORMALIZER_EPSILON = 1e-5


def zero_momentum(params: PyTree, count: int | None = None) -> PyTree:
    """Momenta before the first step: zeros ``[*shape]``, or ``[*shape, count]``; float32."""
    trailing = () if count is None else (count,)
    return jax.tree.map(lambda p: jnp.zeros((*jnp.shape(p), *trailing), jnp.float32), params)


def update_momentum(momentum: PyTree, grad: PyTree, decay: Any, kind: str) -> PyTree:
    """``m ← γ·m + ∇`` (``"sum"``, the paper's) or ``m ← γ·m + (1 − γ)·∇`` (``"average"``).

    Args:
      momentum: leaves ``[*shape]``, or ``[*shape, decays]`` where ``decay`` is an array.
      grad: leaves ``[*shape]``.
      decay: γ, a scalar or an array of one for each trailing channel.
      kind: one of ``MOMENTA``.
    """
    decay = jnp.asarray(decay, jnp.float32)
    weight = 1.0 if kind == "sum" else 1.0 - decay

    def update(m: jax.Array, g: jax.Array) -> jax.Array:
        return decay * m + weight * g.reshape(*g.shape, *(1,) * decay.ndim)

    return jax.tree.map(update, momentum, grad)


def time_encoding(iteration: jax.Array) -> jax.Array:
    """``tanh(t/τ − 1)`` over eleven time scales τ from 1 to 100,000 steps: ``[11]``."""
    return jnp.tanh(iteration / jnp.asarray(TIMESCALES, jnp.float32) - 1.0)


def input_features(
    params: PyTree, grad: PyTree, momenta: PyTree, iteration: jax.Array, inputs: str
) -> PyTree:
    """The 19 input channels of every entry: W, ∇, six momenta, eleven of time.

    Zhou et al., arXiv 2402.05232, appendix C.2. ``"tensor_rms"`` is the authors' released code:
    the first eight are clipped to [−1, 1] and divided by the root mean square of the whole
    tensor, all eight together; with ``"channel_rms"`` each channel is divided by its own, so
    that a small gradient is seen beside large weights.

    Args:
      params: leaves ``[*shape]``.
      grad: leaves ``[*shape]``.
      momenta: leaves ``[*shape, 6]``.
      iteration: inner steps taken so far, a scalar.
      inputs: one of ``INPUTS``.

    Returns:
      Leaves ``[*shape, 19]``, float32.
    """
    encoding = time_encoding(iteration)

    def channels(p: jax.Array, g: jax.Array, m: jax.Array) -> jax.Array:
        x = jnp.concatenate([p[..., None], g[..., None], m], axis=-1).astype(jnp.float32)
        if inputs != "raw":
            entries = tuple(range(x.ndim - 1))
            axes = entries if inputs == "channel_rms" else None
            x = _normalize(jnp.clip(x, -1.0, 1.0), axes)
        time = jnp.broadcast_to(encoding, (*x.shape[:-1], len(TIMESCALES)))
        return jnp.concatenate([x, time], axis=-1)

    return jax.tree.map(channels, params, grad, momenta)


def _normalize(x: jax.Array, axes: tuple[int, ...] | None) -> jax.Array:
    mean_square = jnp.mean(jnp.square(x), axis=axes, keepdims=True)
    return x * jax.lax.rsqrt(mean_square + _NORMALIZER_EPSILON)
