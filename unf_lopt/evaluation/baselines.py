"""Hand-designed optimizers to compare with, each an entry of one table.

A further one is a further entry of `BASELINES`: sweep, report and configuration read the table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from unf_lopt import ecosystem
from unf_lopt._options import check_option
from unf_lopt.evaluation.curves import Curves
from unf_lopt.evaluation.population import Population
from unf_lopt.evaluation.protocol import Protocol

PyTree = Any
Schedule = optax.Schedule

# These register names with gin, so they have to be loaded before its configuration is locked.
_HPARAM_SETS = ecosystem.load("baselines.hparam_sets")
_Adam = ecosystem.Adam

# Ten, as the ecosystem rounds half decades.
_HALF_DECADES = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
_WARM_UP = 10  # a tenth of the horizon


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A hand-designed optimizer that is tuned by its peak learning rate.

    Attributes:
      title: what a reader calls it.
      learning_rates: the grid.
      optimizer: from a rate, which may be traced, to the ecosystem's `Optimizer`.
    """

    title: str
    learning_rates: tuple[float, ...]
    optimizer: Callable[[jax.Array], Any]

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


class ScheduledState(NamedTuple):
    """State of an inner run; `num_steps` is its horizon, which the schedule needs."""

    params: PyTree
    state: PyTree
    optax_state: PyTree
    iteration: jax.Array
    num_steps: jax.Array


class Scheduled(ecosystem.Optimizer):
    """An optax optimizer whose learning rate depends on the horizon.

    The ecosystem's `OptaxOptimizer` knows no horizon; this one keeps the one that it is started
    with in its state.

    Args:
      transformation: from a learning-rate schedule to the optax optimizer.
      schedule: from peak rate and horizon to the schedule.
      rate: the peak.
    """

    def __init__(
        self,
        transformation: Callable[[Schedule], optax.GradientTransformation],
        schedule: Callable[[jax.Array, jax.Array], Schedule],
        rate: jax.Array,
    ):
        super().__init__()
        self._transformation = transformation
        self._schedule = schedule
        self._rate = rate

    def init(
        self,
        params: PyTree,
        model_state: PyTree = None,
        num_steps: int | None = None,
        key: jax.Array | None = None,
    ) -> ScheduledState:
        """The state before the first step.

        Raises:
          ValueError: no `num_steps`.
        """
        if num_steps is None:
            raise ValueError("a baseline with a schedule needs init(num_steps=HORIZON).")
        horizon = jnp.asarray(num_steps, jnp.int32)
        optax_state = self._optax(horizon).init(params)
        return ScheduledState(params, model_state, optax_state, jnp.int32(0), horizon)

    def update(
        self,
        opt_state: ScheduledState,
        grad: PyTree,
        loss: jax.Array | None = None,
        model_state: PyTree = None,
        key: jax.Array | None = None,
        **kwargs: Any,
    ) -> ScheduledState:
        """The state after one more step."""
        params, horizon = opt_state.params, opt_state.num_steps
        updates, optax_state = self._optax(horizon).update(grad, opt_state.optax_state, params)
        params = optax.apply_updates(params, updates)
        return ScheduledState(params, model_state, optax_state, opt_state.iteration + 1, horizon)

    def _optax(self, horizon: jax.Array) -> optax.GradientTransformation:
        return self._transformation(self._schedule(self._rate, horizon))


def warm_up_and_cosine(rate: jax.Array, num_steps: jax.Array) -> Schedule:
    """From zero to the peak over the first tenth of the steps, then by a half cosine to zero.

    It is `optax.warmup_cosine_decay_schedule`, which refuses a traced number of steps.

    Args:
      rate: the peak.
      num_steps: all steps.
    """
    warm_up = num_steps // _WARM_UP

    def schedule(count: jax.typing.ArrayLike) -> jax.Array:
        rising = count / jnp.maximum(warm_up, 1)
        done = jnp.clip((count - warm_up) / (num_steps - warm_up), 0, 1)
        falling = 0.5 * (1 + jnp.cos(jnp.pi * done))
        return rate * jnp.where(count < warm_up, rising, falling)

    return schedule


def linear_decay(rate: jax.Array, num_steps: jax.Array) -> Schedule:
    """From the rate to zero in a line, which is `optax.linear_schedule`.

    Args:
      rate: the first.
      num_steps: all steps.
    """
    return lambda count: rate * (1 - jnp.clip(count / num_steps, 0, 1))


def _adam_rates() -> tuple[float, ...]:
    """The 15 of the ecosystem's own baseline `AdamLR_2000_R5`: 1e-7 to 1, half decades."""
    configs, _ = _HPARAM_SETS.AdamLR_2000_R5("any_task")
    return tuple(sorted({config["Adam.learning_rate"] for config in configs}))


def _nadamw(schedule: Schedule) -> optax.GradientTransformation:
    return optax.nadamw(schedule, weight_decay=1e-4)


def _muon(schedule: Schedule) -> optax.GradientTransformation:
    """Orthogonalized momentum for matrices; for all other parameters it is optax's NAdamW."""
    if not hasattr(optax.contrib, "muon"):
        raise ValueError(
            f"evaluate(baselines='muon'): optax {optax.__version__} has no contrib.muon; a later "
            "one does: pip install --upgrade optax."
        )
    return optax.contrib.muon(schedule)


def _sgd(schedule: Schedule) -> optax.GradientTransformation:
    return optax.sgd(schedule, momentum=0.9)


def _adamw(schedule: Schedule) -> optax.GradientTransformation:
    return optax.adamw(schedule, weight_decay=1e-2)


BASELINES = {
    "adam": Baseline("Adam", _adam_rates(), lambda rate: _Adam(learning_rate=rate)),
    "adamw": Baseline(
        "AdamW", _HALF_DECADES, lambda rate: Scheduled(_adamw, warm_up_and_cosine, rate)
    ),
    "sgd": Baseline(
        "SGD with momentum", _HALF_DECADES, lambda rate: Scheduled(_sgd, warm_up_and_cosine, rate)
    ),
    "nadamw": Baseline(
        "NAdamW", _HALF_DECADES, lambda rate: Scheduled(_nadamw, warm_up_and_cosine, rate)
    ),
    "muon": Baseline("Muon", _HALF_DECADES, lambda rate: Scheduled(_muon, linear_decay, rate)),
}


def grids(
    names: Collection[str], adam_rates: Sequence[float] | None = None
) -> dict[str, tuple[float, ...]]:
    """The learning rates of the baselines that are asked for.

    Args:
      names: keys of `BASELINES`.
      adam_rates: of Adam, in place of its grid.

    Raises:
      ValueError: there is no such baseline, none at all is named, or rates are given for Adam where
        Adam is not compared.
    """
    names = tuple(names)
    if not names:
        raise ValueError(f"evaluate(baselines=()): name one or more of {tuple(BASELINES)}.")
    for name in names:
        check_option("evaluate.baselines", name, BASELINES)
    found = {name: BASELINES[name].learning_rates for name in names}
    if adam_rates:
        if "adam" not in found:
            raise ValueError(
                f"evaluate(learning_rates=...) are Adam's, which baselines={names} leave out."
            )
        found["adam"] = tuple(dict.fromkeys(float(rate) for rate in adam_rates))
    return found


def baseline_curves(
    task_family: Any, name: str, learning_rates: Sequence[float], protocol: Protocol
) -> list[Curves]:
    """Inner training with a baseline, all rates and seeds in one program.

    Args:
      task_family: what to train on.
      name: a key of `BASELINES`.
      learning_rates: one or more.
      protocol: seeds and steps.

    Returns:
      The curves of each rate.
    """
    population = Population(task_family, BASELINES[name].at_rate(), protocol)
    return population.curves(jnp.asarray(learning_rates, jnp.float32))
