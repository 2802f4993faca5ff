"""Inner training as a pure function of theta, a key and the numbers of its steps."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from unf_lopt import ecosystem
from unf_lopt._types import PyTree
from unf_lopt.estimators.objective import Objective


class RunState(NamedTuple):
    """An inner run in progress.

    Attributes:
      opt_state: of the inner optimizer, parameters included.
      config: what the task family sampled.
      key: of the run: its data and noise are functions of it and of the step's number.
      step: inner steps taken.
      horizon: inner steps in all.
      first_loss: the loss before the first step.
    """

    opt_state: PyTree
    config: PyTree
    key: jax.Array
    step: Int[Array, ""]
    horizon: Float[Array, ""]
    first_loss: Float[Array, ""]


class Losses(NamedTuple):
    """What steps of a run add up to.

    Attributes:
      total: the sum of φ(loss) over counted steps.
      counted: how many were counted.
      plain: the sum of the losses of counted steps, bounded.
      bounded: how many losses were not finite or too large.
      steps: how many inner steps were taken.
    """

    total: Float[Array, ""]
    counted: Float[Array, ""]
    plain: Float[Array, ""]
    bounded: Float[Array, ""]
    steps: Float[Array, ""]


@dataclasses.dataclass(frozen=True, eq=False)
class InnerRun:
    """Inner training of a task family with a learned optimizer.

    Attributes:
      task_family: what is trained.
      learned_opt: the ecosystem's `LearnedOptimizer`.
      objective: what is made of the losses.
    """

    task_family: Any
    learned_opt: Any
    objective: Objective

    def start(self, theta: PyTree, key: jax.Array, horizon: Float[Array, ""]) -> RunState:
        """A run before its first step.

        Args:
          theta: the meta-parameters.
          key: of the run; two runs with one key have the same task, parameters and batches.
          horizon: inner steps in all.
        """
        config_key, params_key, opt_key, own_key = jax.random.split(key, 4)
        config = self.task_family.sample(config_key)
        params, state = self.task_family.task_fn(config).init_with_state(params_key)
        opt_state = self.learned_opt.opt_fn(theta, is_training=True).init(
            params, state, num_steps=horizon, key=opt_key
        )
        zero = jnp.zeros((), jnp.int32)
        horizon = jnp.asarray(horizon, jnp.float32)
        return RunState(opt_state, config, own_key, zero, horizon, jnp.zeros((), jnp.float32))

    def places(
        self, state: RunState, count: int, split: str = "train"
    ) -> Shaped[Array, "{count} ..."]:
        """Where the next batches of a run are; see `DeviceReader`."""
        return self.reader(split).places(_data_key(state.key, split), state.step, count)

    def step(
        self, theta: PyTree, state: RunState, place: jax.Array, valid_place: jax.Array | None
    ) -> tuple[RunState, Losses]:
        """One inner step.

        Args:
          theta: the meta-parameters.
          state: of the run.
          place: of the step's batch.
          valid_place: of the batch whose loss is the objective's, where it is another split's.
        """
        task = self.task_family.task_fn(state.config)
        opt = self.learned_opt.opt_fn(theta, is_training=True)
        loss_key, opt_key, valid_key = jax.random.split(
            jax.random.fold_in(state.key, state.step), 3
        )
        params, model_state = opt.get_params_state(state.opt_state)
        batch = self.reader("train").batch(place)
        (loss, model_state), grad = jax.value_and_grad(task.loss_with_state, has_aux=True)(
            params, model_state, loss_key, batch
        )
        opt_state = opt.update(
            state.opt_state, grad, loss=loss, model_state=model_state, key=opt_key
        )
        measured = loss
        if self.objective.split != "train":
            params, model_state = opt.get_params_state(opt_state)
            batch = self.reader(self.objective.split).batch(valid_place)
            measured, _ = task.loss_with_state(params, model_state, valid_key, batch)
        first = jnp.where(state.step == 0, loss, state.first_loss).astype(jnp.float32)
        value, bad = self.objective.value(measured.astype(jnp.float32), first)
        plain, _ = dataclasses.replace(self.objective, kind="mean").value(
            measured.astype(jnp.float32), first
        )
        counts = self.objective.counts(state.step, state.horizon)
        after = state._replace(opt_state=opt_state, step=state.step + 1, first_loss=first)
        one = jnp.ones((), jnp.float32)
        return after, Losses(counts * value, counts, counts * plain, bad.astype(jnp.float32), one)

    def reader(self, split: str) -> Any:
        """The `DeviceReader` of a split.

        Raises:
          ValueError: the data cannot be read on the device.
        """
        reader = ecosystem.device_reader(self.task_family.datasets, split)
        if reader is None:
            raise ValueError(
                f"{self.task_family.name}: its data cannot be read on the device, which this "
                "gradient estimator needs; take the ecosystem's TruncatedPES, or give its readers "
                "a method on_device (see unf_lopt.ecosystem.DeviceReader)."
            )
        return reader


def no_losses() -> Losses:
    """Of no steps."""
    zero = jnp.zeros((), jnp.float32)
    return Losses(zero, zero, zero, zero, zero)


def added(one: Losses, other: Losses) -> Losses:
    """Of the steps of both."""
    return jax.tree.map(jnp.add, one, other)


def _data_key(key: jax.Array, split: str) -> jax.Array:
    """Splits are shuffled independently of each other."""
    return jax.random.fold_in(key, ecosystem.SPLITS.index(split) + 1)
