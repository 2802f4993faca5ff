"""What the estimators of this room share: their arguments, and the form of their answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from unf_lopt import ecosystem
from unf_lopt._types import PyTree
from unf_lopt.estimators.horizons import Horizons
from unf_lopt.estimators.inner_run import InnerRun, Losses
from unf_lopt.estimators.objective import Objective


class CompiledEstimator(ecosystem.GradientEstimator):
    """A gradient estimator whose outer step is one compiled program, batches included.

    Args:
      task_family: what is trained on; its data must be readable on the device.
      learned_opt: the ecosystem's `LearnedOptimizer`.
      horizons: how long inner runs are.
      objective: what is lowered.

    Attributes:
      is_pure: that its estimate is a pure function, which an outer step may have in its program.

    Raises:
      TypeError: horizons or objective are something else.
    """

    is_pure = True

    def __init__(
        self, task_family: Any, learned_opt: Any, horizons: Horizons, objective: Objective
    ):
        for given, kind in ((horizons, Horizons), (objective, Objective)):
            if not isinstance(given, kind):
                name = kind.__name__.lower()
                raise TypeError(
                    f"{type(self).__name__}({name}={given!r}): must be what @{name}() makes."
                )
        self.task_family = task_family
        self.learned_opt = learned_opt
        self.horizons = horizons
        self.run = InnerRun(task_family, learned_opt, objective)
        for split in {"train", objective.split}:
            self.run.reader(split)  # says at once if the data cannot be read
        self._estimate = jax.jit(self.estimate)

    def task_name(self) -> str:
        """The name of the task family, as GitHub main's estimators say it."""
        return self.task_family.name

    def estimate(
        self, theta: PyTree, key: jax.Array, state: PyTree
    ) -> tuple[PyTree, PyTree, Losses]:
        """Meta-gradient, next state and losses: a pure function."""
        raise NotImplementedError

    def compute_gradient_estimate(
        self,
        worker_weights: Any,
        key: jax.Array,
        state: PyTree,
        with_summary: bool = False,
        datas_list: Any = None,
    ) -> tuple[Any, Mapping[str, Any]]:
        """The ecosystem's interface; no metrics are made."""
        grad, state, losses = self._estimate(worker_weights.theta, key, state)
        counted = jnp.maximum(losses.counted, 1)
        out = ecosystem.GradientEstimatorOut(
            mean_loss=losses.total / counted, grad=grad, unroll_state=state, unroll_info=None
        )
        return out, {
            "mean||plain_loss": losses.plain / counted,
            "mean||bounded": losses.bounded,
            ecosystem.INNER_STEPS: losses.steps,
        }
