"""An estimator of its own for every part of theta."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from unf_lopt import ecosystem
from unf_lopt._types import PyTree


class ByPart(ecosystem.GradientEstimator):
    """The meta-gradient of every part of theta from the estimator that suits it.

    Evolution strategies are good for few scalars, backpropagation for many coefficients; both see
    the whole of theta as it is.

    Args:
      estimators: by the names of theta's parts, such as ``{"scalars": HorizonES(…), "functional":
        TruncatedBackprop(…)}``; parts that are not named stay as they are.

    Raises:
      ValueError: there is none.
    """

    def __init__(self, estimators: Mapping[str, Any]):
        if not estimators:
            raise ValueError("ByPart(estimators={}): at least one part needs an estimator.")
        self._estimators = dict(estimators)
        self.task_family = next(iter(self._estimators.values())).task_family

    @property
    def is_pure(self) -> bool:
        """Whether its estimate is a pure function: if all parts' are."""
        return all(getattr(own, "is_pure", False) for own in self._estimators.values())

    def task_name(self) -> str:
        """The name of the first estimator's task family."""
        return self.task_family.name

    def init_worker_state(self, worker_weights: Any, key: jax.Array) -> dict[str, PyTree]:
        """The state of every estimator, by part.

        Raises:
          ValueError: a part is none of theta's.
        """
        if not self._estimators.keys() <= worker_weights.theta.keys():
            raise ValueError(
                f"ByPart: estimators for {sorted(self._estimators)}, but theta's parts are "
                f"{sorted(worker_weights.theta)}."
            )
        keys = jax.random.split(key, len(self._estimators))
        return {
            part: estimator.init_worker_state(worker_weights, own)
            for (part, estimator), own in zip(self._estimators.items(), keys, strict=True)
        }

    def compute_gradient_estimate(
        self,
        worker_weights: Any,
        key: jax.Array,
        state: Mapping[str, PyTree],
        with_summary: bool = False,
        datas_list: Any = None,
    ) -> tuple[Any, Mapping[str, Any]]:
        """The ecosystem's interface; the meta-loss is the mean of the estimators'."""
        grad = jax.tree.map(jnp.zeros_like, worker_weights.theta)
        states, losses, metrics = {}, [], {}
        keys = jax.random.split(key, len(self._estimators))
        for (part, estimator), own in zip(self._estimators.items(), keys, strict=True):
            out, found = estimator.compute_gradient_estimate(
                worker_weights, own, state[part], with_summary=with_summary
            )
            grad = {**grad, part: out.grad[part]}
            states[part] = out.unroll_state
            losses.append(out.mean_loss)
            steps = metrics.get(ecosystem.INNER_STEPS, 0) + found.get(ecosystem.INNER_STEPS, 0)
            metrics |= {**found, ecosystem.INNER_STEPS: steps}
        out = ecosystem.GradientEstimatorOut(
            mean_loss=jnp.mean(jnp.stack(losses)), grad=grad, unroll_state=states, unroll_info=None
        )
        return out, metrics
