"""Hand-designed optimizers to compare with, each an entry of one table.

A further one is a further entry of `BASELINES`: tuning, report and configuration read the table.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from unf_lopt import ecosystem
from unf_lopt.evaluation.scheduled import (
    Schedule,
    Scheduled,
    ScheduleFree,
    linear_decay,
    warm_up_and_cosine,
    warm_up_and_hold,
)

# These register names with gin, so they have to be loaded before its configuration is locked.
_HPARAM_SETS = ecosystem.load("baselines.hparam_sets")
_Adam = ecosystem.Adam

# As many as the ecosystem tries of Adam, and closer together.
_RATES = tuple(float(f"{digit}e{power}") for power in range(-4, 1) for digit in (1, 2, 5))


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A hand-designed optimizer that is tuned by its peak learning rate.

    Attributes:
      title: what a reader calls it.
      optimizer: from a rate, which may be traced, to the ecosystem's `Optimizer`.
      learning_rates: the grid, rising.
      options: what else it is made with, for a reader.
    """

    title: str
    optimizer: Callable[[jax.Array], Any]
    learning_rates: tuple[float, ...] = _RATES
    options: str = ""

    def at_rate(self) -> AtRate:
        """The `LearnedOptimizer` whose theta is the rate."""
        return AtRate(self)


class AtRate(ecosystem.LearnedOptimizer):
    """A baseline, with nothing learned: theta is the peak learning rate, a scalar.

    Args:
      baseline: which.
    """

    def __init__(self, baseline: Baseline):
        super().__init__()
        self._baseline = baseline

    def init(self, key: jax.Array) -> jax.Array:
        """The middle of the grid."""
        rates = self._baseline.learning_rates
        return jnp.float32(rates[len(rates) // 2])

    def opt_fn(self, theta: jax.Array, is_training: bool = False) -> Any:
        """The optimizer with this rate."""
        return self._baseline.optimizer(theta)


def _adam_rates() -> tuple[float, ...]:
    """The 15 of the ecosystem's own baseline `AdamLR_2000_R5`: 1e-7 to 1, half decades."""
    configs, _ = _HPARAM_SETS.AdamLR_2000_R5("any_task")
    return tuple(sorted({config["Adam.learning_rate"] for config in configs}))


def _adamw(schedule: Schedule) -> optax.GradientTransformation:
    return optax.adamw(schedule, weight_decay=1e-2)


def _nadamw(weight_decay: float) -> Baseline:
    """NAdamW with a weight decay, ``W ← W − α·(d + λ·W)``."""
    inner = functools.partial(optax.nadamw, weight_decay=weight_decay)
    return Baseline(
        "NAdamW" if weight_decay < 1e-2 else f"NAdamW, weight decay {weight_decay:g}",
        lambda rate: Scheduled(inner, warm_up_and_cosine, rate),
        options=f"warm-up and cosine decay, weight decay {weight_decay:g}",
    )


def _sgd(schedule: Schedule) -> optax.GradientTransformation:
    return optax.sgd(schedule, momentum=0.9)


def _schedule_free(schedule: Schedule) -> optax.GradientTransformation:
    return optax.contrib.schedule_free_adamw(schedule)  # pyright: ignore[reportArgumentType]


def _muon(schedule: Schedule) -> optax.GradientTransformation:
    """Orthogonalized momentum for matrices; for all other parameters it is optax's NAdamW."""
    if not hasattr(optax.contrib, "muon"):
        raise ValueError(
            f"evaluate(baselines='muon'): optax {optax.__version__} has no contrib.muon; a later "
            "one does: pip install --upgrade optax."
        )
    return optax.contrib.muon(schedule)


BASELINES = {
    "adam": Baseline(
        "Adam",
        lambda rate: _Adam(learning_rate=rate),
        _adam_rates(),
        options="constant rate, the ecosystem's grid",
    ),
    "adamw": Baseline(
        "AdamW",
        lambda rate: Scheduled(_adamw, warm_up_and_cosine, rate),
        options="warm-up and cosine decay, weight decay 0.01",
    ),
    "sgd": Baseline(
        "SGD with momentum",
        lambda rate: Scheduled(_sgd, warm_up_and_cosine, rate),
        options="momentum 0.9, warm-up and cosine decay",
    ),
    "nadamw": _nadamw(1e-4),
    "nadamw_decay_tenth": _nadamw(0.1),
    "nadamw_decay_one": _nadamw(1.0),
    "schedule_free": Baseline(
        "Schedule-Free AdamW",
        lambda rate: ScheduleFree(_schedule_free, warm_up_and_hold, rate),
        options="warm-up, evaluated at its averaged parameters",
    ),
    "muon": Baseline(
        "Muon",
        lambda rate: Scheduled(_muon, linear_decay, rate),
        options="linear decay, NAdamW for what is no matrix",
    ),
}
