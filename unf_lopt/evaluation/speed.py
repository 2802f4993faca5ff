"""How much faster: inner steps to a loss, and seconds an inner step."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from unf_lopt.evaluation.population import Population
from unf_lopt.evaluation.protocol import Protocol

PyTree = Any

SMOOTHING = 3
RESAMPLES = 1000
_ROUNDS = 7
_STEPS_PER_ROUND = 50


def smoothed(losses: np.ndarray) -> np.ndarray:
    """At each evaluation, the mean of the last `SMOOTHING` evaluations so far.

    Where all are positive it is the mean of logarithms: a loss that falls a thousandfold from one
    evaluation to the next would else be held back by the ones before.

    Args:
      losses: a curve, [evaluations].
    """
    if np.all(losses > 0):
        return np.exp(_means(np.log(losses)))
    return _means(losses)


def _means(values: np.ndarray) -> np.ndarray:
    ends = np.arange(1, len(values) + 1)
    return np.array([values[max(0, end - SMOOTHING) : end].mean() for end in ends])


def steps_to_loss(steps: np.ndarray, losses: np.ndarray, target: float) -> int | None:
    """The first evaluated step at which a curve is at or below a loss; None if it never is."""
    return _first_step(steps, losses <= target) if (losses <= target).any() else None


def _first_step(steps: np.ndarray, reached: np.ndarray) -> int:
    return int(steps[np.flatnonzero(reached)[0]])


def speedup_in_steps(steps: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> float | None:
    """Their inner steps over ours, to the lowest loss that both end at or below.

    Exchanging the two gives the inverse. Where theirs end higher, it is the steps that they take
    in all over those that we need for their final loss; where ours do, the other way round.

    Args:
      steps: inner steps of the evaluations, [evaluations].
      ours: our curve, [evaluations].
      theirs: theirs, [evaluations].

    Returns:
      The ratio; None if one of the two ends no lower than it began, or is not finite.
    """
    target = max(ours[-1], theirs[-1])
    if not (np.isfinite(target) and target < min(ours[0], theirs[0])):
        return None
    return _first_step(steps, theirs <= target) / _first_step(steps, ours <= target)


def interval(steps: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> list[float] | None:
    """The bootstrap's 95% interval of the speed-up in steps, over seeds that the two share.

    Args:
      steps: inner steps of the evaluations, [evaluations].
      ours: our losses, [seeds, evaluations].
      theirs: theirs, on the same seeds.

    Returns:
      Both ends; None for fewer than three seeds, or where some resample has no speed-up.
    """
    seeds = len(ours)
    if seeds < 3:
        return None
    drawn = np.random.default_rng(0).integers(seeds, size=(RESAMPLES, seeds))
    found = [
        speedup_in_steps(steps, smoothed(ours[own].mean(0)), smoothed(theirs[own].mean(0)))
        for own in drawn
    ]
    if any(speedup is None for speedup in found):
        return None
    return np.quantile(np.array(found, float), (0.025, 0.975)).tolist()


def seconds_per_step(
    task_family: Any, optimizers: Mapping[str, tuple[Any, PyTree]], protocol: Protocol
) -> dict[str, float]:
    """Wall-clock time of an inner step of all seeds together, compiled, data on the device.

    The optimizers take turns, so that what else the machine does slows all of them alike; the
    median of the rounds counts.

    Args:
      task_family: what to train on.
      optimizers: by name, the `LearnedOptimizer` and its theta.
      protocol: seeds, and steps per compiled call.

    Returns:
      Seconds by name.
    """
    unrolls = {
        name: Population(task_family, lopt, protocol).unroller(
            jax.tree.map(lambda leaf: np.asarray(leaf)[None], theta)
        )
        for name, (lopt, theta) in optimizers.items()
    }
    calls = max(1, _STEPS_PER_ROUND // protocol.eval_every)
    found: dict[str, list[float]] = {name: [] for name in unrolls}
    for _ in range(_ROUNDS):
        for name, unroll in unrolls.items():
            started = time.perf_counter()
            for _ in range(calls):
                unroll()
            found[name].append((time.perf_counter() - started) / (calls * protocol.eval_every))
    return {name: float(np.median(times)) for name, times in found.items()}
