"""What outer training lowers: a function of the losses of an inner run."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from unf_lopt import ecosystem
from unf_lopt._options import check_option
from unf_lopt.ecosystem.gin_decorator import REQUIRED, configurable

# Added to a loss under the logarithm, unless another offset is chosen.
LOG_OFFSET = 1e-3
# A loss is bounded by its own start, so that a run that diverges cannot drown the others.
_LARGEST_RATIO = 3.0
KINDS = ("mean", "log")
SPLITS = ("train", "inner_valid")


@dataclasses.dataclass(frozen=True)
class Objective:
    """The meta-loss of an inner run of T steps: the mean over its counted steps of φ(loss).

    A loss that is not finite, or above ``l₀ + 2·|l₀|`` with l₀ the run's first, counts as that
    bound: the same for every optimizer.

    Attributes:
      kind: ``"mean"``: φ(l) = l; ``"log"``: φ(l) = log(l + ε), with which every factor counts the
        same, however small the loss is already.
      start: steps count from this share of the run; 0 for all of them, 1 for the last alone (the
        loss at the end of the horizon: Zhou et al., arXiv 2402.05232, appendix C.2).
      split: of whose batches the loss is; ``"inner_valid"`` costs one more loss a counted step.
      offset: ε; below it, lower losses count for less and less.

    Raises:
      ValueError: at construction, for a kind or split that there is not, a share outside of
        [0, 1], or an offset that is not positive.
    """

    kind: str = "log"
    start: float = 0.0
    split: str = "train"
    offset: float = LOG_OFFSET

    def __post_init__(self) -> None:
        check_option("objective.kind", self.kind, KINDS)
        check_option("objective.split", self.split, SPLITS)
        if not 0 <= self.start <= 1:
            raise ValueError(f"objective.start={self.start}: must be from 0 to 1.")
        if not 0 < self.offset < math.inf:
            raise ValueError(f"objective.offset={self.offset}: must be a positive number.")

    def counts(
        self, step: Int[Array, "*steps"], horizon: Float[Array, ""]
    ) -> Float[Array, "*steps"]:
        """Whether step number ``step``, from 0 to ``horizon`` − 1, counts; 1 or 0."""
        first = jnp.minimum(jnp.floor(self.start * horizon), horizon - 1)
        return (step >= first).astype(jnp.float32)

    def share(self, horizon: Float[Array, ""]) -> Float[Array, ""]:
        """The share of the steps that count, for the scale of truncated estimates."""
        first = jnp.minimum(jnp.floor(self.start * horizon), horizon - 1)
        return 1 - first / horizon

    def value(
        self, loss: Float[Array, "*runs"], first_loss: Float[Array, "*runs"]
    ) -> tuple[Float[Array, "*runs"], Bool[Array, "*runs"]]:
        """φ of the bounded loss, and whether it had to be bounded."""
        bound = first_loss + (_LARGEST_RATIO - 1) * jnp.abs(first_loss)
        bound = jnp.where(jnp.isfinite(bound), bound, 1.0)
        bad = ~(loss <= bound)  # also where it is NaN
        # The inner one keeps the derivative of what is not taken finite.
        loss = jnp.where(bad, bound, jnp.where(bad, 0.0, loss))
        return self.transformed(loss), bad

    def transformed(self, loss: Float[Array, "*runs"]) -> Float[Array, "*runs"]:
        """φ(loss)."""
        if self.kind == "mean":
            return loss
        return jnp.log(jnp.maximum(loss, 0.0) + self.offset)


@configurable()
def objective(
    kind: str = "log", start: float = 0.0, split: str = "train", offset: float = LOG_OFFSET
) -> Objective:
    """What outer training lowers, see :class:`Objective`.

    Args:
      kind: ``"mean"`` or ``"log"``.
      start: steps count from this share of a run.
      split: ``"train"`` or ``"inner_valid"``.
      offset: what is added to losses under the logarithm.
    """
    return Objective(kind, start, split, offset)


@configurable()
def with_objective(
    task_family: Any = REQUIRED, kind: str = "log", offset: float = LOG_OFFSET
) -> Any:
    """A task family whose meta-loss the ecosystem's own estimators transform.

    They pass every loss through ``task.normalizer`` before they average it, on both versions.

    Args:
      task_family: a `TaskFamily`.
      kind: ``"mean"``: as it is; ``"log"``: ``log(normalizer(loss) + offset)``.
      offset: what is added to losses under the logarithm.

    Returns:
      A family with the same name, data and tasks.

    Raises:
      TypeError: it is no task family.
    """
    if not isinstance(task_family, ecosystem.TaskFamily):
        raise TypeError(
            f"with_objective(task_family={type(task_family).__name__}): must be a task family, "
            "such as @digits_mlp_family()."
        )
    chosen = Objective(kind, offset=offset)
    family = copy.copy(task_family)
    make = task_family.task_fn

    def task_fn(config: Any) -> Any:
        task = copy.copy(make(config))
        normalizer = task.normalizer
        task.normalizer = lambda loss: chosen.transformed(normalizer(loss))
        return task

    family.task_fn = task_fn
    return family
