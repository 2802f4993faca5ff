"""Adam at the ecosystem's learning rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from unf_lopt import ecosystem
from unf_lopt.evaluation.curves import Curves
from unf_lopt.evaluation.population import Population
from unf_lopt.evaluation.protocol import Protocol

# These register names with gin, so they have to be loaded before its configuration is locked.
_HPARAM_SETS = ecosystem.load("baselines.hparam_sets")
_Adam = ecosystem.Adam


def adam_learning_rates() -> list[float]:
    """The 15 rates of the ecosystem's own baseline `AdamLR_2000_R5`: 1e-7 to 1, half decades."""
    configs, _ = _HPARAM_SETS.AdamLR_2000_R5("any_task")
    return sorted({config["Adam.learning_rate"] for config in configs})


class AdamAtRate(ecosystem.LearnedOptimizer):
    """The ecosystem's `Adam`, with nothing learned: theta is the learning rate, a scalar."""

    def init(self, key: jax.Array) -> jax.Array:
        """Adam's default rate in the ecosystem."""
        return jnp.float32(0.01)

    def opt_fn(self, theta: jax.Array, is_training: bool = False) -> Any:
        """Adam with this rate."""
        return _Adam(learning_rate=theta)


def adam_curves(
    task_family: Any, learning_rates: Sequence[float], protocol: Protocol
) -> list[Curves]:
    """Inner training with Adam, all rates and seeds in one program.

    Args:
      task_family: what to train on.
      learning_rates: one or more.
      protocol: seeds and steps.

    Returns:
      The curves of each rate.
    """
    population = Population(task_family, AdamAtRate(), protocol)
    return population.curves(jnp.asarray(learning_rates, jnp.float32))
