"""A functional of the whole weight space that corrects a step: numbers a tensor, a row, a column.

A universal neural functional (Zhou et al., arXiv 2402.05232) whose features are means over
tensors: every tensor is described by pooled statistics, encoded, averaged with all others,
and decoded to outputs for itself. So are rows and columns, as an option, with what lies at their
index of their space in other tensors. Nothing in it is as large as a parameter, so its cost
hardly depends on theirs; one theta is for all networks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from unf_lopt.optimizers.lines import KINDS, Lines
from unf_lopt.optimizers.matrices import ROLES, USUAL, Matrices
from unf_lopt.optimizers.statistics import LARGEST, SMALLEST, Leaves, Statistics, bounded, log

Theta = dict[str, Any]

# Decays of the running means of losses and of what is known of tensors.
DECAYS = (0.9, 0.98)
# What the widest networks have that a theta is trained on: entries of a tensor, and extents over
# the usual ones. Larger ones look like these: a functional knows nothing of what it has not seen.
_LARGEST_SIZE, _LARGEST_EXTENT = 2.0**16, 16.0
# Features are divided by this and bounded, so that no statistic can drown the others.
_UNIT, _BOUND = 3.0, 3.0


class Running(NamedTuple):
    """What the controller remembers.

    Attributes:
      start: logarithm of the first loss.
      losses: running means of the logarithm of the loss, for every one of ``DECAYS``.
      tensors: running means of what changes of tensors, two numbers.
    """

    start: Float[Array, ""]
    losses: Float[Array, " decays"]
    tensors: Float[Array, "tensors decays 2"]


@dataclasses.dataclass(frozen=True)
class Controller:
    """``out = W₃·relu(W₂·[h, mean h] + b₂) + b₃`` with ``h = relu(W₁·x + b₁)`` of every tensor.

    With ``lines`` there is also a number for every row and column (and every further slice) of a
    tensor, ``w·relu(C·[u, s] + c)`` with ``u = relu(A·x + B·g + a)``, g the decoded channels of
    its tensor and s the mean of u over all lines that lie at the same index of the same space.

    Attributes:
      width: channels of all layers.
      outputs: numbers for every tensor; zero with the initial theta.
      pooling: whether tensors and lines see means; else each sees itself in their place, with as
        many parameters.
      lines: whether rows and columns have outputs.
      remembers: whether tensors have a factor of their step size that they remember, which is a
        feature of theirs.
      sees_extents: whether rows, columns and window of matrices are features.
    """

    width: int = 16
    outputs: int = 2
    pooling: bool = True
    lines: bool = False
    remembers: bool = False
    sees_extents: bool = False

    def init(self, key: jax.Array) -> Theta:
        """Initial theta: He's normal weights, zeros in the output layers."""
        encode, decode = jax.random.split(key)
        width, extents = self.width, EXTENTS * self.sees_extents
        theta: Theta = {
            "encode": _he(encode, FEATURES + self.remembers + extents, width),
            "encode_bias": jnp.zeros(width),
            "decode": _he(decode, 2 * width, width),
            "decode_bias": jnp.zeros(width),
            "out": jnp.zeros((width, self.outputs)),
            "out_bias": jnp.zeros(self.outputs),
        }
        if self.lines:
            encode, decode = jax.random.split(jax.random.fold_in(key, 1))
            theta["lines"] = {
                "encode": _he(encode, LINE_FEATURES + width, width),
                "encode_bias": jnp.zeros(width),
                "decode": _he(decode, 2 * width, width),
                "decode_bias": jnp.zeros(width),
                "out": jnp.zeros((width, 1)),
            }
        return theta

    def apply(
        self, theta: Theta, features: Float[Array, "tensors features"]
    ) -> Float[Array, "tensors {self.outputs}"]:
        """The outputs for every tensor; permuting the tensors permutes them."""
        return self.read(theta, self.decoded(theta, features))

    def decoded(
        self, theta: Theta, features: Float[Array, "tensors features"]
    ) -> Float[Array, "tensors {self.width}"]:
        """What is known of every tensor."""
        hidden = jax.nn.relu(features @ theta["encode"] + theta["encode_bias"])
        others = hidden
        if self.pooling:
            others = jnp.broadcast_to(jnp.mean(hidden, 0), hidden.shape)
        both = jnp.concatenate([hidden, others], -1)
        return jax.nn.relu(both @ theta["decode"] + theta["decode_bias"])

    def read(
        self, theta: Theta, decoded: Float[Array, "tensors {self.width}"]
    ) -> Float[Array, "tensors {self.outputs}"]:
        """The outputs for every tensor."""
        return decoded @ theta["out"] + theta["out_bias"]

    def of_lines(
        self,
        theta: Theta,
        lines: Lines,
        features: Float[Array, "lines features"],
        decoded: Float[Array, "tensors {self.width}"],
    ) -> Float[Array, " lines"]:
        """The outputs for every row and column.

        Args:
          theta: with lines.
          lines: of the weight space.
          features: see :func:`describe_lines`.
          decoded: of the tensors.
        """
        own = theta["lines"]
        of_features, of_tensors = jnp.split(own["encode"], [LINE_FEATURES])
        hidden = jax.nn.relu(
            features @ of_features + lines.repeated(decoded @ of_tensors + own["encode_bias"])
        )
        others = lines.pooled(hidden) if self.pooling else hidden
        both = jnp.concatenate([hidden, others], -1)
        return (jax.nn.relu(both @ own["decode"] + own["decode_bias"]) @ own["out"])[:, 0]


def start_running(tensors: int, dtype: Any = jnp.float32) -> Running:
    """Before the first step."""
    decays = len(DECAYS)
    return Running(
        jnp.zeros((), dtype), jnp.zeros(decays, dtype), jnp.zeros((tensors, decays, 2), dtype)
    )


def update_running(
    running: Running, found: Statistics, loss: Float[Array, ""], iteration: Int[Array, ""]
) -> Running:
    """Takes in a step's statistics and loss; ``iteration`` is 0 in the first one."""
    is_first = iteration == 0
    level = _level(loss)
    changing = jnp.stack([log(found.gradient), found.cosine], -1)[:, None]
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
    loss: Float[Array, ""],
    time: Sequence[Float[Array, ""]],
    log_factors: Float[Array, " tensors"] | None = None,
    extents: bool = False,
) -> Float[Array, "tensors features"]:
    """The features of every tensor: ``FEATURES``, more with factors and extents.

    None changes if the loss is multiplied by a number, or if tensors are permuted within the
    symmetries of the spec.

    Args:
      matrices: what the parameters are.
      found: statistics of this step.
      running: what is remembered, this step included.
      loss: of this step.
      time: what is known of t and T, two numbers of order one.
      log_factors: what tensors remember of their step sizes.
      extents: whether the rows, columns and window of matrices are features.
    """
    level = _level(loss)
    gradient, second = log(found.gradient), log(found.second)
    of_tensors = [
        gradient - second,
        log(found.first) - second,
        found.cosine,
        *jnp.moveaxis(gradient[:, None] - running.tensors[..., 0], -1, 0),
        *jnp.moveaxis(running.tensors[..., 1], -1, 0),
        0.5 * log(found.params),
        gradient - jnp.mean(gradient),
    ]
    of_all = [
        level - running.start,
        *(10 * (level - running.losses)),
        running.losses[1] - running.losses[0],
        *time,
    ]
    if log_factors is not None:
        of_tensors.append(log_factors)
    shared = [jnp.broadcast_to(x, gradient.shape) for x in of_all]
    changing = jnp.stack([*of_tensors, *shared], -1) / _UNIT
    changing = bounded(changing, _BOUND)
    static = [_static(matrices)]
    if extents:
        static.append(np.minimum(matrices.log_extents, np.log(_LARGEST_EXTENT)) / 2)
    return jnp.concatenate([changing, *(x.astype(changing.dtype) for x in static)], -1)


def describe_lines(
    lines: Lines,
    first: Leaves,
    second: Leaves,
    params: Leaves,
    found: Statistics,
    scales: tuple[Float[Array, ""], Float[Array, ""]],
) -> Float[Array, "lines features"]:
    """The ``LINE_FEATURES`` of every row and column.

    Mean squares of the momentum against the second moment, and of momentum, second moment and
    parameters against those of the whole tensor.

    Args:
      lines: of the weight space.
      first: the average of the gradient, leaves.
      second: that of its square.
      params: the parameters.
      found: of whole tensors.
      scales: what debiases the mean squares of the first and the means of the second.
    """
    means = [
        scales[0] * lines.means(list(map(jnp.square, first))),
        scales[1] * lines.means(second),
        lines.means(list(map(jnp.square, params))),
    ]
    own = log(jnp.stack(means, -1))
    whole = log(jnp.stack([found.first, found.second, found.params], -1))
    relative = own - lines.repeated(whole)
    changing = jnp.concatenate([own[:, :1] - own[:, 1:2], relative], -1)
    changing = bounded(changing / _UNIT, _BOUND)
    kinds = jnp.asarray(lines.repeated_kinds(), changing.dtype)
    return jnp.concatenate([changing, kinds], -1)


def _level(loss: jax.Array) -> jax.Array:
    """The logarithm of a loss; finite, so that a loss that is not is forgotten in time."""
    loss = jnp.asarray(loss, jnp.result_type(loss, jnp.float32))
    return jnp.log(jnp.clip(jnp.nan_to_num(loss, nan=LARGEST), SMALLEST, LARGEST))


def _static(matrices: Matrices) -> Float[np.ndarray, "tensors features"]:
    """What does not change of tensors: their roles, sizes and number."""
    roles = [[role == own for role in ROLES] for own in matrices.roles]
    sizes = np.log(np.clip(matrices.sizes, 1, _LARGEST_SIZE)) / 4 - 1
    number = np.full((len(roles), 1), np.log(len(roles)) / 2 - 1)
    return np.concatenate([np.array(roles, float), sizes[:, None], number], -1)


def _he(key: jax.Array, inputs: int, outputs: int) -> jax.Array:
    return jax.random.normal(key, (inputs, outputs)) * np.sqrt(2 / inputs)


FEATURES = 3 + 2 * len(DECAYS) + 2 + 1 + len(DECAYS) + 3 + len(ROLES) + 2
LINE_FEATURES = 4 + KINDS
EXTENTS = len(USUAL)
