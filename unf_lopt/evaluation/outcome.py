"""What an evaluation found, before it is written down."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float

from unf_lopt.evaluation.contestants import HAND_DESIGNED, LEARNED, Contestant
from unf_lopt.evaluation.curves import Curves
from unf_lopt.evaluation.protocol import TUNING_SPLITS, Protocol, positioned
from unf_lopt.evaluation.speed import Cost, scores

TRAIN, VALID = TUNING_SPLITS
# On whose loss settings are chosen, by the split whose loss is reported.
TUNED_FOR = {"train": TRAIN, "test": VALID}


@dataclasses.dataclass
class TaskOutcome:
    """What came of all contestants on one task.

    Attributes:
      task_family: what was trained on.
      protocol: seeds and steps.
      contestants: all, bound to the task.
      sweeps: curves of every setting by contestant, on the seeds that settings are chosen on; of
        those that have more than one.
      curves: by contestant and chosen setting, on the reported seeds.
      costs: what an inner step costs, by contestant, at the setting for the target.
      target: the split whose loss is to be reached soon, ``"train"`` or ``"test"``.
    """

    task_family: Any
    protocol: Protocol
    contestants: list[Contestant]
    sweeps: dict[str, dict[str, Curves]] = dataclasses.field(default_factory=dict)
    curves: dict[tuple[str, str], Curves] = dataclasses.field(default_factory=dict)
    costs: dict[str, Cost] = dataclasses.field(default_factory=dict)
    target: str = "train"

    def setting(self, contestant: str, reported: str | None = None) -> str:
        """A contestant's setting with the lowest final loss, mean over the tuning seeds.

        Args:
          contestant: its name.
          reported: the split whose loss is reported, by default the target; for test losses the
            setting is chosen on the validation split.
        """
        sweep, split = self.sweeps.get(contestant), TUNED_FOR[reported or self.target]
        return "" if sweep is None else min(sweep, key=lambda name: _final(sweep[name], split))

    def chosen(self, contestant: str) -> list[str]:
        """The settings that are run on the reported seeds: one or two."""
        return list(dict.fromkeys(self.setting(contestant, split) for split in TUNED_FOR))

    def of(self, contestant: str, reported: str | None = None) -> Curves:
        """The curves of a contestant as it was tuned, see :meth:`setting`, on reported seeds."""
        return self.curves[contestant, self.setting(contestant, reported)]

    @property
    def reference(self) -> str:
        """The best tuned baseline: that whose setting has the lowest loss on the tuning seeds."""
        baselines = [own.name for own in self.contestants if own.kind == HAND_DESIGNED]
        split = TUNED_FOR[self.target]
        return min(baselines, key=lambda name: _final(self.sweeps[name][self.setting(name)], split))

    def paired(self) -> bool:
        """Whether all optimizers began at the same loss, as same parameters and batches give."""
        starts = [curves.loss["train"][:, 0] for curves in self.curves.values()]
        return positioned(self.task_family) and all(
            np.allclose(start, starts[0], rtol=1e-4) for start in starts
        )

    def scores(self, contestant: str, other: str) -> Float[np.ndarray, " seeds"]:
        """Each seed's speed-up in steps to the other's final loss."""
        own, theirs = self.of(contestant), self.of(other)
        return scores(own.steps, own.loss[self.target], theirs.loss[self.target])

    def diverged(self, contestant: str) -> int:
        """Runs whose training loss at the end is not finite, or higher than at the start."""
        losses = self.of(contestant).loss["train"]
        return int(np.sum(~(losses[:, -1] <= losses[:, 0])))


@dataclasses.dataclass
class Outcome:
    """What came of an evaluation.

    Attributes:
      tasks: by their names.
      command: how it was started, for running it again.
      configuration: the gin configuration.
      seconds: how long it took, what was read from earlier evaluations apart.
    """

    tasks: dict[str, TaskOutcome]
    command: str = ""
    configuration: str = ""
    seconds: float = 0.0

    @property
    def contestants(self) -> list[Contestant]:
        """All that took part."""
        return self._any_task.contestants

    @property
    def protocol(self) -> Protocol:
        """Seeds and steps."""
        return self._any_task.protocol

    @property
    def target(self) -> str:
        """The split whose loss is to be reached soon."""
        return self._any_task.target

    @property
    def baselines(self) -> list[Contestant]:
        """The hand-designed ones."""
        return [own for own in self.contestants if own.kind == HAND_DESIGNED]

    @property
    def main(self) -> Contestant:
        """What the report is about: the first learned optimizer, or the first of all."""
        learned = [own for own in self.contestants if own.kind == LEARNED]
        return (learned or self.contestants)[0]

    @property
    def _any_task(self) -> TaskOutcome:
        """One of the tasks, which have all but themselves in common."""
        return next(iter(self.tasks.values()))


def _final(curves: Curves, split: str) -> float:
    """The final loss, mean over seeds; one that diverged is last."""
    mean = curves.final(split).mean()
    return float(mean) if np.isfinite(mean) else np.inf
