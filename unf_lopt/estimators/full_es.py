"""Evolution strategies over whole inner runs, with drawn horizons."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from unf_lopt._options import check_counts
from unf_lopt._types import PyTree
from unf_lopt.ecosystem.gin_decorator import configurable
from unf_lopt.estimators._base import CompiledEstimator
from unf_lopt.estimators.horizons import Horizons
from unf_lopt.estimators.inner_run import Losses, added, no_losses
from unf_lopt.estimators.objective import Objective
from unf_lopt.estimators.perturbation import (
    Std,
    antithetic_gradient,
    draw,
    shifted,
    sizes,
    standardized,
)


@configurable()
class HorizonES(CompiledEstimator):
    """``E[ε·(L(θ + ε) − L(θ − ε))] / 2σ²`` with L the meta-loss of a whole inner run.

    Both signs of a pair have the same task, initial parameters and batches (Salimans et al., arXiv
    1703.03864; the ecosystem's ``FullES``). The horizon is drawn in every outer step and shared by
    the pairs; nothing is kept from one outer step to the next.

    Args:
      task_family: what is trained on.
      learned_opt: the `LearnedOptimizer`.
      horizons: how long inner runs are.
      objective: what is lowered.
      num_pairs: antithetic pairs, each with a perturbation and a run of its own.
      std: σ, one number or numbers by the names of theta's parts.
      standardize: whether the differences ``L(θ + ε) − L(θ − ε)`` are divided by their root mean
        square over the pairs. Tasks that are trained on together then weigh alike, whatever the
        scale of their meta-losses; the estimate is no longer unbiased.

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
        std: Std = 0.01,
        standardize: bool = False,
    ):
        check_counts("HorizonES", num_pairs=num_pairs)
        super().__init__(task_family, learned_opt, horizons, objective)
        self._num_pairs, self._std, self._standardize = num_pairs, std, standardize

    def init_worker_state(self, worker_weights: Any, key: jax.Array) -> PyTree:
        """Nothing is kept; checks the sizes of perturbations."""
        sizes(worker_weights.theta, self._std)
        return {}

    def estimate(
        self, theta: PyTree, key: jax.Array, state: PyTree
    ) -> tuple[PyTree, PyTree, Losses]:
        """Meta-gradient, next state and losses: a pure function."""
        horizon_key, perturbation_key, run_key = jax.random.split(key, 3)
        horizon = self.horizons.draw(horizon_key)
        keys = jax.random.split(perturbation_key, self._num_pairs)
        changes = jax.vmap(lambda own: draw(own, theta, self._std))(keys)
        run_keys = jax.random.split(run_key, self._num_pairs)

        def loss(sign: jax.Array, change: PyTree, own: jax.Array) -> Losses:
            return self._losses(shifted(theta, change, sign), own, horizon)

        signs = jnp.asarray([1.0, -1.0])
        of_pairs = jax.vmap(jax.vmap(loss, (0, None, None)), (None, 0, 0))(signs, changes, run_keys)
        means = of_pairs.total / jnp.maximum(of_pairs.counted, 1)
        differences = means[:, 0] - means[:, 1]
        if self._standardize:
            differences = standardized(differences)
        grad = antithetic_gradient(changes, differences, theta, self._std)
        return grad, state, jax.tree.map(jnp.sum, of_pairs)

    def _losses(self, theta: PyTree, key: jax.Array, horizon: jax.Array) -> Losses:
        """Of a whole run."""
        state = self.run.start(theta, key, horizon)
        places = self.run.places(state, self.horizons.longest)
        split = self.run.objective.split
        valid = None if split == "train" else self.run.places(state, len(places), split)

        def step(number: jax.Array, carry: tuple[Any, Losses]) -> tuple[Any, Losses]:
            state, losses = carry
            own = None if valid is None else valid[number]
            state, found = self.run.step(theta, state, places[number], own)
            return state, added(losses, found)

        count = horizon.astype(jnp.int32)
        return jax.lax.fori_loop(0, count, step, (state, no_losses()))[1]
