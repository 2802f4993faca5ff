"""An outer step, compiled: inner training and meta-gradients of every worker, then theta."""

from __future__ import annotations

import concurrent.futures
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from unf_lopt import ecosystem
from unf_lopt._types import PyTree
from unf_lopt.outer_training.workers import Workers

Key = jax.Array | np.ndarray

# Far more than an estimator reads in an outer step, where it is not known how many it does.
_BATCHES_OF_A_CALL = 2**20


class Learning(NamedTuple):
    """What an outer step changes and all workers share.

    Attributes:
      learner_state: theta and the meta-optimizer.
      average: the running average of theta; None where there is none.
    """

    learner_state: PyTree
    average: PyTree


class Keys(NamedTuple):
    """What a run's randomness comes from.

    Attributes:
      steps: perturbations and inner problems; folded with outer step, worker and estimator.
      data: the order of the workers' data; folded with worker and estimator.
      updates: for meta-optimizers that draw; folded with the outer step.
    """

    steps: Key
    data: Key
    updates: Key

    def of_worker(self, step: Any, worker: Any) -> tuple[jax.Array, jax.Array]:
        """A worker's key in an outer step, and that of its data in all of them."""
        of_step = jax.random.fold_in(self.steps, step)
        return jax.random.fold_in(of_step, worker), jax.random.fold_in(self.data, worker)


class Report(NamedTuple):
    """What an outer step says.

    Attributes:
      gradient: the meta-gradient, the mean over workers.
      mean_loss: the meta-loss, the mean over workers and estimators.
      finite: whether every number of both is finite; nothing was changed if not.
      norm: of the meta-gradient.
      inner_steps: taken by all workers; NaN where it is not known.
      told: the largest of each number that the workers' processes told.
    """

    gradient: PyTree
    mean_loss: jax.Array
    finite: jax.Array
    norm: jax.Array
    inner_steps: jax.Array
    told: jax.Array


class OuterStep:
    """The programs of a run.

    One program computes a worker's estimate, on one device, and another theta's update from all of
    them. They are the same whatever the number of processes and devices, and between them numbers
    are only moved: one program over several devices would be compiled, and so rounded, otherwise
    than over one. Meta-gradients are added in the order of workers.

    Args:
      workers: how they are shared out.
      learner: the ecosystem's `GradientLearner`.
      estimators: gradient estimators; their mean is a worker's meta-gradient.
      averaging: decay of the running average of theta, or None.
    """

    def __init__(
        self, workers: Workers, learner: Any, estimators: Sequence[Any], averaging: float | None
    ):
        self._workers, self._learner, self._averaging = workers, learner, averaging
        self._estimators = list(estimators)
        pure = [ecosystem.pure_estimator(own) for own in self._estimators]
        self._pure = [own for own in pure if own is not None]
        self.is_compiled = len(self._pure) == len(self._estimators)
        self._estimate = jax.jit(self._of_worker, donate_argnums=1)
        self._update = jax.jit(self._updated)
        self._threads = concurrent.futures.ThreadPoolExecutor(len(workers.devices))

    def fresh(self, learning: Learning, key: Key) -> list[PyTree]:
        """Inner runs at their start, of every worker of this process.

        Args:
          learning: theta.
          key: for all workers.
        """
        weights = self._weights(learning)
        return self._workers.spread(
            [
                ecosystem.init_unroll_states(
                    weights, self._estimators, jax.random.fold_in(key, number)
                )
                for number in self._workers.own
            ]
        )

    def batches(self, step: int) -> list[PyTree]:
        """What the host has to read for a step: can be called while the one before is computed."""
        if not any(own.on_host() for own in self._pure) or not self.is_compiled:
            return [{}] * len(self._workers.own)
        read = [
            {
                str(number): own.read(worker * len(self._pure) + number, step)
                for number, own in enumerate(self._pure)
            }
            for worker in self._workers.own
        ]
        return self._workers.spread(read)

    def estimate(
        self,
        learning: Learning,
        unrolls: Sequence[PyTree],
        batches: Sequence[PyTree],
        keys: Keys,
        step: int,
    ) -> tuple[list[jax.Array], list[PyTree]]:
        """The meta-gradients of this process's workers, for :meth:`update`, and their next runs.

        Args:
          learning: theta.
          unrolls: inner runs of each worker, which are used up.
          batches: of this step.
          keys: of the run.
          step: outer steps before this one.
        """
        if not self.is_compiled:
            return self._called(self._weights(learning), unrolls, keys, step)

        def on(device: Any, places: range) -> list[tuple[jax.Array, PyTree]]:
            state, own_keys = jax.device_put((learning.learner_state, keys), device)
            return [
                self._estimate(
                    state,
                    unrolls[place],
                    batches[place],
                    np.int32(self._workers.own[place]),
                    own_keys,
                    np.int32(step),
                )
                for place in places
            ]

        # It is traced once, for the first device, and then compiled for all others at a time.
        first, *others = self._workers.by_device
        found = [on(*first), *self._threads.map(lambda own: on(*own), others)]
        rows, after = zip(*itertools.chain(*found), strict=True)
        return list(rows), list(after)

    def update(
        self,
        learning: Learning,
        rows: Sequence[jax.Array],
        told: Sequence[float],
        keys: Keys,
        step: int,
    ) -> tuple[Learning, Report]:
        """Theta after a step, from the meta-gradients of all processes' workers.

        Args:
          learning: theta before.
          rows: the meta-gradients of this process's workers.
          told: numbers of this process's, whose largest the report has.
          keys: of the run.
          step: outer steps before this one.
        """
        own = self._workers.spread([np.asarray(told, np.float32)] * len(rows))
        found, numbers = self._workers.gathered(list(zip(rows, own, strict=True)))
        return self._update(learning, found, numbers, jax.random.fold_in(keys.updates, step))

    def _of_worker(
        self,
        learner_state: PyTree,
        states: Sequence[PyTree],
        batches: Mapping[str, PyTree],
        worker: jax.Array,
        keys: Keys,
        step: jax.Array,
    ) -> tuple[jax.Array, list[PyTree]]:
        """A worker's meta-gradient, meta-loss and inner steps as a row, and its next runs."""
        weights = self._learner.get_state_for_worker(learner_state)
        own_key, data_key = keys.of_worker(step, worker)
        outs = [
            own.estimate(
                weights,
                state,
                jax.random.fold_in(own_key, number),
                jax.random.fold_in(data_key, number),
                step,
                batches.get(str(number), {}),
            )
            for number, (own, state) in enumerate(zip(self._pure, states, strict=True))
        ]
        grads, losses, steps, after = zip(*outs, strict=True)
        row = _row(_mean(grads), _mean(losses), sum(steps))
        return ravel_pytree(row)[0], list(after)

    def _called(
        self, weights: Any, unrolls: Sequence[PyTree], keys: Keys, step: int
    ) -> tuple[list[jax.Array], list[PyTree]]:
        """The same with estimators that draw from the host in between, one worker at a time."""
        rows, after = [], []
        for worker, states in zip(self._workers.own, unrolls, strict=True):
            own_key, _ = keys.of_worker(step, worker)
            for place, own in enumerate(self._estimators):
                ecosystem.move_to(
                    ecosystem.task_family_of(own).datasets,
                    worker * len(self._estimators) + place,
                    step * _BATCHES_OF_A_CALL,
                )
            found = ecosystem.compute_gradient(weights, self._estimators, states, own_key)
            rows.append(ravel_pytree(_row(found.grad, found.mean_loss, jnp.nan))[0])
            after.append(found.unroll_states)
        return self._workers.spread(rows), after

    def _updated(
        self, learning: Learning, rows: jax.Array, told: jax.Array, key: jax.Array
    ) -> tuple[Learning, Report]:
        mean = mean_of_rows(rows)
        theta = self._theta(learning.learner_state)
        gradient, mean_loss, inner_steps = ravel_pytree(_row(theta))[1](mean)
        finite = jnp.isfinite(mean[:-1]).all()
        after = ecosystem.pure_update(
            self._learner, learning.learner_state, gradient, mean_loss, key
        )
        average = learning.average
        if self._averaging is not None:
            average = optax.incremental_update(self._theta(after), average, 1 - self._averaging)
        learning = jax.tree.map(
            lambda new, old: jnp.where(finite, new, old).astype(old.dtype),
            Learning(after, average),
            learning,
        )
        report = Report(
            gradient,
            mean_loss,
            finite,
            optax.global_norm(gradient),
            inner_steps * self._workers.number,
            jnp.max(told, axis=0),
        )
        return learning, report

    def _weights(self, learning: Learning) -> Any:
        """Theta as the estimators take it, on one device."""
        on_host = jax.device_get(learning.learner_state)
        return self._learner.get_state_for_worker(jax.tree.map(jnp.asarray, on_host))

    def _theta(self, learner_state: PyTree) -> PyTree:
        return ecosystem.theta_of(self._learner, learner_state)


def mean_of_rows(rows: jax.Array) -> jax.Array:
    """The mean of all workers' rows ``[workers, n]``, added in the order of workers."""
    total = jax.lax.fori_loop(1, len(rows), lambda i, sum_: sum_ + rows[i], rows[0])
    return total / len(rows)


def _row(gradient: PyTree, loss: Any = 0.0, inner_steps: Any = 0.0) -> tuple:
    """What is gathered of a worker."""
    return gradient, jnp.asarray(loss, jnp.float32), jnp.asarray(inner_steps, jnp.float32)


def _mean(trees: Sequence[PyTree]) -> PyTree:
    return jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *trees)
