"""What the functional sees: parameters, gradient, momenta and time, as channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from unf_lopt._types import PyTree
from unf_lopt.layers import means_in_blocks

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


def time_encoding(
    iteration: Int[Array, ""], dtype: Any = jnp.float32
) -> Float[Array, " timescales"]:
    """``tanh(t/τ − 1)`` over eleven time scales τ from 1 to 100,000 steps."""
    return jnp.tanh(iteration / jnp.asarray(TIMESCALES, dtype) - 1)


class Features(NamedTuple):
    """The inputs of a functional, as what makes them of a block of entries.

    They are 19 numbers an entry and more, so they are never there for all entries at once; see
    :func:`unf_lopt.layers.in_blocks`.

    Attributes:
      make: of arrays ``[entries]``, one for each of ``trees``, and ``[entries or 1, *channels]``,
        one for each of ``of_tensors``: an array ``[entries, INPUT_CHANNELS]``.
      trees: leaves ``[*shape]``.
      of_tensors: leaves ``[*channels]``: one value for a tensor.
    """

    make: Callable[..., jax.Array]
    trees: tuple[PyTree, ...]
    of_tensors: tuple[PyTree, ...] = ()


def input_features(
    params: PyTree,
    grad: PyTree,
    momenta: Sequence[PyTree],
    iteration: Int[Array, ""],
    inputs: str,
) -> Features:
    """The 19 input channels of every entry: W, ∇, six momenta, eleven of time.

    Zhou et al., arXiv 2402.05232, appendix C.2. ``"tensor_rms"`` is the authors' released code:
    the first eight are clipped to [−1, 1] and divided by the root mean square of the whole
    tensor, all eight together; with ``"channel_rms"`` each channel is divided by its own, so
    that a small gradient is seen beside large weights.

    Args:
      params: leaves ``[*shape]``.
      grad: leaves ``[*shape]``.
      momenta: six trees, leaves ``[*shape]``.
      iteration: inner steps taken so far.
      inputs: one of ``INPUTS``.

    Returns:
      What makes them, float32 or the momenta's wider type.
    """
    trees = (params, grad, *momenta)

    def clipped(*x: jax.Array) -> jax.Array:
        stacked = jnp.stack([own.astype(x[-1].dtype) for own in x], axis=-1)
        return stacked if inputs == "raw" else jnp.clip(stacked, -1.0, 1.0)

    def with_time(x: jax.Array) -> jax.Array:
        encoding = time_encoding(iteration, x.dtype)
        time = jnp.broadcast_to(encoding, (*x.shape[:-1], len(TIMESCALES)))
        return jnp.concatenate([x, time], axis=-1)

    if inputs == "raw":
        return Features(lambda *x: with_time(clipped(*x)), trees)
    squares = means_in_blocks(lambda *x: jnp.square(clipped(*x)), *trees)
    if inputs == "tensor_rms":
        squares = jax.tree.map(lambda own: jnp.mean(own, axis=-1, keepdims=True), squares)
    scales = jax.tree.map(lambda own: jax.lax.rsqrt(own + _NORMALIZER_EPSILON), squares)
    return Features(lambda *x: with_time(clipped(*x[:-1]) * x[-1]), trees, (scales,))
