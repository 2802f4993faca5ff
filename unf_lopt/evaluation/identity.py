"""What the numbers of a run depend on, as plain data that a digest is taken of."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

import unf_lopt
from unf_lopt import ecosystem
from unf_lopt._files import digest_of_code
from unf_lopt.evaluation.contestants import LEARNED, Contestant
from unf_lopt.evaluation.population import initial_problems
from unf_lopt.evaluation.protocol import Protocol

# Whose code makes the numbers, beside the tasks', which are told apart by their losses.
_OF_ALL = ("evaluation/baselines.py", "evaluation/population.py", "evaluation/scheduled.py")
_OF_LEARNED = ("layers", "optimizers", "symmetry")
_PACKAGES = ("jax", "jaxlib", "numpy", "optax")


def versions() -> dict[str, str]:
    """Of the packages that make the numbers."""
    return {
        "unf_lopt": unf_lopt.__version__,
        "learned_optimization": ecosystem.version(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def device() -> str:
    """What computes."""
    return f"{jax.devices()[0].device_kind} ({jax.default_backend()})"


def task_identity(task_family: Any, protocol: Protocol) -> dict[str, Any]:
    """What a task is: its name and data, and its loss on held-out parameters and batches.

    Two tasks of one name that differ in a size, an activation or a batch differ in it.

    Args:
      task_family: the task.
      protocol: whose seeds give the parameters and the batches.
    """
    family = protocol.fresh(task_family)
    problems = initial_problems(task_family, protocol)
    first = jax.tree.map(lambda leaf: leaf[0], problems)
    datasets = family.datasets
    batch = None if datasets is None else next(datasets.train)

    def losses(problem: Any) -> list[jax.Array]:
        task = family.task_fn(problem.config)
        moved = jax.tree.map(lambda leaf: (1.5 * leaf + 0.1).astype(leaf.dtype), problem.params)
        return [
            task.loss_with_state(params, problem.state, problem.key, batch)[0]
            for params in (problem.params, moved)  # at first a last layer may be zero
        ]

    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(batch)]
    shapes = [f"{leaf.shape} {leaf.dtype}" for leaf in jax.tree.leaves(first.params)]
    return {
        "name": task_family.name,
        "data": ecosystem.data_source(task_family.datasets),
        "shapes": shapes,
        # Digits that another number of cores, and so another order of sums, leaves as they are.
        "losses": [f"{float(loss):.3e}" for loss in jax.jit(losses)(first)],
        "batch": [f"{leaf.shape} {leaf.sum(dtype=np.float64):.6g}" for leaf in leaves],
    }


def run_key(
    task: dict[str, Any], contestant: Contestant, settings: Sequence[str], protocol: Protocol
) -> str:
    """All that the curves of some runs depend on, as JSON.

    Args:
      task: from :func:`task_identity`.
      contestant: whose runs.
      settings: those that run as one program, in order.
      protocol: seeds and steps.
    """
    code = (*_OF_ALL, *(_OF_LEARNED if contestant.kind == LEARNED else ()))
    said = {
        "task": task,
        "contestant": contestant.identity,
        "settings": list(settings),
        "protocol": dataclasses.asdict(protocol),
        "versions": versions(),
        "device": device(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "code": digest_of_code(code),
    }
    return json.dumps(said, sort_keys=True)
