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
    """Momenta before the first step: zeros ``[*shape]``, or ``[*shape, count]``.

    In float32, or in the parameters' own type where it is wider.
    """
    trailing = () if count is None else (count,)
    return jax.tree.map(lambda p: jnp.zeros((*jnp.shape(p), *trailing), wide_dtype(p)), params)


def wide_dtype(x: Any) -> Any:
    """What is computed with for an array: float32, or its own type where it is wider."""
    return jnp.result_type(x, jnp.float32)


def update_momenta(momenta: PyTree, grad: PyTree, kind: str) -> PyTree:
    """``m ← γ·m + ∇`` (``"sum"``, the paper's) or ``m ← γ·m + (1 − γ)·∇`` (``"average"``).

    Args:
      momenta: leaves ``[*shape, 6]``, one for each of ``MOMENTUM_DECAYS``.
      grad: leaves ``[*shape]``.
      kind: one of ``MOMENTA``.
    """

    def update(m: jax.Array, g: jax.Array) -> jax.Array:
        decays = jnp.asarray(MOMENTUM_DECAYS, m.dtype)
        weights = 1 if kind == "sum" else 1 - decays
        return (decays * m + weights * g[..., None]).astype(m.dtype)

    return jax.tree.map(update, momenta, grad)


def time_encoding(iteration: jax.Array, dtype: Any = jnp.float32) -> jax.Array:
    """``tanh(t/τ − 1)`` over eleven time scales τ from 1 to 100,000 steps: ``[11]``."""
    return jnp.tanh(iteration / jnp.asarray(TIMESCALES, dtype) - 1)


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
      Leaves ``[*shape, 19]``, float32 or the momenta's wider type.
    """

    def channels(p: jax.Array, g: jax.Array, m: jax.Array) -> jax.Array:
        p, g = p.astype(m.dtype), g.astype(m.dtype)
        x = jnp.concatenate([p[..., None], g[..., None], m], axis=-1)
        if inputs != "raw":
            entries = tuple(range(x.ndim - 1))
            axes = entries if inputs == "channel_rms" else None
            x = _normalize(jnp.clip(x, -1.0, 1.0), axes)
        encoding = time_encoding(iteration, x.dtype)
        time = jnp.broadcast_to(encoding, (*x.shape[:-1], len(TIMESCALES)))
        return jnp.concatenate([x, time], axis=-1)

    return jax.tree.map(channels, params, grad, momenta)


def _normalize(x: jax.Array, axes: tuple[int, ...] | None) -> jax.Array:
    mean_square = jnp.mean(jnp.square(x), axis=axes, keepdims=True)
    return x * jax.lax.rsqrt(mean_square + _NORMALIZER_EPSILON)
