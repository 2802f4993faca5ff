"""Optax optimizers whose learning rate follows a schedule over the horizon."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from unf_lopt import ecosystem
from unf_lopt._types import PyTree

Schedule = optax.Schedule

_WARM_UP = 10  # a tenth of the horizon


class ScheduledState(NamedTuple):
    """State of an inner run; `num_steps` is its horizon, which the schedule needs."""

    params: PyTree
    state: PyTree
    optax_state: PyTree
    iteration: jax.Array
    num_steps: jax.Array


class Scheduled(ecosystem.Optimizer):
    """An optax optimizer whose learning rate depends on the horizon.

    The ecosystem's `OptaxOptimizer` knows no horizon; this one keeps the one that it is started
    with in its state.

    Args:
      transformation: from a learning-rate schedule to the optax optimizer.
      schedule: from peak rate and horizon to the schedule.
      rate: the peak.
    """

    def __init__(
        self,
        transformation: Callable[[Schedule], optax.GradientTransformation],
        schedule: Callable[[jax.Array, jax.Array], Schedule],
        rate: jax.Array,
    ):
        super().__init__()
        self._transformation = transformation
        self._schedule = schedule
        self._rate = rate

    def init(
        self,
        params: PyTree,
        model_state: PyTree = None,
        num_steps: int | None = None,
        key: jax.Array | None = None,
    ) -> ScheduledState:
        """The state before the first step.

        Raises:
          ValueError: no `num_steps`.
        """
        if num_steps is None:
            raise ValueError("a baseline with a schedule needs init(num_steps=HORIZON).")
        horizon = jnp.asarray(num_steps, jnp.int32)
        optax_state = self._optax(horizon).init(params)
        return ScheduledState(params, model_state, optax_state, jnp.int32(0), horizon)

    def update(
        self,
        opt_state: ScheduledState,
        grad: PyTree,
        loss: jax.Array | None = None,
        model_state: PyTree = None,
        key: jax.Array | None = None,
        **kwargs: Any,
    ) -> ScheduledState:
        """The state after one more step."""
        params, horizon = opt_state.params, opt_state.num_steps
        updates, optax_state = self._optax(horizon).update(grad, opt_state.optax_state, params)
        params = optax.apply_updates(params, updates)
        return ScheduledState(params, model_state, optax_state, opt_state.iteration + 1, horizon)

    def _optax(self, horizon: jax.Array) -> optax.GradientTransformation:
        return self._transformation(self._schedule(self._rate, horizon))


class ScheduleFree(Scheduled):
    """A schedule-free optimizer, which is evaluated at other parameters than it steps from.

    Gradients are taken at y = (1 − β)·z + β·x, the loss that counts is that of the average x
    (Defazio et al., "The Road Less Scheduled", arXiv 2405.15682).
    """

    def evaluation_params(self, opt_state: ScheduledState) -> PyTree:
        """x, at which losses are evaluated."""
        return optax.contrib.schedule_free_eval_params(opt_state.optax_state, opt_state.params)


def evaluation_params_state(optimizer: Any, opt_state: PyTree) -> tuple[PyTree, PyTree]:
    """The parameters at which an inner run is evaluated, and the model state.

    They are those that it steps from, unless the optimizer has `evaluation_params`.
    """
    params, state = optimizer.get_params_state(opt_state)
    own = getattr(optimizer, "evaluation_params", None)
    return (params if own is None else own(opt_state)), state


def warm_up_and_cosine(rate: jax.Array, num_steps: jax.Array) -> Schedule:
    """From zero to the peak over the first tenth of the steps, then by a half cosine to zero.

    It is `optax.warmup_cosine_decay_schedule`, which refuses a traced number of steps.

    Args:
      rate: the peak.
      num_steps: all steps.
    """
    warm_up = num_steps // _WARM_UP

    def schedule(count: jax.typing.ArrayLike) -> jax.Array:
        done = jnp.clip((count - warm_up) / (num_steps - warm_up), 0, 1)
        falling = 0.5 * rate * (1 + jnp.cos(jnp.pi * done))
        return jnp.where(count < warm_up, warm_up_and_hold(rate, num_steps)(count), falling)

    return schedule


def warm_up_and_hold(rate: jax.Array, num_steps: jax.Array) -> Schedule:
    """From zero to the peak over the first tenth of the steps, where it stays.

    It is `optax.warmup_constant_schedule`, which refuses a traced number of steps.

    Args:
      rate: the peak.
      num_steps: all steps.
    """
    warm_up = jnp.maximum(num_steps // _WARM_UP, 1)
    return lambda count: rate * jnp.clip(count / warm_up, 0, 1)


def linear_decay(rate: jax.Array, num_steps: jax.Array) -> Schedule:
    """From the rate to zero in a line, which is `optax.linear_schedule`.

    Args:
      rate: the first.
      num_steps: all steps.
    """
    return lambda count: rate * (1 - jnp.clip(count / num_steps, 0, 1))
