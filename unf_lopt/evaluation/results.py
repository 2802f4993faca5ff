"""`results.json` and `curves.csv`: everything that the report says, as data."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.stats

from unf_lopt import ecosystem
from unf_lopt.evaluation import aggregate, speed
from unf_lopt.evaluation.contestants import Contestant
from unf_lopt.evaluation.curves import Curves
from unf_lopt.evaluation.identity import device, versions
from unf_lopt.evaluation.outcome import TRAIN, Outcome, TaskOutcome
from unf_lopt.evaluation.protocol import SPLITS, TUNING_SPLITS

FORMAT = "unf_lopt.evaluation/3"
LOSSES = {"train": "training loss", "test": "test loss"}  # as a reader calls them
BEST = "best baseline"  # of each task, in place of a baseline's name

_METHOD = {
    "settings": (
        "chosen on seeds that are not reported: the one with the lowest final training loss for "
        "training losses, the one with the lowest final loss on the validation split for test "
        "losses; for steps and times as for the target"
    ),
    "held_out": (
        "initial parameters from a key that outer training never uses, batches in an order of "
        "their own; nothing of the test split is in a training batch"
    ),
    "target": (
        "the {loss} that the best tuned baseline of the task ends with, best on the tuning "
        f"seeds; seed means, smoothed over the last {speed.SMOOTHING} evaluations (the mean of "
        "logarithms, where losses are positive)"
    ),
    "censored": "a target that is never reached counts as more steps than the horizon, speed-up 0",
    "interval": (
        f"95% by the bootstrap: {speed.RESAMPLES:,} times as many seeds drawn with replacement, "
        "the same for both optimizers"
    ),
    "against": (
        "the other's inner steps over the optimizer's, to the lowest {loss} that both end "
        "at or below"
    ),
    "seconds_per_step": (
        "one training step of all seeds together, compiled, data on the device, without "
        "evaluation; median of rounds in which the optimizers take turns"
    ),
    "memory": "of one inner run: the optimizer's state, and temporaries of the compiled step",
    "score": (
        "of a run: the other's steps over the optimizer's, to the {loss} that the other "
        "ends with on the same seed; 0 where it is never reached"
    ),
    "interquartile_mean": (
        "the mean of the middle half of all runs' scores; 95% intervals by the stratified "
        f"bootstrap, {aggregate.RESAMPLES:,} resamples (Agarwal et al., arXiv 2108.13264)"
    ),
    "diverged": "runs that end with a training loss that is not finite, or above the first",
}


def summary(outcome: Outcome) -> dict[str, Any]:
    """Everything but the curves, for JSON; what depends on the clock is under "timing"."""
    tasks = {name: _task(own) for name, own in outcome.tasks.items()}
    protocol = outcome.protocol
    (first, *_) = outcome.tasks.values()
    baseline = outcome.baselines[0].name
    return {
        "format": FORMAT,
        "main": outcome.main.name,
        "contestants": {own.name: _contestant(own) for own in outcome.contestants},
        "protocol": {
            "horizon": protocol.horizon,
            "target": outcome.target,
            "seeds": protocol.num_seeds,
            "tuning_seeds": len(next(iter(first.sweeps[baseline].values())).final(TRAIN)),
            "seed": protocol.seed,
            "data_seed": protocol.data_seed,
            "eval_every": protocol.eval_every,
            "eval_batches": protocol.eval_batches,
            "final_eval_batches": protocol.eval_batches * protocol.final_passes,
        },
        "tasks": tasks,
        "over_all_tasks": _over_all(outcome, _in_steps),
        "timing": {
            "tasks": {name: _timing(own, tasks[name]) for name, own in outcome.tasks.items()},
            "over_all_tasks": _over_all(outcome, _in_time),
            "seconds": outcome.seconds,
        },
        "method": {
            name: text.format(loss=LOSSES[outcome.target]) for name, text in _METHOD.items()
        },
        "device": device(),
        "versions": versions(),
        "command": outcome.command,
        "configuration": outcome.configuration,
    }


def curves_csv(outcome: Outcome) -> str:
    """All curves, one row for each task, optimizer, setting, split, seed and evaluation.

    The column `seeds` tells reported runs from those that settings were chosen on.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    columns = ("task", "optimizer", "setting", "seeds", "split", "seed", "inner_step", "loss")
    writer.writerow(columns)

    def write(*labels: str, curves: Curves) -> None:
        for split, runs in curves.loss.items():
            for seed, losses in enumerate(runs):
                for step, loss in zip(curves.steps, losses, strict=True):
                    writer.writerow([*labels, split, seed, step, f"{loss:.7g}"])

    for task, own in outcome.tasks.items():
        for (name, setting), curves in own.curves.items():
            write(task, name, setting, "reported", curves=curves)
        for name, sweep in own.sweeps.items():
            for setting, curves in sweep.items():
                write(task, name, setting, "tuning", curves=curves)
    return text.getvalue()


def _contestant(own: Contestant) -> dict[str, Any]:
    settings = list(own.settings) if own.is_tuned else []
    return {"title": own.title, "kind": own.kind, "settings": settings, **own.about}


def _task(outcome: TaskOutcome) -> dict[str, Any]:
    names = [own.name for own in outcome.contestants]
    return {
        "data_source": ecosystem.data_source(outcome.task_family.datasets),
        "same_seeds_and_batches": outcome.paired(),
        "best_baseline": outcome.reference,
        "contestants": {name: _on_task(outcome, name) for name in names},
    }


def _on_task(outcome: TaskOutcome, name: str) -> dict[str, Any]:
    """One contestant on one task."""
    (own,) = (one for one in outcome.contestants if one.name == name)
    curves, best = outcome.of(name), outcome.of(outcome.reference)
    of_split = {split: outcome.setting(name, split) for split in SPLITS}
    setting = of_split[outcome.target]
    found = {
        **{split: _statistics(outcome.of(name, split).final(split)) for split in SPLITS},
        "diverged": outcome.diverged(name),
        "to_target": _to_target(curves, best, outcome.target),
        "against": {
            other.name: _against(curves, outcome.of(other.name), outcome.target)
            for other in outcome.contestants
            if other.is_tuned and other.name != name
        },
    }
    if not own.is_tuned:
        return found
    return {
        "setting": setting,
        "grid_edge": own.edge(setting),
        **{f"setting_for_{split}_loss": of_split[split] for split in SPLITS},
        **{f"grid_edge_for_{split}_loss": own.edge(of_split[split]) for split in SPLITS},
        **found,
        **{f"{split}_at_setting": _statistics(curves.final(split)) for split in SPLITS},
        "sweep": [
            {
                "setting": setting,
                **{
                    f"{split}_final_mean": _number(tried.final(split).mean())
                    for split in TUNING_SPLITS
                },
            }
            for setting, tried in outcome.sweeps[name].items()
        ],
    }


def _to_target(own: Curves, best: Curves, target: str) -> dict[str, Any] | None:
    found = speed.to_target(own.steps, own.loss[target], best.loss[target])
    return None if found is None else found._asdict()


def _against(own: Curves, other: Curves, target: str) -> dict[str, Any]:
    """An optimizer's loss against a baseline's, on the target's split."""
    ours, theirs = (speed.smoothed(curves.mean(target)) for curves in (own, other))
    losses = own.loss[target], other.loss[target]
    return {
        "speedup_in_steps": speed.speedup_in_steps(own.steps, ours, theirs),
        "speedup_in_steps_interval": speed.interval(own.steps, *losses),
        "their_steps_to_our_final_loss": speed.steps_to_loss(own.steps, theirs, ours[-1]),
        "our_steps_to_their_final_loss": speed.steps_to_loss(own.steps, ours, theirs[-1]),
    }


def _timing(outcome: TaskOutcome, task: dict[str, Any]) -> dict[str, Any]:
    """Of a task: what a step costs, and the times that follow."""
    seconds = {name: cost.seconds for name, cost in outcome.costs.items()}
    best = seconds[outcome.reference]
    found = {}
    for name, cost in outcome.costs.items():
        own, reached = task["contestants"][name], None
        if (target := own["to_target"]) is not None:
            steps, ratio = target["steps"], best / cost.seconds
            bounds = target["speedup_interval"]
            reached = {
                "seconds": None if steps is None else steps * cost.seconds,
                "speedup": target["speedup"] * ratio,
                "speedup_interval": bounds and [bound * ratio for bound in bounds],
            }
        against = {
            other: x and x * seconds[other] / cost.seconds
            for other, entry in own["against"].items()
            for x in [entry["speedup_in_steps"]]
        }
        found[name] = {
            "seconds_per_step": cost.seconds,
            "state_bytes": cost.state_bytes,
            "temporary_bytes": cost.temporary_bytes,
            "to_target": reached,
            "speedup_in_time": against,
        }
    return found


Pairs = list[tuple[TaskOutcome, str]]  # tasks, and the baseline that is the other there


def _over_all(
    outcome: Outcome, found: Callable[[Pairs, str, bool], dict[str, Any]]
) -> dict[str, Any]:
    """Each contestant over all tasks, against the best baseline of each and against every one."""
    tasks = list(outcome.tasks.values())
    others = {BEST: [(task, task.reference) for task in tasks]}
    others |= {own.name: [(task, own.name) for task in tasks] for own in outcome.baselines}
    return {
        own.name: {
            other: found(pairs, own.name, other == BEST)
            for other, pairs in others.items()
            if other != own.name
        }
        for own in outcome.contestants
    }


def _in_steps(pairs: Pairs, name: str, with_profile: bool) -> dict[str, Any]:
    scores = np.stack([task.scores(name, other) for task, other in pairs])
    steps, interval = aggregate.interquartile_mean_with_interval(scores)
    found = {
        "tasks": len(pairs),
        "tasks_lower_in_training_loss": sum(_lower(*pair, name, "train") for pair in pairs),
        "tasks_lower_in_test_loss": sum(_lower(*pair, name, "test") for pair in pairs),
        "speedup_in_steps": steps,
        "speedup_in_steps_interval": interval,
        "runs": scores.size,
        "runs_that_reach_it": int(np.sum(scores > 0)),
        "diverged": sum(task.diverged(name) for task, _ in pairs),
    }
    if with_profile:
        shares, band = aggregate.performance_profile(scores)
        found["performance_profile"] = {
            "speedup_at_least": aggregate.THRESHOLDS.tolist(),
            "share_of_runs": shares.tolist(),
            "band": band.tolist(),
        }
    return found


def _in_time(pairs: Pairs, name: str, with_profile: bool) -> dict[str, Any]:
    scores = np.stack([task.scores(name, other) for task, other in pairs])
    costs = [(task.costs[other].seconds, task.costs[name].seconds) for task, other in pairs]
    ratios = np.divide(*np.transpose(costs))
    time, interval = aggregate.interquartile_mean_with_interval(scores * ratios[:, None])
    return {
        "speedup_in_time": time,
        "speedup_in_time_interval": interval,
        "time_of_a_step": float(scipy.stats.gmean(1 / ratios)),
    }


def _lower(task: TaskOutcome, other: str, name: str, split: str) -> bool:
    """Whether a contestant ends lower; one that diverged does not."""
    own, theirs = (task.of(one, split).final(split).mean() for one in (name, other))
    return bool(np.isfinite(own) and not own >= theirs)


def _statistics(values: np.ndarray) -> dict[str, Any]:
    return {
        "final_mean": _number(values.mean()),
        "final_std": _number(values.std(ddof=1)) if len(values) > 1 else None,
        "final_of_each_seed": [_number(value) for value in values],
    }


def _number(value: float) -> float | None:
    """JSON has no NaN and no infinity: what diverged is null."""
    return float(value) if np.isfinite(value) else None
