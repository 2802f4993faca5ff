"""What an evaluation found, before it is written down."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np

from unf_lopt import ecosystem
from unf_lopt.evaluation.curves import Curves
from unf_lopt.evaluation.protocol import TUNING_SPLITS, Protocol, positioned
from unf_lopt.optimizers import optimizer_name, read_theta

PyTree = Any


@dataclasses.dataclass(frozen=True)
class Trained:
    """A learned optimizer with the theta of a checkpoint.

    Attributes:
      name: what the report calls it.
      lopt: the `LearnedOptimizer`.
      theta: its parameters.
      outer_steps: how many outer steps made them.
      checkpoint: the file they are from.
    """

    name: str
    lopt: Any
    theta: PyTree
    outer_steps: int
    checkpoint: str

    @classmethod
    def load(
        cls, source: str | os.PathLike[str], name: str | None = None, lopt: Any = None
    ) -> Trained:
        """Reads a theta.

        Args:
          source: a theta file, or a run's folder for its newest.
          name: by default the optimizer's own.
          lopt: the ecosystem's `LearnedOptimizer` that it belongs to; by default the one that the
            file describes.

        Raises:
          FileNotFoundError: there is no such file.
          ValueError: it is damaged, was written for another optimizer or another weight space, or
            does not say its optimizer and none is given.
        """
        saved = read_theta(source)
        if lopt is None:
            lopt = ecosystem.learned_optimizer(saved.make_optimizer())
        theta = saved.for_optimizer(lopt)
        return cls(name or optimizer_name(lopt), lopt, theta, saved.outer_steps, str(saved.path))

    def on(self, task_family: Any) -> Trained:
        """The same for a task: a theta for every weight space is bound to that of the task.

        One that is for a single weight space is bound to that already; one whose spec was written
        by hand is left as it is.
        """
        if not isinstance(self.lopt, ecosystem.TransformationLearnedOptimizer):
            return self
        spec = self.lopt.spec
        if self.lopt.theta_spec is not None or (spec is not None and spec.provenance is None):
            return self
        return dataclasses.replace(self, lopt=self.lopt.bind(task_family))


@dataclasses.dataclass
class Outcome:
    """What was run, and what came of it.

    Attributes:
      task_family: what was trained on.
      protocol: seeds and steps.
      learned: the learned optimizers; the first is the one that the report is about.
      curves: by name, of the learned optimizers and of the baselines' chosen settings.
      sweeps: curves of each baseline by name and learning rate, on the seeds that settings are
        chosen on; the first is the main one.
      seconds_per_step: wall-clock time of an inner step of all seeds, by name.
      stage_seconds: how long each stage of the evaluation took, compilation included.

    Raises:
      ValueError: at construction, if two optimizers have one name.
    """

    task_family: Any
    protocol: Protocol
    learned: list[Trained]
    curves: dict[str, Curves] = dataclasses.field(default_factory=dict)
    sweeps: dict[str, dict[float, Curves]] = dataclasses.field(default_factory=dict)
    seconds_per_step: dict[str, float] = dataclasses.field(default_factory=dict)
    stage_seconds: dict[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [trained.name for trained in self.learned]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"two optimizers of one report are called {twice[0]!r}; give the second a name of "
                "its own: --compare=NAME=FOLDER."
            )

    @property
    def main_baseline(self) -> str:
        """The baseline that the table's speed-ups are relative to: the first named."""
        return next(iter(self.sweeps))

    def best_rate(self, baseline: str, split: str = "train") -> float:
        """A baseline's learning rate with the lowest final loss, mean over the tuning seeds.

        Args:
          baseline: its name.
          split: whose loss: ``"train"`` for speed-ups, ``"inner_valid"`` for test losses.
        """
        curves = self.sweeps[baseline]

        def loss(rate: float) -> float:
            mean = curves[rate].final(split).mean()
            return mean if np.isfinite(mean) else np.inf

        return min(curves, key=loss)

    def chosen_rates(self, baseline: str) -> list[float]:
        """The rates of a baseline that are run on the reported seeds: one or two."""
        best = [self.best_rate(baseline, split) for split in TUNING_SPLITS]
        return list(dict.fromkeys(best))

    def best(self, baseline: str) -> Curves:
        """The curves of a baseline at its best rate, on the reported seeds."""
        return self.curves[self.best_name(baseline)]

    def best_name(self, baseline: str, split: str = "train") -> str:
        """What results call a baseline at its best rate, as :meth:`best_rate` has it."""
        return setting_name(baseline, self.best_rate(baseline, split))

    def grid_edge(self, baseline: str, split: str = "train") -> str | None:
        """Where the best rate has nothing on one side: "lowest", "highest", "only"; or None."""
        rates, best = sorted(self.sweeps[baseline]), self.best_rate(baseline, split)
        if len(rates) == 1:
            return "only"
        return {rates[0]: "lowest", rates[-1]: "highest"}.get(best)

    def paired(self) -> bool:
        """Whether all optimizers began at the same loss, as same parameters and batches give."""
        starts = [curves.loss["train"][:, 0] for curves in self.curves.values()]
        return positioned(self.task_family) and all(
            np.allclose(start, starts[0], rtol=1e-4) for start in starts
        )


def setting_name(baseline: str, rate: float) -> str:
    """What results call a baseline at a learning rate."""
    return f"{baseline}_lr{rate:g}"
