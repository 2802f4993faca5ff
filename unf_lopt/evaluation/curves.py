"""Loss over inner training, for each seed."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from unf_lopt import ecosystem
from unf_lopt._types import PyTree
from unf_lopt.evaluation.protocol import Protocol

# It registers a name with gin, so it has to be loaded before the configuration is locked.
_training_curves = ecosystem.multi_task_training_curves


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


def learned_curves(task_family: Any, learned_opt: Any, theta: PyTree, protocol: Protocol) -> Curves:
    """Inner training with the ecosystem's `multi_task_training_curves`, all seeds at once.

    Args:
      task_family: what to train on.
      learned_opt: the `LearnedOptimizer`.
      theta: its parameters.
      protocol: seeds and steps.
    """
    found = _training_curves(
        protocol.fresh(task_family),
        learned_opt,
        theta,
        n_tasks=protocol.num_seeds,
        key=protocol.key,
        n_devices=1,  # the release cannot share out a number of seeds that is no multiple
        n_eval_batches_vec=protocol.eval_batches,
        last_eval_batches=protocol.final_passes,
        eval_every=protocol.eval_every,
        steps_per_jit=protocol.eval_every,
        steps=protocol.horizon,
        splits=protocol.splits,
    )
    loss = {split: np.asarray(found[f"eval/{split}/loss"], np.float64) for split in protocol.splits}
    return Curves(np.asarray(protocol.steps), loss)
