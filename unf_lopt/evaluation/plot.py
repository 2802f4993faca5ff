"""The curves as a picture."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler

from unf_lopt.evaluation.baselines import BASELINES
from unf_lopt.evaluation.curves import Curves
from unf_lopt.evaluation.outcome import Outcome
from unf_lopt.evaluation.protocol import SPLITS, TUNING_SPLITS

_TITLES = {"train": "training loss", "test": "test loss"}
# Okabe and Ito's palette, which colour-blind readers can tell apart.
_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# One after the other; dashes where there are more optimizers than colours.
_STYLES = list(cycler(linestyle=("-", "--", ":")) * cycler(color=_COLOURS))
# Baselines are black and grey, and told apart by their dashes.
_DASHES = ("-", "--", ":", "-.")
_GREY = "0.78"
_LEGEND: dict[str, Any] = {"frameon": False, "fontsize": "small"}


def png(outcome: Outcome) -> bytes:
    """Mean loss with the range over the seeds; baselines' other rates as thin lines."""
    figure = Figure(figsize=(11, 4.8), dpi=150, layout="constrained")
    axes = figure.subplots(1, len(SPLITS))
    for split, axis in zip(SPLITS, axes, strict=True):
        _draw(axis, outcome, split)
        _limit(axis, outcome, split)
    axes[0].set_ylabel("loss")
    labelled: dict[str, Artist] = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        labelled |= dict(zip(labels, handles, strict=True))
    figure.legend(
        labelled.values(), labelled.keys(), loc="outside lower center", ncols=3, frameon=False
    )
    protocol, main = outcome.protocol, outcome.learned[0]
    figure.suptitle(
        f"{outcome.task_family.name}: {protocol.horizon:,} inner steps, "
        f"{protocol.num_seeds} held-out seeds; {main.name} after {main.outer_steps:,} outer steps"
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _draw(axis: Axes, outcome: Outcome, split: str) -> None:
    for number, trained in enumerate(outcome.learned):
        style = _STYLES[number % len(_STYLES)]
        label = f"{trained.name} ({trained.outer_steps:,} outer steps)"
        _band(axis, outcome.curves[trained.name], split, style, label)
    for number, name in enumerate(outcome.sweeps):
        _draw_baseline(axis, outcome, name, split, _DASHES[number % len(_DASHES)])
    axis.set_title(f"{_TITLES[split]} (mean; band: lowest and highest seed)", fontsize="medium")
    axis.set_xlabel("inner step")
    axis.set_xlim(0, outcome.protocol.horizon)
    axis.grid(which="both", alpha=0.25, linewidth=0.5)
    axis.spines[["top", "right"]].set_visible(False)


def _draw_baseline(axis: Axes, outcome: Outcome, name: str, split: str, dashes: str) -> None:
    """The chosen rates with their bands, all others grey, from the seeds they were tried on."""
    title, best = BASELINES[name].title, outcome.best_rate(name)
    style = {"color": "black", "linestyle": dashes}
    label = f"{title}, best training loss (lr {best:g})"
    _band(axis, outcome.best(name), split, style, label)
    valid = outcome.best_rate(name, "inner_valid")
    if valid != best:
        label = f"{title}, best validation loss (lr {valid:g})"
        own = outcome.curves[outcome.best_name(name, "inner_valid")]
        _band(axis, own, split, {**style, "color": "0.4"}, label)
    if split not in TUNING_SPLITS:
        return
    grey: dict[str, Any] = {"color": _GREY, "linestyle": dashes, "linewidth": 0.8, "zorder": 1}
    others = [rate for rate in sorted(outcome.sweeps[name]) if rate not in (best, valid)]
    for rate in others:
        curves = outcome.sweeps[name][rate]
        label = f"{title}, other learning rates" if rate == others[0] else "_none"
        axis.plot(curves.steps, curves.mean(split), label=label, **grey)


def _band(axis: Axes, curves: Curves, split: str, style: dict[str, Any], label: str) -> None:
    losses, colour = curves.loss[split], style["color"]
    axis.fill_between(
        curves.steps, losses.min(axis=0), losses.max(axis=0), color=colour, alpha=0.2, linewidth=0
    )
    axis.plot(curves.steps, curves.mean(split), linewidth=1.8, label=label, **style)


def _limit(axis: Axes, outcome: Outcome, split: str) -> None:
    """A log scale where losses allow, and no room for rates that diverge."""
    losses = np.stack([curves.loss[split] for curves in outcome.curves.values()])
    finite = losses[np.isfinite(losses)]
    start = losses[..., 0]
    if finite.size and finite.min() > 0:
        axis.set_yscale("log")
        axis.set_ylim(finite.min() * 0.8, start.max() * 1.5)
