"""A functional of the whole weight space that corrects a step by one number a tensor.

A universal neural functional (Zhou et al., arXiv 2402.05232) whose features are means over
tensors: every tensor is described by pooled statistics, encoded, averaged with all others,
and decoded to outputs for itself. Nothing in it is as large as a parameter, so its cost hardly
depends on theirs; one theta is for all networks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from unf_lopt.optimizers.matrices import ROLES, Matrices

Theta = dict[str, jax.Array]

# Decays of the running means of losses and of what is known of tensors.
DECAYS = (0.9, 0.98)
_SMALLEST = 1e-30
# Features are divided by this and bounded, so that no statistic can drown the others.
_UNIT, _BOUND = 3.0, 3.0


class Statistics(NamedTuple):
    """Mean squares and products of every tensor: arrays ``[tensors]``.

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


class Running(NamedTuple):
    """What the controller remembers.

    Attributes:
      start: logarithm of the first loss.
      losses: running means of the logarithm of the loss, ``[decays]``.
      tensors: running means of what changes of tensors, ``[tensors, decays, 2]``.
    """

    start: jax.Array
    losses: jax.Array
    tensors: jax.Array


@dataclasses.dataclass(frozen=True)
class Controller:
    """``out = W₃·relu(W₂·[h, mean h] + b₂) + b₃`` with ``h = relu(W₁·x + b₁)`` of every tensor.

    Attributes:
      width: channels of both layers.
      outputs: numbers for every tensor; zero with the initial theta.
      pooling: whether tensors see the mean; else each sees itself in its place, with as many
        parameters.
    """

    width: int = 16
    outputs: int = 2
    pooling: bool = True

    def init(self, key: jax.Array) -> Theta:
        """Initial theta: He's normal weights, zeros in the output layer."""
        encode, decode = jax.random.split(key)
        return {
            "encode": _he(encode, FEATURES, self.width),
            "encode_bias": jnp.zeros(self.width),
            "decode": _he(decode, 2 * self.width, self.width),
            "decode_bias": jnp.zeros(self.width),
            "out": jnp.zeros((self.width, self.outputs)),
            "out_bias": jnp.zeros(self.outputs),
        }

    def apply(self, theta: Theta, features: jax.Array) -> jax.Array:
        """From ``[tensors, FEATURES]`` to ``[tensors, outputs]``.

        Permuting the tensors permutes the outputs.
        """
        hidden = jax.nn.relu(features @ theta["encode"] + theta["encode_bias"])
        others = hidden
        if self.pooling:
            others = jnp.broadcast_to(jnp.mean(hidden, 0), hidden.shape)
        both = jnp.concatenate([hidden, others], -1)
        decoded = jax.nn.relu(both @ theta["decode"] + theta["decode_bias"])
        return decoded @ theta["out"] + theta["out_bias"]


def statistics(
    grad: Sequence[jax.Array],
    first: Sequence[jax.Array],
    second: Sequence[jax.Array],
    params: Sequence[jax.Array],
) -> Statistics:
    """The mean squares and products of leaves in one order."""

    def means(function: Any, *leaves: Sequence[jax.Array]) -> jax.Array:
        return jnp.stack([jnp.mean(function(*own)) for own in zip(*leaves, strict=True)])

    return Statistics(
        gradient=means(jnp.square, grad),
        first=means(jnp.square, first),
        second=means(lambda v: v, second),
        params=means(jnp.square, params),
        product=means(jnp.multiply, grad, first),
    )


def start_running(tensors: int, dtype: Any = jnp.float32) -> Running:
    """Before the first step."""
    decays = len(DECAYS)
    return Running(
        jnp.zeros((), dtype), jnp.zeros(decays, dtype), jnp.zeros((tensors, decays, 2), dtype)
    )


def update_running(
    running: Running, found: Statistics, loss: jax.Array, iteration: jax.Array
) -> Running:
    """Takes in a step's statistics and loss; ``iteration`` is 0 in the first one."""
    is_first = iteration == 0
    level = jnp.log(jnp.maximum(loss, _SMALLEST))
    changing = jnp.stack([_log(found.gradient), _cosine(found)], -1)[:, None]
    decays = jnp.asarray(DECAYS, running.losses.dtype)

    def mean(old: jax.Array, new: jax.Array, decay: jax.Array) -> jax.Array:
        return jnp.where(is_first, new, decay * old + (1 - decay) * new).astype(old.dtype)

    return Running(
        jnp.where(is_first, level, running.start).astype(running.start.dtype),
        mean(running.losses, level, decays),
        mean(running.tensors, changing, decays[:, None]),
    )


def describe(
    matrices: Matrices,
    found: Statistics,
    running: Running,
    loss: jax.Array,
    share: jax.Array,
    horizon: jax.Array,
) -> jax.Array:
    """The features of every tensor, ``[tensors, FEATURES]``.

    None changes if the loss is multiplied by a number, or if tensors are permuted within the
    symmetries of the spec.

    Args:
      matrices: what the parameters are.
      found: statistics of this step.
      running: what is remembered, this step included.
      loss: of this step.
      share: how much of the training is over, t/T.
      horizon: T.
    """
    level = jnp.log(jnp.maximum(loss, _SMALLEST))
    gradient, second = _log(found.gradient), _log(found.second)
    of_tensors = [
        gradient - second,
        _log(found.first) - second,
        _cosine(found),
        *jnp.moveaxis(gradient[:, None] - running.tensors[..., 0], -1, 0),
        *jnp.moveaxis(running.tensors[..., 1], -1, 0),
        0.5 * _log(found.params),
        gradient - jnp.mean(gradient),
    ]
    of_all = [
        level - running.start,
        *(10 * (level - running.losses)),
        running.losses[1] - running.losses[0],
        4 * share - 2,
        jnp.log(horizon / 200.0),
    ]
    shared = [jnp.broadcast_to(x, gradient.shape) for x in of_all]
    changing = jnp.stack([*of_tensors, *shared], -1) / _UNIT
    bounded = _BOUND * jnp.tanh(changing / _BOUND)
    static = jnp.asarray(_static(matrices), bounded.dtype)
    return jnp.concatenate([bounded, static], -1)


def _static(matrices: Matrices) -> np.ndarray:
    """What does not change of tensors: their roles, sizes and number, ``[tensors, ...]``."""
    roles = [[role == own for role in ROLES] for own in matrices.roles]
    sizes = [[np.log(max(np.prod(shape), 1)) / 4 - 1] for shape in matrices.shapes]
    number = np.full((len(roles), 1), np.log(len(roles)) / 2 - 1)
    return np.concatenate([np.array(roles, float), np.array(sizes), number], -1)


def _log(mean_square: jax.Array) -> jax.Array:
    return jnp.log(mean_square + _SMALLEST)


def _cosine(found: Statistics) -> jax.Array:
    squares = found.gradient * found.first
    return found.product / jnp.sqrt(jnp.where(squares > _SMALLEST, squares, 1))


def _he(key: jax.Array, inputs: int, outputs: int) -> jax.Array:
    return jax.random.normal(key, (inputs, outputs)) * np.sqrt(2 / inputs)


FEATURES = 3 + 2 * len(DECAYS) + 2 + 1 + len(DECAYS) + 3 + len(ROLES) + 2
