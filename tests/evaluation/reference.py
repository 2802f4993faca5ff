"""Curves by the ecosystem's own loop, which those of the evaluation have to be equal to."""

from typing import Any

import numpy as np

from unf_lopt import ecosystem
from unf_lopt._types import PyTree
from unf_lopt.evaluation.curves import Curves
from unf_lopt.evaluation.protocol import Protocol


def learned_curves(task_family: Any, learned_opt: Any, theta: PyTree, protocol: Protocol) -> Curves:
    """Inner training with the ecosystem's `multi_task_training_curves`, all seeds at once.

    Args:
      task_family: what to train on.
      learned_opt: the `LearnedOptimizer`.
      theta: its parameters.
      protocol: seeds and steps.
    """
    found = ecosystem.multi_task_training_curves(
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
