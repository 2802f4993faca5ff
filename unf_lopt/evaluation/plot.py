"""The curves as a picture, for places that show no HTML."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler

from unf_lopt.evaluation.outcome import Outcome, TaskOutcome
from unf_lopt.evaluation.protocol import SPLITS
from unf_lopt.evaluation.results import LOSSES

# Okabe and Ito's palette, which colour-blind readers can tell apart.
_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# One after the other; dashes where there are more optimizers than colours.
_STYLES = list(cycler(linestyle=("-", "--", ":")) * cycler(color=_COLOURS))
_MOST_TASKS = 12  # of one picture


def png(outcome: Outcome) -> bytes:
    """Mean loss with the range over the seeds: a row for each task, of the first twelve."""
    tasks = list(outcome.tasks.items())[:_MOST_TASKS]
    height = 4.6 if len(tasks) == 1 else 3.2 * len(tasks)
    figure = Figure(figsize=(11, height), dpi=150, layout="constrained")
    rows = figure.subplots(len(tasks), len(SPLITS), squeeze=False)
    for (name, own), axes in zip(tasks, rows, strict=True):
        for split, axis in zip(SPLITS, axes, strict=True):
            _draw(axis, own, split)
            axis.set_title(f"{name}: {LOSSES[split]}", fontsize="medium")
    handles, labels = rows[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _draw(axis: Axes, outcome: TaskOutcome, split: str) -> None:
    for number, own in enumerate(outcome.contestants):
        curves, style = outcome.of(own.name, split), _style(number)
        losses = curves.loss[split]
        low, high = losses.min(axis=0), losses.max(axis=0)
        axis.fill_between(curves.steps, low, high, color=style["color"], alpha=0.15, linewidth=0)
        axis.plot(curves.steps, curves.mean(split), linewidth=1.8, label=own.title, **style)
    axis.set_xlabel("inner step (band: lowest and highest seed)")
    axis.set_xlim(0, outcome.protocol.horizon)
    axis.grid(which="both", alpha=0.25, linewidth=0.5)
    axis.spines[["top", "right"]].set_visible(False)
    _limit(axis, outcome, split)


def _style(number: int) -> dict[str, Any]:
    return _STYLES[number % len(_STYLES)]


def _limit(axis: Axes, outcome: TaskOutcome, split: str) -> None:
    """A log scale where losses allow, and no room for runs that diverge."""
    losses = np.stack([curves.loss[split] for curves in outcome.curves.values()])
    finite = losses[np.isfinite(losses)]
    start = losses[..., 0]
    if finite.size and finite.min() > 0:
        axis.set_yscale("log")
        axis.set_ylim(finite.min() * 0.8, start.max() * 1.5)
