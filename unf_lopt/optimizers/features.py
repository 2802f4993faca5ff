"""What the functional sees: parameters, gradient, momenta and time, as channels."""

from __future__ import annotations

from collections.abc import Sequence
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


def zero_momentum(params: PyTree) -> PyTree:
    """A momentum before the first step: zeros like the parameters, sharded as they are.

    In float32, or in the parameters' own type where it is wider.
    """
    return jax.tree.map(lambda p: jnp.zeros_like(p, dtype=wide_dtype(p)), params)


def wide_dtype(x: Any) -> Any:
    """What is computed with for an array: float32, or its own type where it is wider."""
    return jnp.result_type(x, jnp.float32)


def zero_momenta(params: PyTree) -> tuple[PyTree, ...]:
    """The six input momenta before the first step, each a tree like the parameters."""
    return tuple(zero_momentum(params) for _ in MOMENTUM_DECAYS)


def update_momenta(momenta: Sequence[PyTree], grad: PyTree, kind: str) -> tuple[PyTree, ...]:
    """``m ← γ·m + ∇`` (``"sum"``, the paper's) or ``m ← γ·m + (1 − γ)·∇`` (``"average"``).

    Args:
      momenta: one tree for each of ``MOMENTUM_DECAYS``, leaves ``[*shape]``.
      grad: leaves ``[*shape]``.
      kind: one of ``MOMENTA``.
    """

    def updated(decay: float, momentum: PyTree) -> PyTree:
        weight = 1 if kind == "sum" else 1 - decay
        return jax.tree.map(lambda m, g: (decay * m + weight * g).astype(m.dtype), momentum, grad)

    return tuple(updated(*pair) for pair in zip(MOMENTUM_DECAYS, momenta, strict=True))


def time_encoding(iteration: jax.Array, dtype: Any = jnp.float32) -> jax.Array:
    """``tanh(t/τ − 1)`` over eleven time scales τ from 1 to 100,000 steps: ``[11]``."""
    return jnp.tanh(iteration / jnp.asarray(TIMESCALES, dtype) - 1)


def input_features(
    params: PyTree, grad: PyTree, momenta: Sequence[PyTree], iteration: jax.Array, inputs: str
) -> PyTree:
    """The 19 input channels of every entry: W, ∇, six momenta, eleven of time.

    Zhou et al., arXiv 2402.05232, appendix C.2. ``"tensor_rms"`` is the authors' released code:
    the first eight are clipped to [−1, 1] and divided by the root mean square of the whole
    tensor, all eight together; with ``"channel_rms"`` each channel is divided by its own, so
    that a small gradient is seen beside large weights.

    Args:
      params: leaves ``[*shape]``.
      grad: leaves ``[*shape]``.
      momenta: six trees, leaves ``[*shape]``.
      iteration: inner steps taken so far, a scalar.
      inputs: one of ``INPUTS``.

    Returns:
      Leaves ``[*shape, 19]``, float32 or the momenta's wider type.
    """

    def channels(p: jax.Array, g: jax.Array, *m: jax.Array) -> jax.Array:
        x = jnp.stack([p.astype(m[0].dtype), g.astype(m[0].dtype), *m], axis=-1)
        if inputs != "raw":
            entries = tuple(range(x.ndim - 1))
            axes = entries if inputs == "channel_rms" else None
            x = _normalize(jnp.clip(x, -1.0, 1.0), axes)
        encoding = time_encoding(iteration, x.dtype)
        time = jnp.broadcast_to(encoding, (*x.shape[:-1], len(TIMESCALES)))
        return jnp.concatenate([x, time], axis=-1)

    return jax.tree.map(channels, params, grad, *momenta)


def _normalize(x: jax.Array, axes: tuple[int, ...] | None) -> jax.Array:
    mean_square = jnp.mean(jnp.square(x), axis=axes, keepdims=True)
    return x * jax.lax.rsqrt(mean_square + _NORMALIZER_EPSILON)
