"""Why there is no meta-gradient: which task, and which of its parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from unf_lopt import ecosystem
from unf_lopt._types import PyTree
from unf_lopt.symmetry import path_string


class TrainingError(RuntimeError):
    """Outer training cannot go on; the message says why and what to do."""


def why_not_finite(families: Sequence[Any], gradient: PyTree) -> str:
    """Says what is not finite: a task's loss or gradient at its start, or only later.

    Args:
      families: the task families that are trained on.
      gradient: the last meta-gradient, a tree like theta.
    """
    found = [text for family in families for text in _at_the_start(family)]
    if found:
        return " ".join(dict.fromkeys(found))
    theta = ", ".join(_not_finite(gradient)) or "the meta-loss"
    names = ", ".join(sorted({family.name for family in families}))
    return (
        f"The losses of {names} and their gradients are finite at the start of inner training, "
        f"but not after it: inner runs diverge (not finite: {theta}). Lower the optimizer's "
        "initial step size (step_options.initial_alpha), clip inner gradients "
        "(step_options.gradient_clip = 1.0) or shorten HORIZON."
    )


def _at_the_start(family: Any) -> Iterator[str]:
    """What is not finite of a task of the family, before the first inner step."""
    key = jax.random.PRNGKey(0)
    batch = ecosystem.batch_apart(family.datasets)
    task = family.task_fn(family.sample(key))
    params, state = task.init_with_state(key)
    (loss, _), grad = jax.value_and_grad(task.loss_with_state, has_aux=True)(
        params, state, key, batch
    )
    for what, paths in (
        ("initial parameters", _not_finite(params)),
        ("batch", _not_finite(batch)),
        ("gradient", _not_finite(grad)),
    ):
        if paths:
            yield f"The task {family.name} has numbers that are not finite in its {what}: " + (
                f"{', '.join(paths)}."
            )
    if not np.isfinite(loss):
        yield f"The loss of the task {family.name} is {float(loss)} before the first inner step."


def _not_finite(tree: PyTree) -> list[str]:
    return [
        path_string(path)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        if np.issubdtype(np.asarray(leaf).dtype, np.inexact) and not np.isfinite(leaf).all()
    ]
