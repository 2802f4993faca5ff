"""A run: learner, workers and state, what an outer step makes of them, and where it is kept."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unf_lopt import ecosystem
from unf_lopt.optimizers import load_theta
from unf_lopt.outer_training.diagnosis import TrainingError, why_not_finite
from unf_lopt.outer_training.outer_step import Keys, Learning, OuterStep, Report
from unf_lopt.outer_training.saved_run import SavedRun, TrainingState
from unf_lopt.outer_training.workers import Workers
from unf_lopt.processes import Group

# A run whose first outer steps are all skipped will not get better by itself.
_STEPS_WITHOUT_GRADIENT = 5


class _WarmStart:
    """Gives the learner, which only initializes, a theta that was trained before.

    The ecosystem's own ``init_theta_from_path`` cannot read the folders that it now writes.
    """

    def __init__(self, theta: Any):
        self._theta = theta

    def init(self, key: jax.Array) -> Any:
        return self._theta


class Run:
    """Learner, estimators and state of one run.

    Args:
      lopt: the learned optimizer.
      workers: how its workers are shared out.
      group: the processes of the run.
      seed: of everything that is drawn.
      init_theta_from: a theta file or a run's folder to take the first theta from.
      learner: a ``GradientLearner``, in place of gin's.
      averaging: decay of a running average of theta, or None.

    Attributes:
      state: what goes on from one outer step to the next.
      build_key: for what is drawn when estimators are made.

    Raises:
      ValueError: the averaging is out of its range, or theta is given twice.
      FileNotFoundError: ``init_theta_from`` is not there.
    """

    def __init__(
        self,
        lopt: Any,
        workers: Workers,
        group: Group,
        seed: int,
        init_theta_from: str | None,
        learner: Any,
        averaging: float | None,
    ):
        if averaging is not None and not 0 < averaging < 1:
            raise ValueError(
                f"train(theta_averaging={averaging}): must be between 0 and 1, or None."
            )
        self._averaging, self._lopt = averaging, lopt
        self._workers, self._group = workers, group
        key = jax.random.PRNGKey(seed)
        self._init_key, self.build_key, self._unroll_key, self._restart_key, *keys = (
            np.asarray(own) for own in jax.random.split(key, 7)
        )
        self._keys = Keys(*keys)
        theta = None if init_theta_from is None else load_theta(init_theta_from, lopt)[0]
        if learner is not None and theta is not None:
            raise ValueError("train: a learner that is given has a theta; leave init_theta_from.")
        self._learner = learner or ecosystem.make_learner(
            lopt if theta is None else _WarmStart(theta)
        )

    def build(self, estimators: Sequence[Any]) -> None:
        """Makes the state before the first outer step."""
        self._estimators = list(estimators)
        self._outer = OuterStep(self._workers, self._learner, self._estimators, self._averaging)
        first = self._learner.init(jnp.asarray(self._init_key))
        learner_state = self._workers.at_home(first)
        average = None if self._averaging is None else self._theta(learner_state)
        self._learning = Learning(learner_state, average)
        self._unrolls = self._outer.fresh(self._learning, self._unroll_key)
        self.outer_step, self.skipped, self.seconds = 0, 0, 0.0
        self._batches: Any = None

    def resume(self, saved: SavedRun) -> None:
        """Takes a folder to save to, and the state that it has, if it has one."""
        self.saved = saved
        if not saved.has_checkpoints():
            return
        state = saved.restore(self._state())
        self._learning = self._workers.at_home(Learning(state.learner_state, state.average))
        self._unrolls = self._workers.spread([state.unroll_states[n] for n in self._workers.own])
        self.outer_step, self.skipped = state.outer_step, state.skipped
        self.seconds = state.seconds
        if self._group.leads:
            print(f"resumed {saved.path} at outer step {self.outer_step}")
            if not self.data_can_be_positioned():
                print(
                    "the task's data readers cannot be positioned: the data of this resumed run "
                    "start anew, so it will not end bit for bit where an uninterrupted one does"
                )

    def step(self, request: int = 0) -> dict[str, float]:
        """One outer step.

        Args:
          request: a number of this process's.

        Returns:
          The step's row of metrics, and the largest ``request`` of all processes.
        """
        started, step = time.monotonic(), self.outer_step
        batches = self._outer.batches(step) if self._batches is None else self._batches
        report = self._take(batches, request, step)
        found = jax.device_get(report._replace(gradient=None))
        self.outer_step += 1
        if not found.finite:
            self.skipped += 1
            self._not_finite = report.gradient
            key = jax.random.fold_in(self._restart_key, step)
            self._unrolls = self._outer.fresh(self._learning, key)
        seconds = time.monotonic() - started
        self.seconds += seconds
        largest, slowest = found.told
        return {
            "outer_step": self.outer_step,
            "meta_loss": float(found.mean_loss),
            "meta_gradient_norm": float(found.norm) if found.finite else float("nan"),
            "skipped": self.skipped,
            "inner_steps": round(float(found.inner_steps), 1),
            "seconds": self.seconds,
            "slowest_share": min(float(slowest) / seconds, 1.0) if slowest else 1.0,
            "request": int(largest),
        }

    def _take(self, batches: Any, request: int, step: int) -> Report:
        """An outer step, computed to its end."""
        started = time.monotonic()
        found, self._unrolls = self._outer.estimate(
            self._learning, self._unrolls, batches, self._keys, step
        )
        self._batches = self._outer.batches(step + 1)
        told = request, 0.0
        if not self._workers.alone:  # whose own work is told apart from the others'
            jax.block_until_ready(found)
            told = request, time.monotonic() - started
        with self._group.waiting(f"outer step {step + 1}"):
            self._learning, report = self._outer.update(
                self._learning, found, told, self._keys, step
            )
            return jax.block_until_ready(report)

    def require_some_gradient(self, num_steps: int) -> None:
        """Ends a run whose first steps were all skipped: nothing would come of it.

        Raises:
          TrainingError: saying which task and what of it is not finite.
        """
        steps = self.outer_step
        if self.skipped == steps >= min(num_steps, _STEPS_WITHOUT_GRADIENT):
            raise TrainingError(
                f"none of the first {steps} outer steps had a finite meta-gradient. "
                f"{why_not_finite(self._families(), self._not_finite)}"
            )

    def save(self) -> pathlib.Path:
        """Writes a checkpoint; returns the path of theta."""
        state = self._state()
        theta = self._theta(state.learner_state) if state.average is None else state.average
        training = {"task_families": sorted({family.name for family in self._families()})}
        return self.saved.save(state, theta, self._lopt, training)

    def data_can_be_positioned(self) -> bool:
        """Whether every worker's data are where its number and the outer step say."""
        return all(ecosystem.positions(datasets) is not None for datasets in self._datasets())

    def data_sources(self) -> list[str]:
        """What identifies the data of the tasks, where they say it."""
        sources = map(ecosystem.data_source, self._datasets())
        return sorted({source for source in sources if source})

    def _state(self) -> TrainingState:
        learning = jax.tree.map(np.asarray, self._learning)
        unrolls = jax.device_get(self._unrolls)
        return TrainingState(
            learner_state=learning.learner_state,
            unroll_states=dict(zip(self._workers.own, unrolls, strict=True)),
            outer_step=self.outer_step,
            average=learning.average,
            skipped=self.skipped,
            seconds=self.seconds,
        )

    def _theta(self, learner_state: Any) -> Any:
        return ecosystem.theta_of(self._learner, learner_state)

    def _families(self) -> list[Any]:
        return [ecosystem.task_family_of(estimator) for estimator in self._estimators]

    def _datasets(self) -> list[Any]:
        return [family.datasets for family in self._families()]
