"""What the learned scalars make of time: step sizes, weights of directions, weight decays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from unf_lopt.optimizers.matrices import ROLES, Matrices
from unf_lopt.optimizers.mixed_theta import NUMBER_POWER, POWERS, Scalars
from unf_lopt.optimizers.statistics import SMALLEST, Statistics

_REFERENCE_STEPS = 200.0


class Moment(NamedTuple):
    """Where in a run a step is.

    Attributes:
      iteration: t, steps taken.
      num_steps: T, how many there will be.
      is_known: whether T is known; else all is as in a run of 200 steps that does not go on.
    """

    iteration: Int[Array, ""]
    num_steps: Float[Array, ""]
    is_known: bool

    @property
    def share(self) -> Float[Array, ""]:
        """t/T."""
        share = jnp.minimum(self.iteration / self.num_steps, 1.0)
        return share if self.is_known else jnp.zeros_like(share)

    @property
    def horizon(self) -> Float[Array, ""]:
        """T."""
        return self.num_steps if self.is_known else jnp.full_like(self.num_steps, _REFERENCE_STEPS)

    def centred(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """The share of the run less a half, and log(T/200); zeros if T is not known."""
        if not self.is_known:
            return jnp.zeros_like(self.num_steps), jnp.zeros_like(self.num_steps)
        return self.share - 0.5, jnp.log(self.num_steps / _REFERENCE_STEPS)

    def features(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """What functionals see of t/T and T, of order one."""
        share, horizon = self.centred()
        return 4 * share, horizon


def log_steps(
    matrices: Matrices,
    scalars: Scalars,
    found: Statistics,
    moment: Moment,
    *,
    sees_extents: bool = False,
) -> Float[Array, " tensors"]:
    """The logarithm of the step size of every tensor, see :class:`mixed_step.MixedStep`.

    Args:
      matrices: what the parameters are.
      scalars: of theta.
      found: of the gradient and its averages.
      moment: of the step.
      sees_extents: whether step sizes depend on extents and on the number of tensors.
    """
    share, horizon = moment.share, moment.horizon
    sizes = jnp.asarray(matrices.sizes, jnp.float32)
    signal, power = (jnp.sum(sizes * x) for x in (found.first, found.second))
    roles = jnp.stack([scalars[f"log_{role}"] for role in ROLES])
    own = roles[np.array([ROLES.index(role) for role in matrices.roles])]
    warm = jnp.log(jnp.minimum(1.0, (moment.iteration + 1) * jnp.exp(-scalars["log_warm_up"])))
    if sees_extents:
        own += matrices.log_extents @ jnp.stack([scalars[power] for power in POWERS])
        own += matrices.log_number * scalars[NUMBER_POWER]
    return own + (
        scalars["log_step"]
        + scalars["horizon"] * jnp.log(horizon / _REFERENCE_STEPS)
        + jnp.exp(scalars["decay"]) * jnp.log(jnp.maximum(1 - share, 0) + 0.5 / horizon)
        + scalars["slope"] * share
        + scalars["noise"] * (jnp.log(signal + SMALLEST) - jnp.log(power + SMALLEST))
        + warm
    )


def weights(
    names: Sequence[str],
    scalars: Scalars,
    moment: Moment,
    changes: Float[Array, "tensors logits"],
) -> Float[Array, "tensors logits+1"]:
    """The weights of the directions, of which the first has the logit 0 and the others names.

    Args:
      names: of the others.
      scalars: of theta.
      moment: of the step.
      changes: what a controller adds to logits.
    """
    share, _ = moment.centred()
    own = [scalars[f"mix_{name}"] + scalars[f"slope_{name}"] * share for name in names]
    logits = changes + jnp.stack(own)[None] if own else changes
    return jax.nn.softmax(jnp.pad(logits, ((0, 0), (1, 0))), axis=-1)


def weight_decays(
    scalars: Scalars, moment: Moment, changes: Float[Array, " tensors"]
) -> Float[Array, " tensors"]:
    """λ of every tensor; ``changes`` is what a controller adds to its logarithm."""
    share, _ = moment.centred()
    own = scalars["log_weight_decay"] + scalars["slope_weight_decay"] * share
    return jnp.exp(own + changes)
