"""The evaluation from end to end: inner training, baselines, timing, report."""

from __future__ import annotations

import contextlib
import os
import pathlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

from unf_lopt.ecosystem.gin_decorator import REQUIRED, configurable
from unf_lopt.evaluation.baselines import BASELINES, baseline_curves, grids
from unf_lopt.evaluation.curves import learned_curves
from unf_lopt.evaluation.outcome import Outcome, Trained, setting_name
from unf_lopt.evaluation.protocol import Protocol
from unf_lopt.evaluation.speed import seconds_per_step


@configurable()
def evaluate(
    output_dir: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str],
    compared: Sequence[Trained] = (),
    *,
    lopt: Any = None,
    task_family: Any = REQUIRED,
    horizon: int = REQUIRED,
    num_seeds: int = 5,
    num_tuning_seeds: int = 3,
    eval_every: int = 10,
    eval_batches: int = 2,
    seed: int = 0,
    baselines: Sequence[str] = ("adam",),
    learning_rates: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Inner-trains a learned optimizer and baselines on held-out seeds, and compares them.

    A baseline's learning rates are tried first, on seeds that are not reported, all of them as one
    program: the one with the lowest final training loss is what speed-ups are against, the one
    with the lowest final loss on the validation split what test losses are against. These settings
    and the learned optimizers then run on the reported seeds, the learned ones through the
    ecosystem's `multi_task_training_curves`. All get the same initial parameters and batches. The
    seeds are held out: initial parameters come from a key that outer training never uses, the
    batches from readers with an order of their own, and nothing of the test split is in a
    training batch.

    Args:
      output_dir: where `results.json`, `curves.csv`, `curves.png` and `report.md` are written,
        each whole or not at all.
      checkpoint: a theta file, or a run's folder for its newest.
      compared: further learned optimizers.
      lopt: the learned optimizer of the checkpoint; by default the one that it describes.
      task_family: what to train on.
      horizon: inner steps.
      num_seeds: inner runs of each optimizer that are reported.
      num_tuning_seeds: inner runs of each setting of a baseline, to choose one.
      eval_every: inner steps between evaluations, a divisor of the horizon.
      eval_batches: batches of each split in an evaluation; four times as many in the last.
      seed: chooses the held-out seeds.
      baselines: names in :data:`unf_lopt.evaluation.baselines.BASELINES`; the table's speed-ups are
        relative to the first.
      learning_rates: of Adam; by default the ecosystem's 15.

    Returns:
      What `results.json` has.

    Raises:
      FileNotFoundError: there is no checkpoint.
      ValueError: the checkpoint does not fit the optimizer, two optimizers have one name, there is
        no such baseline, or a number is out of range.
    """
    from unf_lopt.evaluation import report  # brings Matplotlib, which a config can do without

    protocol = Protocol(num_seeds, horizon, eval_every, eval_batches, seed=seed)
    rates = grids(baselines, learning_rates)
    tuning = protocol.tuning(num_tuning_seeds)
    learned = [Trained.load(checkpoint, lopt=lopt), *compared]
    outcome = Outcome(task_family, protocol, [trained.on(task_family) for trained in learned])
    runs = f"{num_seeds} seeds, {horizon} inner steps"
    for trained in outcome.learned:
        with _stage(outcome, trained.name, runs):
            outcome.curves[trained.name] = learned_curves(
                task_family, trained.lopt, trained.theta, protocol
            )
    for name, grid in rates.items():
        title, seeds = BASELINES[name].title, f"{num_tuning_seeds} seeds that are not reported"
        with _stage(outcome, f"{title} at {len(grid)} learning rates", seeds):
            found = baseline_curves(task_family, name, grid, tuning)
            outcome.sweeps[name] = dict(zip(grid, found, strict=True))
        chosen = outcome.chosen_rates(name)
        with _stage(outcome, f"{title} as chosen (lr {', '.join(f'{r:g}' for r in chosen)})", runs):
            found = baseline_curves(task_family, name, chosen, protocol)
            names = (setting_name(name, rate) for rate in chosen)
            outcome.curves.update(zip(names, found, strict=True))
    with _stage(outcome, "timing", "an inner step of each"):
        optimizers = {trained.name: (trained.lopt, trained.theta) for trained in outcome.learned}
        for name in outcome.sweeps:
            best = BASELINES[name].at_rate(), outcome.best_rate(name)
            optimizers[outcome.best_name(name)] = best
        outcome.seconds_per_step.update(seconds_per_step(task_family, optimizers, protocol))
    return report.write(outcome, pathlib.Path(output_dir))


@contextlib.contextmanager
def _stage(outcome: Outcome, name: str, what: str) -> Iterator[None]:
    print(f"{name}: {what} …", flush=True)
    started = time.perf_counter()
    yield
    outcome.stage_seconds[name] = time.perf_counter() - started
