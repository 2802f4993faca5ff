"""Loss over inner training, for each seed."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Curves:
    """Losses of one optimizer's inner runs.

    Attributes:
      steps: inner steps taken at each evaluation, [evaluations].
      loss: for each split that was evaluated, [seeds, evaluations], float64.
    """

    steps: np.ndarray
    loss: dict[str, np.ndarray]

    def final(self, split: str) -> np.ndarray:
        """Each seed's loss after the last step, [seeds]."""
        return self.loss[split][:, -1]

    def mean(self, split: str) -> np.ndarray:
        """The mean over the seeds, [evaluations]."""
        return self.loss[split].mean(axis=0)
