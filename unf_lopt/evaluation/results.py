"""`results.json` and `curves.csv`."""

from __future__ import annotations

import csv
import importlib.metadata
import io
import platform
from typing import Any

import jax
import numpy as np

import unf_lopt
from unf_lopt import ecosystem
from unf_lopt.evaluation import speed
from unf_lopt.evaluation.baselines import BASELINES
from unf_lopt.evaluation.curves import Curves
from unf_lopt.evaluation.outcome import Outcome, Trained, setting_name
from unf_lopt.evaluation.protocol import SPLITS

# Zhou et al., arXiv 2402.05232, section 4.2 and appendix C.2.
PAPER_OUTER_STEPS = 50_000
PAPER_HORIZON = 2_000
PAPER_HORIZON_OF_TRANSFORMERS = 5_000

_METHOD = {
    "std": "sample standard deviation over the seeds",
    "best_rate": (
        "lowest final training loss, mean over seeds that are not reported; for test losses "
        "the lowest final loss on the validation split, likewise"
    ),
    "speedup_in_steps": (
        "the baseline's inner steps at its best rate over the optimizer's, to the lowest training "
        "loss that both end at or below; seed means, each smoothed over the last "
        f"{speed.SMOOTHING} evaluations (the mean of logarithms, where losses are positive)"
    ),
    "interval": (
        f"95% by the bootstrap: {speed.RESAMPLES:,} times as many seeds drawn with replacement, "
        "the same for both optimizers"
    ),
    "seconds_per_inner_step": (
        "one step of all seeds together, compiled, data on the device, without evaluation; median "
        "of rounds in which the optimizers take turns"
    ),
    "speedup_in_time": "speed-up in steps times the baseline's seconds over the optimizer's",
    "held_out": (
        "initial parameters from a key that outer training never uses, batches in an order of "
        "their own; nothing of the test split is in a training batch"
    ),
}


def summary(outcome: Outcome) -> dict[str, Any]:
    """Everything but the curves, for JSON; all that depends on the clock is under "timing"."""
    protocol, main = outcome.protocol, outcome.learned[0]
    optimizers = {
        **{trained.name: _learned(outcome, trained) for trained in outcome.learned},
        **_settings(outcome),
    }
    return {
        "optimizer": main.name,
        "outer_steps": main.outer_steps,
        "paper_outer_steps": PAPER_OUTER_STEPS,
        "task": outcome.task_family.name,
        "data_source": ecosystem.data_source(outcome.task_family.datasets),
        "horizon": protocol.horizon,
        "paper_horizon": _paper_horizon(outcome.task_family.name),
        "seeds": protocol.num_seeds,
        "tuning_seeds": len(
            next(iter(outcome.sweeps[outcome.main_baseline].values())).final("train")
        ),
        "seed": protocol.seed,
        "data_seed": protocol.data_seed,
        "eval_every": protocol.eval_every,
        "eval_batches": protocol.eval_batches,
        "final_eval_batches": protocol.eval_batches * protocol.final_passes,
        "same_seeds_and_batches": outcome.paired(),
        "main_baseline": outcome.main_baseline,
        "baselines": {name: _baseline(outcome, name) for name in outcome.sweeps},
        "optimizers": optimizers,
        "timing": _timing(outcome, optimizers),
        "method": _METHOD,
        "device": f"{jax.devices()[0].device_kind} ({jax.default_backend()})",
        "versions": {
            "unf_lopt": unf_lopt.__version__,
            "learned_optimization": ecosystem.version(),
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "numpy")},
        },
    }


def curves_csv(outcome: Outcome) -> str:
    """All curves, one row for each optimizer, split, seed and evaluation.

    The column `seeds` tells reported runs from those that settings were chosen on.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["optimizer", "seeds", "split", "seed", "inner_step", "loss"])

    def write(name: str, seeds: str, curves: Curves) -> None:
        for split, runs in curves.loss.items():
            for seed, losses in enumerate(runs):
                for step, loss in zip(curves.steps, losses, strict=True):
                    writer.writerow([name, seeds, split, seed, step, f"{loss:.7g}"])

    for name, curves in outcome.curves.items():
        write(name, "reported", curves)
    for name, by_rate in outcome.sweeps.items():
        for rate in sorted(by_rate):
            write(setting_name(name, rate), "tuning", by_rate[rate])
    return text.getvalue()


def _paper_horizon(task: str) -> int:
    """The ecosystem's names of tasks, and ours, start with the kind of model."""
    return PAPER_HORIZON_OF_TRANSFORMERS if task.startswith("Transformer") else PAPER_HORIZON


def _learned(outcome: Outcome, trained: Trained) -> dict[str, Any]:
    curves = outcome.curves[trained.name]
    return {
        "kind": "learned",
        "outer_steps": trained.outer_steps,
        "checkpoint": trained.checkpoint,
        **_losses(curves),
        "against": {name: _against(curves, outcome.best(name)) for name in outcome.sweeps},
    }


def _settings(outcome: Outcome) -> dict[str, Any]:
    """Every baseline as it was chosen; the best is compared with the main baseline."""
    main, found = outcome.main_baseline, {}
    for name in outcome.sweeps:
        for rate in outcome.chosen_rates(name):
            own = setting_name(name, rate)
            found[own] = {
                "kind": "baseline",
                "baseline": name,
                "learning_rate": rate,
                **_losses(outcome.curves[own]),
            }
        found[outcome.best_name(name)]["against"] = {
            main: _against(outcome.best(name), outcome.best(main))
        }
    return found


def _baseline(outcome: Outcome, name: str) -> dict[str, Any]:
    """What came of a baseline's sweep."""
    by_rate, chosen = outcome.sweeps[name], outcome.best_name(name, "inner_valid")
    return {
        "title": BASELINES[name].title,
        "best": outcome.best_name(name),
        "best_learning_rate": outcome.best_rate(name),
        "learning_rates": sorted(by_rate),
        "grid_edge": outcome.grid_edge(name),
        "best_by_validation_loss": {
            "optimizer": chosen,
            "learning_rate": outcome.best_rate(name, "inner_valid"),
            "grid_edge": outcome.grid_edge(name, "inner_valid"),
            "final_test_mean": _number(outcome.curves[chosen].final("test").mean()),
        },
        "sweep": [
            {
                "learning_rate": rate,
                **{
                    f"{split}_final_mean": _number(by_rate[rate].final(split).mean())
                    for split in by_rate[rate].loss
                },
            }
            for rate in sorted(by_rate)
        ],
    }


def _losses(curves: Curves) -> dict[str, Any]:
    return {split: _statistics(curves.final(split)) for split in SPLITS}


def _statistics(values: np.ndarray) -> dict[str, Any]:
    return {
        "final_mean": _number(values.mean()),
        "final_std": _number(values.std(ddof=1)) if len(values) > 1 else None,
        "final_of_each_seed": [_number(value) for value in values],
    }


def _number(value: float) -> float | None:
    """JSON has no NaN and no infinity: what diverged is null."""
    return float(value) if np.isfinite(value) else None


def _against(own: Curves, other: Curves) -> dict[str, Any]:
    """An optimizer's training loss against a baseline's."""
    ours, theirs = (speed.smoothed(curves.mean("train")) for curves in (own, other))
    return {
        "baselines_steps_to_our_final_loss": speed.steps_to_loss(own.steps, theirs, ours[-1]),
        "our_steps_to_baselines_final_loss": speed.steps_to_loss(own.steps, ours, theirs[-1]),
        "speedup_in_steps": speed.speedup_in_steps(own.steps, ours, theirs),
        "speedup_in_steps_interval": speed.interval(
            own.steps, own.loss["train"], other.loss["train"]
        ),
    }


def _timing(outcome: Outcome, optimizers: dict[str, Any]) -> dict[str, Any]:
    seconds = outcome.seconds_per_step
    speedups: dict[str, dict[str, float | None]] = {}
    for name, entry in optimizers.items():
        for baseline, against in entry.get("against", {}).items():
            in_steps = against["speedup_in_steps"]
            slower = seconds[name] / seconds[outcome.best_name(baseline)]
            found = None if in_steps is None else in_steps / slower
            speedups.setdefault(name, {})[baseline] = found
    return {
        "seconds_per_inner_step": seconds,
        "speedup_in_time": speedups,
        "stage_seconds": outcome.stage_seconds,
    }
