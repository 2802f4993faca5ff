"""Loss over inner training, for each seed."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Float64, Int


@dataclasses.dataclass(frozen=True)
class Curves:
    """Losses of one optimizer's inner runs.

    Attributes:
      steps: inner steps taken at each evaluation.
      loss: for each split that was evaluated.
    """

    steps: Int[np.ndarray, " evaluations"]
    loss: dict[str, Float64[np.ndarray, "seeds evaluations"]]

    def final(self, split: str) -> Float[np.ndarray, " seeds"]:
        """Each seed's loss after the last step."""
        return self.loss[split][:, -1]

    def mean(self, split: str) -> Float[np.ndarray, " evaluations"]:
        """The mean over the seeds."""
        return self.loss[split].mean(axis=0)
