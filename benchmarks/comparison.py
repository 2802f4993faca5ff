"""Meta-trains the optimizers on the offline tasks under one protocol, and compares them.

The protocol is in ``docs/comparison.md``. Every run is one of ``python -m unf_lopt.train``, every
evaluation one of ``python -m unf_lopt.evaluate``, in a folder of its own; what was killed goes on
where it was when the command is given again.

    python benchmarks/comparison.py digits_mlp digits_cnn docs_rnn docs_transformer

Writes ``comparison.json`` and prints, for every task, the rates that were tried, the losses and the
paired differences.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import math
import os
import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
import scipy.stats
from rich.console import Console
from rich.table import Table

from unf_lopt.evaluation.protocol import SPLITS
from unf_lopt.runs import METRICS, theta_file, write_whole

OPTIMIZERS = ("unf", "deep_sets", "learned_sgdm")
OUTER_LEARNING_RATES = (1e-3, 3e-3, 1e-2)
OUTER_SEEDS = (0, 1, 2)  # the first one chooses the rate
INNER_SEEDS = 10
CONFIDENCE = 0.95
Losses = list[list[float]]  # of the outer seeds, each of the inner seeds
# What is other than in the task's small config.
SCALES: dict[str, dict[str, int]] = {
    "digits_mlp": {"OUTER_STEPS": 200},
    "digits_cnn": {"OUTER_STEPS": 200, "HORIZON": 200, "NUM_TASKS": 2, "TRUNC_LENGTH": 20},
    "docs_rnn": {"OUTER_STEPS": 120, "HORIZON": 200, "NUM_TASKS": 2, "TRUNC_LENGTH": 10},
    "docs_transformer": {"OUTER_STEPS": 80, "HORIZON": 200, "NUM_TASKS": 2, "TRUNC_LENGTH": 10},
}


class Comparison:
    """All runs of one task.

    Args:
      task: a name in ``SCALES``.
      folder: of all runs.
      scale: macros of gin, by name, that are other than in ``SCALES``.
    """

    def __init__(self, task: str, folder: pathlib.Path, scale: dict[str, int]):
        self.task, self._folder = task, folder / task
        self._macros = SCALES[task] | scale
        if "TRUNC_LENGTH" in self._macros:
            self._macros["STEPS_PER_JIT"] = self._macros["TRUNC_LENGTH"]
        # One program for all rates and seeds.
        cache = {"JAX_COMPILATION_CACHE_DIR": str(folder.absolute() / "compiled")}
        self._environment = cache | os.environ

    def run(self) -> dict[str, Any]:
        """Trains and evaluates what is not there yet.

        Returns:
          The figures of the task.
        """
        tried, chosen = {}, {}
        for optimizer in OPTIMIZERS:
            tried[optimizer] = {
                rate: self._train(optimizer, rate, OUTER_SEEDS[0]) for rate in OUTER_LEARNING_RATES
            }
            rate = min(OUTER_LEARNING_RATES, key=lambda rate: tried[optimizer][rate]["meta_loss"])
            chosen[optimizer] = rate
        for seed, optimizer in itertools.product(OUTER_SEEDS, OPTIMIZERS):
            self._train(optimizer, chosen[optimizer], seed)
        evaluation = self._evaluate(chosen)
        adam = evaluation["contestants"]["adam"]
        losses = {
            f"final {split} loss": {name: _finals(evaluation, name, split) for name in OPTIMIZERS}
            for split in SPLITS
        }
        losses["train loss, mean over the run"] = self._means_over_the_run()
        return {
            "macros": self._macros,
            "tried": tried,
            "chosen": chosen,
            "losses": losses,
            "best_adam": {
                "learning_rate": float(adam["setting"]),
                **{split: adam[split] for split in SPLITS},
            },
            "differences": {
                measure: {
                    f"{one} - {other}": paired_difference(own[one], own[other])
                    for one, other in itertools.combinations(OPTIMIZERS, 2)
                }
                for measure, own in losses.items()
            },
            "timing": evaluation["seconds_per_step"],
        }

    def _train(self, optimizer: str, rate: float, seed: int) -> dict[str, float]:
        """Meta-trains one optimizer; returns the mean of its last quarter and its time."""
        folder, steps = self._run_folder(optimizer, rate, seed), self._macros["OUTER_STEPS"]
        bindings = {
            **self._macros,
            "LOPT": f"@{optimizer}()",
            "OUTER_LEARNING_RATE": rate,
            "train.seed": seed,
        }
        if not _is_done(folder, steps):
            self._command(
                "unf_lopt.train",
                f"--config_file={self.task}.gin",
                "--config_file=small.gin",
                f"--train_log_dir={folder}",
                *(f"--gin_bindings={name}={value}" for name, value in bindings.items()),
            )
        with open(folder / METRICS, newline="") as file:
            rows = list(csv.DictReader(file))
        losses = [float(row["meta_loss"]) for row in rows[-(steps // 4) :]]
        mean = float(np.mean(losses))
        return {
            "meta_loss": mean if math.isfinite(mean) else math.inf,
            "skipped": int(rows[-1]["skipped"]),
            "seconds": float(rows[-1]["seconds"]),
        }

    def _evaluate(self, chosen: dict[str, float]) -> dict[str, Any]:
        """All chosen runs beside Adam on the same held-out seeds."""
        output = self._folder / "evaluation"
        runs = {
            _name(optimizer, seed): self._run_folder(optimizer, chosen[optimizer], seed)
            for optimizer, seed in itertools.product(OPTIMIZERS, OUTER_SEEDS)
        }
        if not _is_evaluated(output / "results.json", runs):
            first = next(iter(runs))
            self._command(
                "unf_lopt.evaluate",
                f"--train_log_dir={runs[first]}",
                f"--output_dir={output}",
                f"--gin_bindings=evaluate.num_seeds={INNER_SEEDS}",
                *(f"--compare={name}={run}" for name, run in runs.items() if name != first),
            )
        found = json.loads((output / "results.json").read_text())
        ((task, own),) = found["tasks"].items()
        timing = found["timing"]["tasks"][task]
        seconds = {name: cost["seconds_per_step"] for name, cost in timing.items()}
        return {"contestants": own["contestants"], "seconds_per_step": seconds}

    def _means_over_the_run(self) -> dict[str, Losses]:
        """The mean of every inner run's training losses: what outer training lowers."""
        found: dict[tuple[str, str], list[float]] = {}
        with open(self._folder / "evaluation" / "curves.csv", newline="") as file:
            for row in csv.DictReader(file):
                if row["split"] == "train" and row["seeds"] == "reported":
                    own = found.setdefault((row["optimizer"], row["seed"]), [])
                    own.append(float(row["loss"]))
        seeds = [str(seed) for seed in range(INNER_SEEDS)]
        return {
            optimizer: [
                [float(np.mean(found[_name(optimizer, outer), inner])) for inner in seeds]
                for outer in OUTER_SEEDS
            ]
            for optimizer in OPTIMIZERS
        }

    def _run_folder(self, optimizer: str, rate: float, seed: int) -> pathlib.Path:
        return self._folder / f"{optimizer}_rate{rate:g}_seed{seed}"

    def _command(self, module: str, *arguments: str) -> None:
        print(f"python -m {module} {' '.join(arguments)}", flush=True)
        subprocess.run(
            [sys.executable, "-m", module, *arguments], env=self._environment, check=True
        )


def paired_difference(ones: Losses, others: Losses) -> dict[str, float] | None:
    """Mean of the differences of losses, with an interval over the outer seeds.

    Args:
      ones: of one optimizer.
      others: of the one that is subtracted.

    Returns:
      The mean and Student's interval of the outer seeds' differences, each the mean over the inner
      seeds, which both optimizers share; None where an inner run of either diverged.
    """
    if not np.all(np.isfinite([ones, others])):
        return None
    differences = (np.array(ones) - np.array(others)).mean(axis=1)
    low, high = scipy.stats.ttest_1samp(differences, 0).confidence_interval(CONFIDENCE)
    return {"mean": float(differences.mean()), "low": float(low), "high": float(high)}


def _finals(evaluation: dict[str, Any], optimizer: str, split: str) -> Losses:
    """Losses after the last inner step; infinite where an inner run diverged."""
    entries = [evaluation["contestants"][_name(optimizer, seed)][split] for seed in OUTER_SEEDS]
    return [[math.inf if x is None else x for x in own["final_of_each_seed"]] for own in entries]


def _name(optimizer: str, seed: int) -> str:
    return optimizer if seed == OUTER_SEEDS[0] else f"{optimizer}_seed{seed}"


def _is_done(folder: pathlib.Path, steps: int) -> bool:
    try:
        return theta_file(folder).name == f"params_{steps}"
    except FileNotFoundError:
        return False


def _without_infinities(x: Any) -> Any:
    """The same with None for numbers that JSON does not have: losses of runs that diverged."""
    if isinstance(x, dict):
        return {key: _without_infinities(value) for key, value in x.items()}
    if isinstance(x, list):
        return [_without_infinities(value) for value in x]
    return None if isinstance(x, float) and not math.isfinite(x) else x


def _is_evaluated(results: pathlib.Path, runs: dict[str, pathlib.Path]) -> bool:
    """Whether there are results as they are now written, of these runs' newest checkpoints."""
    if not results.exists():
        return False
    found = json.loads(results.read_text())
    contestants = found.get("contestants", {})
    return all(
        contestants.get(name, {}).get("checkpoint") == str(theta_file(run))
        for name, run in runs.items()
    )


def show(task: str, figures: dict[str, Any]) -> None:
    """Prints the tables of one task."""
    losses = figures["losses"]
    table = Table("optimizer", *(f"rate {rate:g}" for rate in OUTER_LEARNING_RATES), title=task)
    for measure in losses:
        table.add_column(f"{measure}, outer seeds {', '.join(map(str, OUTER_SEEDS))}")
    for name in OPTIMIZERS:
        tried = [f"{own['meta_loss']:.4g}" for own in figures["tried"][name].values()]
        means = [np.mean(own[name], axis=1) for own in losses.values()]
        table.add_row(name, *tried, *(" ".join(f"{x:.4g}" for x in own) for own in means))
    adam = figures["best_adam"]
    finals = [f"{adam[split]['final_mean']:.4g}" for split in SPLITS]
    table.add_row(f"best Adam ({adam['learning_rate']:g})", *[""] * len(tried), *finals)
    Console(width=160).print(table)
    for measure, own in figures["differences"].items():
        for pair, found in own.items():
            shown = "none: an inner run diverged"
            if found:
                shown = f"{found['mean']:.4g} ({found['low']:.4g} to {found['high']:.4g})"
            print(f"  {measure}  {pair}: {shown}")


def main() -> None:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", help=f"of {', '.join(SCALES)}; all by default")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs/comparison"))
    parser.add_argument("--outer_steps", type=int, help="in place of the protocol's")
    args = parser.parse_args()
    unknown = sorted(set(args.tasks) - SCALES.keys())
    if unknown:
        parser.error(f"no such task: {', '.join(unknown)}; there are {', '.join(SCALES)}")
    scale = {} if args.outer_steps is None else {"OUTER_STEPS": args.outer_steps}
    for task in args.tasks or SCALES:
        figures = Comparison(task, args.folder, scale).run()
        show(task, figures)
        text = json.dumps(_without_infinities(figures), indent=2, allow_nan=False).encode()
        write_whole(args.folder / task / "comparison.json", text)


if __name__ == "__main__":
    main()
