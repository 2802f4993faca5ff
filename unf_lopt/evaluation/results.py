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
from unf_lopt.evaluation.curves import Curves
from unf_lopt.evaluation.outcome import Outcome, adam_name
from unf_lopt.evaluation.protocol import SPLITS

# Zhou et al., arXiv 2402.05232, section 4.2 and appendix C.2.
PAPER_OUTER_STEPS = 50_000
PAPER_HORIZON = 2_000
PAPER_HORIZON_OF_TRANSFORMERS = 5_000

_METHOD = {
    "std": "sample standard deviation over the seeds",
    "best_adam": "lowest final training loss, mean over the same seeds that are reported",
    "speedup_in_steps": (
        "best Adam's inner steps over the optimizer's, to the lowest training loss that both end "
        f"at or below; seed means, each the mean of the last {speed.SMOOTHING} evaluations"
    ),
    "seconds_per_inner_step": (
        "one step of all seeds together, compiled, data on the device, without evaluation; median "
        "of rounds in which the optimizers take turns"
    ),
    "speedup_in_time": "speed-up in steps times best Adam's seconds over the optimizer's",
    "held_out": (
        "initial parameters from a key that outer training never uses, batches in an order of "
        "their own; nothing of the test split is in a training batch"
    ),
}


def summary(outcome: Outcome) -> dict[str, Any]:
    """Everything but the curves, for JSON; all that depends on the clock is under "timing"."""
    protocol, main = outcome.protocol, outcome.learned[0]
    optimizers = {}
    for trained in outcome.learned:
        optimizers[trained.name] = {
            "kind": "learned",
            "outer_steps": trained.outer_steps,
            "checkpoint": trained.checkpoint,
            **_losses(outcome.curves[trained.name]),
            "against_best_adam": _against_best_adam(outcome, trained.name),
        }
    for rate in sorted(outcome.adam):
        optimizers[adam_name(rate)] = {
            "kind": "adam",
            "learning_rate": rate,
            **_losses(outcome.adam[rate]),
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
        "seed": protocol.seed,
        "data_seed": protocol.data_seed,
        "eval_every": protocol.eval_every,
        "eval_batches": protocol.eval_batches,
        "final_eval_batches": protocol.eval_batches * protocol.final_passes,
        "same_seeds_and_batches": outcome.paired(),
        "best_adam": outcome.best_adam,
        "best_adam_learning_rate": outcome.best_rate,
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
    """All curves, one row for each optimizer, split, seed and evaluation."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["optimizer", "split", "seed", "inner_step", "loss"])
    for name, curves in outcome.all_curves().items():
        for split in SPLITS:
            for seed, losses in enumerate(curves.loss[split]):
                for step, loss in zip(curves.steps, losses, strict=True):
                    writer.writerow([name, split, seed, step, f"{loss:.7g}"])
    return text.getvalue()


def _paper_horizon(task: str) -> int:
    """The ecosystem's names of tasks, and ours, start with the kind of model."""
    return PAPER_HORIZON_OF_TRANSFORMERS if task.startswith("Transformer") else PAPER_HORIZON


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


def _against_best_adam(outcome: Outcome, name: str) -> dict[str, Any]:
    steps = outcome.curves[name].steps
    ours = speed.smoothed(outcome.curves[name].mean("train"))
    adams = speed.smoothed(outcome.adam[outcome.best_rate].mean("train"))
    return {
        "adams_steps_to_our_final_loss": speed.steps_to_loss(steps, adams, ours[-1]),
        "our_steps_to_adams_final_loss": speed.steps_to_loss(steps, ours, adams[-1]),
        "speedup_in_steps": speed.speedup_in_steps(steps, ours, adams),
    }


def _timing(outcome: Outcome, optimizers: dict[str, Any]) -> dict[str, Any]:
    seconds = outcome.seconds_per_step
    speedups = {}
    for trained in outcome.learned:
        in_steps = optimizers[trained.name]["against_best_adam"]["speedup_in_steps"]
        slower = seconds[trained.name] / seconds[outcome.best_adam]
        speedups[trained.name] = None if in_steps is None else in_steps / slower
    return {
        "seconds_per_inner_step": seconds,
        "speedup_in_time": speedups,
        "stage_seconds": outcome.stage_seconds,
    }
