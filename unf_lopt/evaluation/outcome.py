"""What an evaluation found, before it is written down."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np

from unf_lopt import ecosystem
from unf_lopt.evaluation.curves import Curves
from unf_lopt.evaluation.protocol import Protocol, positioned
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
      curves: of each of them, by name.
      adam: Adam's curves by learning rate.
      seconds_per_step: wall-clock time of an inner step of all seeds, by name.
      stage_seconds: how long each stage of the evaluation took, compilation included.

    Raises:
      ValueError: at construction, if two optimizers have one name.
    """

    task_family: Any
    protocol: Protocol
    learned: list[Trained]
    curves: dict[str, Curves] = dataclasses.field(default_factory=dict)
    adam: dict[float, Curves] = dataclasses.field(default_factory=dict)
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
    def best_rate(self) -> float:
        """Adam's learning rate with the lowest final training loss, mean over the seeds."""

        def loss(rate: float) -> float:
            mean = self.adam[rate].final("train").mean()
            return mean if np.isfinite(mean) else np.inf

        return min(self.adam, key=loss)

    @property
    def best_adam(self) -> str:
        """The name of Adam at the best rate."""
        return adam_name(self.best_rate)

    def all_curves(self) -> dict[str, Curves]:
        """Learned optimizers, then Adam by rising rate."""
        return {
            **self.curves,
            **{adam_name(rate): self.adam[rate] for rate in sorted(self.adam)},
        }

    def paired(self) -> bool:
        """Whether all optimizers began at the same loss, as same parameters and batches give."""
        starts = [curves.loss["train"][:, 0] for curves in self.all_curves().values()]
        return positioned(self.task_family) and all(
            np.allclose(start, starts[0], rtol=1e-4) for start in starts
        )


def adam_name(rate: float) -> str:
    """What results call Adam at a learning rate."""
    return f"adam_lr{rate:g}"
