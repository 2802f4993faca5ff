"""Statistics over many tasks: interquartile means and performance profiles, with intervals.

After Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (arXiv
2108.13264), whose library `rliable` computes the same.

Scores are speed-ups. Intervals are of the stratified bootstrap: seeds are drawn
with replacement within each task, so that they say what other seeds would give on these tasks.
"""

from __future__ import annotations

import numpy as np
import scipy.stats
from jaxtyping import Float

RESAMPLES = 2000
# Of a performance profile, from a quarter of the speed to eight times.
THRESHOLDS = np.round(np.geomspace(0.25, 8.0, 61), 4)
CONFIDENCE = (0.025, 0.975)  # ends of a 95% interval
FEWEST_SEEDS = 3  # of an interval
_TRIMMED = 0.25  # of each end


def interquartile_mean(scores: Float[np.ndarray, "*any runs"]) -> Float[np.ndarray, "*any"]:
    """The mean of the middle half of the scores of all runs."""
    return np.asarray(scipy.stats.trim_mean(scores, _TRIMMED, axis=-1))


def interquartile_mean_with_interval(
    scores: Float[np.ndarray, "tasks seeds"],
) -> tuple[float, list[float] | None]:
    """The interquartile mean of scores, and its 95% interval.

    The interval is None for fewer than three seeds.
    """
    middle = float(interquartile_mean(scores.ravel()))
    if scores.shape[1] < FEWEST_SEEDS:
        return middle, None
    drawn = resampled(scores).reshape(RESAMPLES, -1)
    return middle, np.quantile(interquartile_mean(drawn), CONFIDENCE).tolist()


def performance_profile(
    scores: Float[np.ndarray, "tasks seeds"],
) -> tuple[Float[np.ndarray, " thresholds"], Float[np.ndarray, "2 thresholds"]]:
    """For each of `THRESHOLDS`, the share of runs with at least that score, and its 95% band."""
    drawn = resampled(scores).reshape(RESAMPLES, -1)
    band = np.quantile(_shares(drawn), CONFIDENCE, axis=0)
    return _shares(scores.reshape(1, -1))[0], band


def resampled(
    scores: Float[np.ndarray, "tasks seeds"],
) -> Float[np.ndarray, "resamples tasks seeds"]:
    """Seeds drawn with replacement within each task."""
    tasks, seeds = scores.shape
    places = np.random.default_rng(0).integers(seeds, size=(RESAMPLES, tasks, seeds))
    return np.take_along_axis(scores[None], places, axis=2)


def _shares(scores: Float[np.ndarray, "rows runs"]) -> Float[np.ndarray, "rows thresholds"]:
    """Of each row, the share of runs with at least a score."""
    ordered = np.sort(scores, axis=1)
    below = [np.searchsorted(row, THRESHOLDS, side="left") for row in ordered]
    return 1 - np.stack(below) / scores.shape[1]
