"""The evaluation from end to end: tuning, reported runs, timing, report."""

from __future__ import annotations

import functools
import os
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import gin
import numpy as np

from unf_lopt import ecosystem
from unf_lopt._options import check_option
from unf_lopt.ecosystem.gin_decorator import configurable
from unf_lopt.evaluation.contestants import (
    Contestant,
    Trained,
    baselines_of,
    require_own_names,
)
from unf_lopt.evaluation.curves import Curves
from unf_lopt.evaluation.identity import run_key, task_identity
from unf_lopt.evaluation.outcome import Outcome, TaskOutcome
from unf_lopt.evaluation.population import Population
from unf_lopt.evaluation.progress import Reporter
from unf_lopt.evaluation.protocol import SPLITS, Protocol
from unf_lopt.evaluation.speed import Cost, costs
from unf_lopt.evaluation.store import Store

RUNS = "runs"  # the folder of finished runs, in that of the report
_TIMING = "timing of steps"


@configurable()
def evaluate(
    output_dir: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str] | None = None,
    compared: Sequence[Trained] = (),
    *,
    lopt: Any = None,
    thetas: Sequence[str] = (),
    task_family: Any = None,
    tasks: Sequence[Any] = (),
    horizon: int = 0,
    num_seeds: int = 10,
    num_tuning_seeds: int = 3,
    eval_every: int = 10,
    eval_batches: int = 2,
    seed: int = 0,
    target: str = "train",
    baselines: Sequence[str] = ("adam",),
    learning_rates: Sequence[float] | None = None,
    cache_dir: str | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Inner-trains learned and hand-designed optimizers on held-out seeds, and compares them.

    Settings are tried first, on seeds that are not reported, all of a contestant's as one program:
    the one with the lowest final training loss is what training losses are of, the one with the
    lowest final loss on the validation split what test losses are of, and speed is measured with
    the one for the target. These run on the reported
    seeds. All contestants get the same initial parameters and batches. The seeds are held out:
    initial parameters come from a key that outer training never uses, the batches from readers
    with an order of their own, and nothing of the test split is in a training batch.

    Every finished run is kept, under a digest of all that it depends on: an evaluation that was
    killed goes on, and another one with the same baselines does not run them again.

    Args:
      output_dir: where the report is written, each file whole or not at all; see
        :func:`unf_lopt.evaluation.report.write`.
      checkpoint: a theta file, or a run's folder for its newest; None for no such contestant.
      compared: further learned optimizers.
      lopt: the learned optimizer of the checkpoint; by default the one that it describes.
      thetas: further learned optimizers: files, folders of runs or names of shipped optimizers,
        each as ``"SOURCE"`` or ``"NAME=SOURCE"``.
      task_family: what to train on.
      tasks: several to train on, in its place: task families, or their names in gin.
      horizon: inner steps.
      num_seeds: inner runs of each optimizer that are reported.
      num_tuning_seeds: inner runs of each setting, to choose one.
      eval_every: inner steps between evaluations, a divisor of the horizon.
      eval_batches: batches of each split in an evaluation; four times as many in the last.
      seed: chooses the held-out seeds.
      target: whose loss is to be reached in few steps and little time: ``"train"`` or ``"test"``.
      baselines: names in :data:`unf_lopt.evaluation.baselines.BASELINES`.
      learning_rates: of Adam; by default the ecosystem's 15.
      cache_dir: where finished runs are kept; by default in `output_dir`.
      command: how the evaluation was started, for the report.

    Returns:
      What `results.json` has.

    Raises:
      FileNotFoundError: there is no checkpoint.
      ValueError: a checkpoint does not fit its optimizer or a task, two contestants or tasks have
        one name, there is no such baseline or task, or a number is out of range.
    """
    from unf_lopt.evaluation import report  # brings Matplotlib, which a config can do without

    started = time.perf_counter()
    check_option("evaluate.target", target, SPLITS)
    protocol = Protocol(num_seeds, horizon, eval_every, eval_batches, seed=seed)
    tuning = protocol.tuning(num_tuning_seeds)
    hand_designed = baselines_of(baselines, learning_rates)
    learned = [] if checkpoint is None else [Trained.load(checkpoint, lopt=lopt)]
    learned += [*compared, *(Trained.named(theta) for theta in thetas)]
    contestants = [*(trained.contestant() for trained in learned), *hand_designed]
    require_own_names(contestants)
    families = _families(task_family, tasks)
    store = Store(pathlib.Path(cache_dir or pathlib.Path(output_dir, RUNS)))
    outcome = Outcome({}, command, gin.config_str())
    for name, family in families.items():  # what does not fit a task is told before anything runs
        bound = [own.on(family) for own in contestants]
        outcome.tasks[name] = TaskOutcome(family, protocol, bound, target=target)
    with Reporter(_parts(contestants, len(families))) as reporter:
        for found in outcome.tasks.values():
            _Runner(found, tuning, store, reporter).run()
    outcome.seconds = time.perf_counter() - started
    return report.write(outcome, pathlib.Path(output_dir))


def _parts(contestants: Sequence[Contestant], tasks: int) -> dict[str, int]:
    """How many parts there will be of each kind, for the time left."""
    names = [f"{own.name}, tuning" for own in contestants if own.is_tuned]
    names += [f"{own.name}, reported runs" for own in contestants]
    return dict.fromkeys([*names, _TIMING], tasks)


class _Runner:
    """All runs of one task: those that are kept are read."""

    def __init__(self, outcome: TaskOutcome, tuning: Protocol, store: Store, reporter: Reporter):
        self._outcome, self._tuning = outcome, tuning
        self._store, self._reporter = store, reporter
        self._identity = task_identity(outcome.task_family, outcome.protocol)
        self._populations: dict[str, Population] = {}

    def run(self) -> None:
        outcome = self._outcome
        for own in outcome.contestants:
            if own.is_tuned:
                curves = self._curves(own, "tuning", [tuple(own.settings)])
                outcome.sweeps[own.name] = dict(zip(own.settings, curves, strict=True))
            chosen = outcome.chosen(own.name)
            curves = self._curves(own, "reported runs", [(setting,) for setting in chosen])
            for setting, found in zip(chosen, curves, strict=True):
                outcome.curves[own.name, setting] = found
        outcome.costs.update(self._costs())
        self._populations.clear()

    def _curves(
        self, contestant: Contestant, purpose: str, programs: Sequence[tuple[str, ...]]
    ) -> list[Curves]:
        """The curves of settings, of which those of one program run together."""
        protocol = self._tuning if purpose == "tuning" else self._outcome.protocol
        keys = [run_key(self._identity, contestant, own, protocol) for own in programs]
        name = f"{self._name} {contestant.name} {purpose}"
        kept = all(self._store.has(name, key) for key in keys)
        kind = f"{contestant.name}, {purpose}"
        found: list[Curves] = []
        with self._reporter.part(kind, f"{self._name}: {kind}", kept=kept) as advance:
            for number, (settings, key) in enumerate(zip(programs, keys, strict=True)):

                def on_step(step: int, before: int = number) -> None:
                    advance((before + step / protocol.horizon) / len(programs))

                make = functools.partial(self._run, contestant, settings, protocol, on_step)
                found += self._store.curves(name, key, settings, make)
        return found

    def _run(
        self,
        contestant: Contestant,
        settings: tuple[str, ...],
        protocol: Protocol,
        on_step: Callable[[int], None],
    ) -> list[Curves]:
        thetas = contestant.thetas(settings)
        return self._population(contestant, protocol).curves(thetas, on_step)

    def _population(self, contestant: Contestant, protocol: Protocol) -> Population:
        """Reported runs and timing share one, and so its compiled programs."""
        make = functools.partial(
            Population, self._outcome.task_family, contestant.learned_opt, protocol
        )
        if protocol is self._tuning:
            return make()
        if contestant.name not in self._populations:
            self._populations[contestant.name] = make()
        return self._populations[contestant.name]

    def _costs(self) -> dict[str, Cost]:
        """Of an inner step of every contestant, measured by turns."""
        outcome = self._outcome
        own = {one.name: (one, outcome.setting(one.name)) for one in outcome.contestants}
        keys = [
            run_key(self._identity, one, [setting], outcome.protocol)
            for one, setting in own.values()
        ]
        key, name = "\n".join(keys), f"{self._name} {_TIMING}"

        def make() -> dict[str, np.ndarray]:
            measured = costs(
                {
                    name: (self._population(one, outcome.protocol), one.thetas([setting]))
                    for name, (one, setting) in own.items()
                },
                outcome.protocol,
            )
            return {"costs": np.array([tuple(cost) for cost in measured.values()], np.float64)}

        kept = self._store.has(name, key)
        with self._reporter.part(_TIMING, f"{self._name}: {_TIMING}", kept=kept):
            rows = self._store.numbers(name, key, make)["costs"]
        return {
            name: Cost(float(seconds), int(state), None if np.isnan(temporary) else int(temporary))
            for name, (seconds, state, temporary) in zip(own, rows, strict=True)
        }

    @property
    def _name(self) -> str:
        return self._outcome.task_family.name


def _families(task_family: Any, tasks: Sequence[Any]) -> dict[str, Any]:
    """The task families by name.

    Raises:
      ValueError: there are none, one is no task, or two have one name.
    """
    if isinstance(tasks, str) or not isinstance(tasks, Sequence):
        tasks = [tasks]
    given = list(tasks) or [task_family]
    families = [ecosystem.named_task_family(own) if isinstance(own, str) else own for own in given]
    found: dict[str, Any] = {}
    for own in families:
        if isinstance(own, ecosystem.Task):
            own = ecosystem.single_task_to_family(own)
        if not isinstance(own, ecosystem.TaskFamily):
            raise ValueError(
                f"evaluate(tasks=...): {own!r} is no task. Give task families, such as "
                "@digits_mlp_family(), names of them in quotes, or @held_out() for the suite."
            )
        if own.name in found:
            raise ValueError(f"evaluate(tasks=...): two tasks are called {own.name!r}.")
        found[own.name] = own
    return found
