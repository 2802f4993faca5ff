"""An outer step as one compiled program: inner training, meta-gradients, their mean, theta."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from unf_lopt import ecosystem
from unf_lopt._types import PyTree
from unf_lopt.outer_training.workers import AXIS, ON_ALL, SHARED_OUT, Workers

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

    A worker's estimate is computed by a loop over the workers of a device, so that it is the same
    computation whatever their number: batched over several workers it would be rounded otherwise.
    Every worker's meta-gradient is gathered, and they are summed in the order of workers.

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
        self.is_one_program = len(self._pure) == len(self._estimators)
        self._count = np.int32(len(workers.own) // workers.mesh.size)
        self._numbers = np.asarray(workers.own, np.int32)
        self._update = self._over(
            self._updated, workers.everywhere, (ON_ALL, SHARED_OUT, SHARED_OUT, ON_ALL), ON_ALL
        )
        shared = (ON_ALL, SHARED_OUT, SHARED_OUT, SHARED_OUT, ON_ALL, ON_ALL, ON_ALL)
        self._estimate = self._over(
            self._estimates, workers.mesh, shared, (SHARED_OUT, SHARED_OUT), donated=(1,)
        )
        self._whole = self._over(
            self._taken,
            workers.mesh,
            (*shared[:4], SHARED_OUT, *shared[4:]),
            (ON_ALL, SHARED_OUT, ON_ALL),
            donated=(0, 1),
        )

    def fresh(self, learning: Learning, key: Key) -> PyTree:
        """Inner runs at their start, of every worker of this process.

        Args:
          learning: theta.
          key: for all workers.
        """
        weights = self._weights(learning)
        return self.stacked(
            [
                ecosystem.init_unroll_states(
                    weights, self._estimators, jax.random.fold_in(key, number)
                )
                for number in self._workers.own
            ]
        )

    def stacked(self, unrolls: Sequence[PyTree]) -> PyTree:
        """The workers' inner runs as a step takes them."""
        return self._workers.shared_out(unrolls) if self.is_one_program else list(unrolls)

    def apart(self, unrolls: PyTree) -> list[PyTree]:
        """What :meth:`stacked` made, for each worker by itself, on the host."""
        return self._workers.apart(unrolls) if self.is_one_program else jax.device_get(unrolls)

    def batches(self, step: int) -> PyTree:
        """What the host has to read for a step: can be called while the one before is computed."""
        if not any(own.on_host() for own in self._pure) or not self.is_one_program:
            return {}
        read = [
            {
                str(number): own.read(worker * len(self._pure) + number, step)
                for number, own in enumerate(self._pure)
            }
            for worker in self._workers.own
        ]
        return self._workers.shared_out(read)

    def estimate(
        self, learning: Learning, unrolls: PyTree, batches: PyTree, keys: Keys, step: int
    ) -> tuple[jax.Array, PyTree]:
        """The meta-gradients of this process's workers, for :meth:`update`, and their next runs.

        Args:
          learning: theta.
          unrolls: inner runs, which are used up.
          batches: of this step.
          keys: of the run.
          step: outer steps before this one.
        """
        if not self.is_one_program:
            return self._called(self._weights(learning), unrolls, keys, step)
        state = self._workers.here(learning.learner_state)
        return self._estimate(
            state, unrolls, batches, self._numbers, keys, np.int32(step), self._count
        )

    def update(
        self,
        learning: Learning,
        found: jax.Array,
        told: Sequence[float],
        keys: Keys,
        step: int,
    ) -> tuple[Learning, Report]:
        """Theta after a step, from the meta-gradients of all processes' workers.

        Args:
          learning: theta before.
          found: the meta-gradients.
          told: numbers of this process's, whose largest the report has.
          keys: of the run.
          step: outer steps before this one.
        """
        own = self._workers.shared_out([np.asarray(told, np.float32)] * len(self._workers.own))
        found, own = self._workers.of_all((found, own))
        return self._update(learning, found, own, jax.random.fold_in(keys.updates, step))

    def take(
        self,
        learning: Learning,
        unrolls: PyTree,
        batches: PyTree,
        told: Sequence[float],
        keys: Keys,
        step: int,
    ) -> tuple[Learning, PyTree, Report]:
        """A whole step of a run that has one process."""
        own = np.tile(np.asarray(told, np.float32), (len(self._workers.own), 1))
        return self._whole(
            learning, unrolls, batches, self._numbers, own, keys, np.int32(step), self._count
        )

    def _over(
        self, function: Callable, mesh: Any, inputs: Any, outputs: Any, donated: tuple = ()
    ) -> Callable:
        sharded = jax.shard_map(
            function, mesh=mesh, in_specs=inputs, out_specs=outputs, check_vma=False
        )
        return jax.jit(sharded, donate_argnums=donated)

    def _taken(
        self,
        learning: Learning,
        unrolls: PyTree,
        batches: PyTree,
        numbers: jax.Array,
        told: jax.Array,
        keys: Keys,
        step: jax.Array,
        count: jax.Array,
    ) -> tuple[Learning, PyTree, Report]:
        found, unrolls = self._estimates(
            learning.learner_state, unrolls, batches, numbers, keys, step, count
        )
        key = jax.random.fold_in(keys.updates, step)
        learning, report = self._updated(learning, found, told, key)
        return learning, unrolls, report

    def _estimates(
        self,
        learner_state: PyTree,
        unrolls: PyTree,
        batches: PyTree,
        numbers: jax.Array,
        keys: Keys,
        step: jax.Array,
        count: jax.Array,
    ) -> tuple[jax.Array, PyTree]:
        """Every worker's meta-gradient, meta-loss and inner steps as a row, and its next runs."""
        weights = self._learner.get_state_for_worker(learner_state)
        template = ravel_pytree(_row(weights.theta))[0]
        here = len(numbers)
        unrolls, batches, numbers = jax.tree.map(_two_at_least, (unrolls, batches, numbers))

        def of_worker(place: jax.Array, carry: tuple) -> tuple:
            unrolls, rows = carry
            at = functools.partial(jax.tree.map, lambda leaf: _at(leaf, place))
            row, after = self._of_worker(
                weights, at(unrolls), at(batches), numbers[place], keys, step
            )
            unrolls = jax.tree.map(lambda leaf, new: _replaced(leaf, new, place), unrolls, after)
            return unrolls, _replaced(rows, row, place)

        rows = jnp.zeros((len(numbers), template.size), template.dtype)
        # The count is not known when it is compiled: the compiler must not unroll the loop for few
        # workers, or what it fuses, and so the last bits, would depend on their number.
        unrolls, rows = jax.lax.fori_loop(0, count, of_worker, (unrolls, rows))
        return rows[:here], jax.tree.map(lambda leaf: leaf[:here], unrolls)

    def _of_worker(
        self,
        weights: Any,
        states: Sequence[PyTree],
        batches: Mapping[str, PyTree],
        worker: jax.Array,
        keys: Keys,
        step: jax.Array,
    ) -> tuple[jax.Array, list[PyTree]]:
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
    ) -> tuple[jax.Array, list[PyTree]]:
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
        return self._workers.shared_out(rows), after

    def _updated(
        self, learning: Learning, rows: jax.Array, told: jax.Array, key: jax.Array
    ) -> tuple[Learning, Report]:
        mean = mean_of_rows(rows)
        largest = jnp.max(jax.lax.all_gather(told, AXIS, tiled=True), axis=0)
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
            largest,
        )
        return learning, report

    def _weights(self, learning: Learning) -> Any:
        """Theta as the estimators take it, on one device."""
        on_host = jax.device_get(self._workers.here(learning.learner_state))
        return self._learner.get_state_for_worker(jax.tree.map(jnp.asarray, on_host))

    def _theta(self, learner_state: PyTree) -> PyTree:
        return ecosystem.theta_of(self._learner, learner_state)


def mean_of_rows(rows: jax.Array) -> jax.Array:
    """The mean of all workers' rows, added in the order of workers; within a mapped program.

    A reduction by the devices would add in an order that depends on their number.

    Args:
      rows: of the workers of this device, ``[workers, n]``.
    """
    rows = jax.lax.all_gather(rows, AXIS, tiled=True)
    total = jax.lax.fori_loop(1, len(rows), lambda i, sum_: sum_ + rows[i], rows[0])
    return total / len(rows)


def _at(leaf: jax.Array, place: jax.Array) -> jax.Array:
    return jax.lax.dynamic_index_in_dim(leaf, place, keepdims=False)


def _replaced(leaf: jax.Array, new: jax.Array, place: jax.Array) -> jax.Array:
    """With another row at a place; this is no scatter, which compiles and runs slower."""
    return jax.lax.dynamic_update_index_in_dim(leaf, new.astype(leaf.dtype), place, 0)


def _two_at_least(leaf: jax.Array) -> jax.Array:
    """With the only worker twice, of which the second is not computed.

    An axis of one the compiler leaves out, and rounds what comes after otherwise.
    """
    return leaf if len(leaf) > 1 else jnp.concatenate([leaf, leaf])


def _row(gradient: PyTree, loss: Any = 0.0, inner_steps: Any = 0.0) -> tuple:
    """What is gathered of a worker."""
    return gradient, jnp.asarray(loss, jnp.float32), jnp.asarray(inner_steps, jnp.float32)


def _mean(trees: Sequence[PyTree]) -> PyTree:
    return jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *trees)
