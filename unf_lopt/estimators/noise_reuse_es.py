"""Evolution strategies on truncations that keep a perturbation for a whole inner run."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from unf_lopt._options import check_counts
from unf_lopt._types import PyTree
from unf_lopt.ecosystem.gin_decorator import configurable
from unf_lopt.estimators._base import CompiledEstimator
from unf_lopt.estimators.horizons import Horizons
from unf_lopt.estimators.inner_run import Losses, RunState
from unf_lopt.estimators.objective import Objective
from unf_lopt.estimators.perturbation import Std, antithetic_gradient, draw, shifted, sizes
from unf_lopt.estimators.truncated import advance, first_horizon, is_over, where


class Pair(NamedTuple):
    """Two runs of one perturbation.

    Attributes:
      change: the perturbation ε, like theta.
      plus: the run of ``θ + ε``.
      minus: the run of ``θ − ε``, with the same task, initial parameters and batches.
    """

    change: PyTree
    plus: RunState
    minus: RunState


@configurable()
class NoiseReuseES(CompiledEstimator):
    """``ε·(L(θ + ε) − L(θ − ε)) / 2σ²`` of a truncation, ε drawn once for a whole inner run.

    An estimate of the gradient of the whole run's meta-loss, as PES is, but with far lower variance
    where runs are long, since ε does not change within one (Li et al., "Noise-Reuse in Online
    Evolution Strategies", NeurIPS 2023; Vicol, "Low-Variance Gradient Estimation in Unrolled
    Computation Graphs with ES-Single", ICML 2023). With K steps a truncation, and a share s of the
    steps of a run that count, L is the sum of φ(loss) over the truncation's counted steps divided
    by K·s; runs are staggered, so the mean over outer steps is that over truncations.

    Args:
      task_family: what is trained on.
      learned_opt: the `LearnedOptimizer`.
      horizons: how long inner runs are; drawn for every run.
      objective: what is lowered.
      num_pairs: antithetic pairs.
      trunc_length: inner steps in an outer step, K.
      std: σ, one number or numbers by the names of theta's parts.

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
        num_pairs: int = 8,
        trunc_length: int = 50,
        std: Std = 0.01,
    ):
        check_counts("NoiseReuseES", num_pairs=num_pairs, trunc_length=trunc_length)
        super().__init__(task_family, learned_opt, horizons, objective)
        self._num_pairs, self._trunc_length, self._std = num_pairs, trunc_length, std

    def init_worker_state(self, worker_weights: Any, key: jax.Array) -> Pair:
        """Pairs at the start of their runs, leaves ``[num_pairs, ...]``."""
        theta = worker_weights.theta
        sizes(theta, self._std)

        def start(own: jax.Array) -> Pair:
            first, rest = jax.random.split(own)
            return self._start(theta, rest, first_horizon(self.horizons, first))

        return jax.jit(jax.vmap(start))(jax.random.split(key, self._num_pairs))

    def estimate(self, theta: PyTree, key: jax.Array, state: Pair) -> tuple[PyTree, Pair, Losses]:
        """Meta-gradient, next state and losses: a pure function."""

        def advanced(pair: Pair, own: jax.Array) -> tuple[Pair, jax.Array, Losses]:
            runs = jax.tree.map(lambda *x: jnp.stack(x), pair.plus, pair.minus)
            signs = jnp.asarray([1.0, -1.0])
            runs, losses = jax.vmap(
                lambda sign, run: advance(
                    self.run, shifted(theta, pair.change, sign), run, self._trunc_length
                )
            )(signs, runs)
            plus, minus = (jax.tree.map(lambda x, i=i: x[i], runs) for i in range(2))
            share = self.run.objective.share(plus.horizon)
            difference = (losses.total[0] - losses.total[1]) / (self._trunc_length * share)
            horizon_key, rest = jax.random.split(own)
            fresh = self._start(theta, rest, self.horizons.draw(horizon_key))
            after = where(is_over(plus), fresh, Pair(pair.change, plus, minus))
            return after, difference, losses

        keys = jax.random.split(key, self._num_pairs)
        after, differences, losses = jax.vmap(advanced)(state, keys)
        grad = antithetic_gradient(state.change, differences, theta, self._std)
        return grad, after, jax.tree.map(jnp.sum, losses)

    def _start(self, theta: PyTree, key: jax.Array, horizon: jax.Array) -> Pair:
        change_key, run_key = jax.random.split(key)
        change = draw(change_key, theta, self._std)
        runs = (self.run.start(shifted(theta, change, sign), run_key, horizon) for sign in (1, -1))
        return Pair(change, *runs)
