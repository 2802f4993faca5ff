"""Backpropagation through truncations of inner runs, for theta with many coefficients."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from unf_lopt._options import check_counts
from unf_lopt._types import PyTree
from unf_lopt.ecosystem.gin_decorator import configurable
from unf_lopt.estimators._base import CompiledEstimator
from unf_lopt.estimators.horizons import Horizons
from unf_lopt.estimators.inner_run import Losses, RunState
from unf_lopt.estimators.objective import Objective
from unf_lopt.estimators.truncated import advance, first_horizon, is_over, where


@configurable()
class TruncatedBackprop(CompiledEstimator):
    """The derivative of a truncation's meta-loss, through the inner gradients too.

    The state at the truncation's start counts as a constant, which biases the estimate towards
    what pays soon. The second-order term, the derivative of the inner gradients with respect to
    the parameters, is part of it. Each run's derivative is clipped by itself, so that one run near
    divergence cannot drown the others.

    Args:
      task_family: what is trained on.
      learned_opt: the `LearnedOptimizer`.
      horizons: how long inner runs are; drawn for every run.
      objective: what is lowered.
      num_runs: inner runs, staggered.
      trunc_length: inner steps in an outer step.
      clip: largest norm of one run's derivative.

    Raises:
      ValueError: a number is out of its range, or the data cannot be read on the device.
    """

    def __init__(
        self,
        task_family: Any,
        learned_opt: Any,
        horizons: Horizons,
        objective: Objective = Objective(),  # noqa: B008 (immutable)
        *,
        num_runs: int = 8,
        trunc_length: int = 15,
        clip: float = 1.0,
    ):
        check_counts("TruncatedBackprop", num_runs=num_runs, trunc_length=trunc_length)
        if not clip > 0:
            raise ValueError(f"TruncatedBackprop(clip={clip}): must be positive.")
        super().__init__(task_family, learned_opt, horizons, objective)
        self._num_runs, self._trunc_length, self._clip = num_runs, trunc_length, clip

    def init_worker_state(self, worker_weights: Any, key: jax.Array) -> RunState:
        """Runs at their start, leaves ``[num_runs, ...]``."""

        def start(own: jax.Array) -> RunState:
            horizon_key, run_key = jax.random.split(own)
            horizon = first_horizon(self.horizons, horizon_key)
            return self.run.start(worker_weights.theta, run_key, horizon)

        return jax.jit(jax.vmap(start))(jax.random.split(key, self._num_runs))

    def estimate(
        self, theta: PyTree, key: jax.Array, state: RunState
    ) -> tuple[PyTree, RunState, Losses]:
        """Meta-gradient, next state and losses: a pure function."""

        def loss(theta: PyTree, run: RunState) -> tuple[jax.Array, tuple[RunState, Losses]]:
            run, losses = advance(self.run, theta, run, self._trunc_length, checkpointed=True)
            return losses.total / jnp.maximum(losses.counted, 1), (run, losses)

        def of_run(run: RunState, own: jax.Array) -> tuple[PyTree, RunState, Losses]:
            grad, (run, losses) = jax.grad(loss, has_aux=True)(theta, run)
            clip = optax.clip_by_global_norm(self._clip)
            grad, _ = clip.update(grad, clip.init(grad))
            horizon_key, run_key = jax.random.split(own)
            fresh = self.run.start(theta, run_key, self.horizons.draw(horizon_key))
            return grad, where(is_over(run), fresh, run), losses

        grads, after, losses = jax.vmap(of_run)(state, jax.random.split(key, self._num_runs))
        grad = jax.tree.map(lambda own: jnp.mean(own, axis=0), grads)
        return grad, after, jax.tree.map(jnp.sum, losses)
