"""How much faster: inner steps to a loss, with intervals, and what an inner step costs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from unf_lopt._types import PyTree
from unf_lopt.evaluation.aggregate import CONFIDENCE, FEWEST_SEEDS
from unf_lopt.evaluation.population import Population, Steps
from unf_lopt.evaluation.protocol import Protocol

SMOOTHING = 3
RESAMPLES = 1000
_ROUNDS = 7
_STEPS_PER_ROUND = 50


class Cost(NamedTuple):
    """What an inner step of one optimizer costs.

    Attributes:
      seconds: wall-clock time of a step of all seeds together.
      state_bytes: of the optimizer's state, for one run.
      temporary_bytes: of the compiled program of a step, for one run; None if it is not known.
    """

    seconds: float
    state_bytes: int
    temporary_bytes: int | None


class ToTarget(NamedTuple):
    """How soon one optimizer gets to the loss that another ends with.

    Attributes:
      target: the loss.
      steps: inner steps; None where it is never reached.
      steps_interval: 95%, by the bootstrap; an end that is None is beyond the horizon.
      speedup: the other's steps over these; 0 where the target is never reached.
      speedup_interval: of the speed-up, likewise.
    """

    target: float
    steps: int | None
    steps_interval: list[float | None] | None
    speedup: float
    speedup_interval: list[float] | None


def smoothed(
    losses: Float[np.ndarray, "*any evaluations"],
) -> Float[np.ndarray, "*any evaluations"]:
    """At each evaluation, the mean of the last `SMOOTHING` evaluations so far.

    Where all are positive it is the mean of logarithms: a loss that falls a thousandfold from one
    evaluation to the next would else be held back by the ones before.
    """
    positive = np.all(losses > 0, axis=-1, keepdims=True)
    logarithms = np.log(np.where(positive, losses, 1.0))
    return np.where(positive, np.exp(_means(logarithms)), _means(losses))


def _means(values: Float[np.ndarray, "*any evaluations"]) -> Float[np.ndarray, "*any evaluations"]:
    padded = [np.roll(values, shift, axis=-1) for shift in range(SMOOTHING)]
    places = np.arange(values.shape[-1])
    there = [places >= shift for shift in range(SMOOTHING)]
    total = sum(np.where(own, shifted, 0.0) for own, shifted in zip(there, padded, strict=True))
    return total / np.sum(there, axis=0)


def first_steps(
    steps: Int[np.ndarray, " evaluations"],
    losses: Float[np.ndarray, "*any evaluations"],
    targets: Float[np.ndarray, "*any"] | np.floating,
) -> Float[np.ndarray, "*any"]:
    """The first evaluated steps at which curves are at or below targets; inf where never.

    Args:
      steps: inner steps of the evaluations.
      losses: curves.
      targets: one for every curve.
    """
    reached = losses <= np.asarray(targets)[..., None]
    return np.where(reached.any(axis=-1), steps[reached.argmax(axis=-1)], np.inf)


def steps_to_loss(
    steps: Int[np.ndarray, " evaluations"], losses: Float[np.ndarray, " evaluations"], target: float
) -> int | None:
    """The first evaluated step at which a curve is at or below a loss; None if it never is."""
    found = float(first_steps(steps, losses, np.asarray(target)))
    return int(found) if np.isfinite(found) else None


def speedup_in_steps(
    steps: Int[np.ndarray, " evaluations"],
    ours: Float[np.ndarray, " evaluations"],
    theirs: Float[np.ndarray, " evaluations"],
) -> float | None:
    """Their inner steps over ours, to the lowest loss that both end at or below.

    Exchanging the two gives the inverse. Where theirs end higher, it is the steps that they take
    in all over those that we need for their final loss; where ours do, the other way round.

    Args:
      steps: inner steps of the evaluations.
      ours: our curve.
      theirs: theirs.

    Returns:
      The ratio; None if one of the two ends no lower than it began, or is not finite.
    """
    found = float(_speedups(steps, ours, theirs))
    return found if np.isfinite(found) else None


def _speedups(
    steps: Int[np.ndarray, " evaluations"],
    ours: Float[np.ndarray, "*any evaluations"],
    theirs: Float[np.ndarray, "*any evaluations"],
) -> Float[np.ndarray, "*any"]:
    """As `speedup_in_steps`, of many pairs; nan where there is none."""
    targets = np.maximum(ours[..., -1], theirs[..., -1])  # nan where one of them is
    falls = np.isfinite(targets) & (targets < np.minimum(ours[..., 0], theirs[..., 0]))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = first_steps(steps, theirs, targets) / first_steps(steps, ours, targets)
    return np.where(falls, ratios, np.nan)


def interval(
    steps: Int[np.ndarray, " evaluations"],
    ours: Float[np.ndarray, "seeds evaluations"],
    theirs: Float[np.ndarray, "seeds evaluations"],
) -> list[float] | None:
    """The bootstrap's 95% interval of the speed-up in steps, over seeds that the two share.

    Args:
      steps: inner steps of the evaluations.
      ours: our losses.
      theirs: theirs, on the same seeds.

    Returns:
      Both ends; None for fewer than three seeds, or where some resample has no speed-up.
    """
    if len(ours) < FEWEST_SEEDS:
        return None
    found = _speedups(steps, *_resampled(ours, theirs))
    return None if np.isnan(found).any() else np.quantile(found, CONFIDENCE).tolist()


def to_target(
    steps: Int[np.ndarray, " evaluations"],
    ours: Float[np.ndarray, "seeds evaluations"],
    theirs: Float[np.ndarray, "seeds evaluations"],
) -> ToTarget | None:
    """How soon we get to the loss that they end with: means over seeds, smoothed.

    Args:
      steps: inner steps of the evaluations.
      ours: our losses.
      theirs: theirs, on the same seeds.

    Returns:
      What was found; None where theirs end no lower than they began, so that there is no target.
    """
    own, other = smoothed(ours.mean(axis=0)), smoothed(theirs.mean(axis=0))
    target = other[-1]
    if not (np.isfinite(target) and target < other[0]):
        return None
    _, ratio = _to_ends(steps, own, other)
    found = ToTarget(float(target), steps_to_loss(steps, own, target), None, float(ratio), None)
    if len(ours) < FEWEST_SEEDS:
        return found
    drawn = _to_ends(steps, *_resampled(ours, theirs))
    ends, ratios = (np.quantile(x, CONFIDENCE, method="inverted_cdf").tolist() for x in drawn)
    within = [end if np.isfinite(end) else None for end in ends]
    return found._replace(steps_interval=within, speedup_interval=ratios)


def scores(
    steps: Int[np.ndarray, " evaluations"],
    ours: Float[np.ndarray, "seeds evaluations"],
    theirs: Float[np.ndarray, "seeds evaluations"],
) -> Float[np.ndarray, " seeds"]:
    """Each seed's speed-up in steps to the loss that theirs ends with on that seed.

    It is 0 where we never get there. Where theirs is not finite at the end, it is 1 if ours is not
    either, and else the largest that there can be.
    """
    own, other = smoothed(ours), smoothed(theirs)
    _, ratios = _to_ends(steps, own, other)
    largest = steps[-1] / steps[1]
    lost = np.where(np.isfinite(own[:, -1]), largest, 1.0)
    return np.clip(np.where(np.isfinite(other[:, -1]), ratios, lost), 0.0, largest)


def _to_ends(
    steps: Int[np.ndarray, " evaluations"],
    ours: Float[np.ndarray, "*any evaluations"],
    theirs: Float[np.ndarray, "*any evaluations"],
) -> tuple[Float[np.ndarray, "*any"], Float[np.ndarray, "*any"]]:
    """Our steps to where theirs end, inf where never, and theirs over ours, 0 where never."""
    targets = theirs[..., -1]
    needed, theirs_need = (first_steps(steps, own, targets) for own in (ours, theirs))
    # Where a target is the loss at the start, no step is needed: one evaluation is the least.
    least = np.where(np.isfinite(needed), np.maximum(needed, steps[1]), 1.0)
    return needed, np.where(np.isfinite(needed), theirs_need / least, 0.0)


def _resampled(
    *curves: Float[np.ndarray, "seeds evaluations"],
) -> list[Float[np.ndarray, "resamples evaluations"]]:
    """Smoothed means over seeds drawn anew, the same of each."""
    seeds = len(curves[0])
    drawn = np.random.default_rng(0).integers(seeds, size=(RESAMPLES, seeds))
    return [smoothed(own[drawn].mean(axis=1)) for own in curves]


def costs(
    populations: Mapping[str, tuple[Population, PyTree]], protocol: Protocol
) -> dict[str, Cost]:
    """What an inner step of all seeds costs: a whole training step, compiled, data on the device.

    The optimizers take turns, so that what else the machine does slows all of them alike; the
    median of the rounds counts.

    Args:
      populations: by name, the runs and the stacked theta.
      protocol: steps per compiled call.
    """
    steps: dict[str, Steps] = {
        name: population.steps_to_time(thetas) for name, (population, thetas) in populations.items()
    }
    calls = max(1, _STEPS_PER_ROUND // protocol.eval_every)
    found: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(_ROUNDS):
        for name, own in steps.items():
            started = time.perf_counter()
            for _ in range(calls):
                own.take()
            found[name].append((time.perf_counter() - started) / (calls * protocol.eval_every))
    return {
        name: Cost(float(np.median(times)), steps[name].state_bytes, steps[name].temporary_bytes)
        for name, times in found.items()
    }
