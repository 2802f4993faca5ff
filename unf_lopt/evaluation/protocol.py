"""How long, how often and on which seeds: what all optimizers of one report have in common."""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any

import jax

from unf_lopt import ecosystem

SPLITS = ("train", "test")
# Of runs on which settings are chosen; the test split has no part in that.
TUNING_SPLITS = ("train", "inner_valid")

# What seeds are for. Outer training folds its step number into its key; no run has as many steps.
# Tasks number the orders of their batches from 0 (`data_seed`).
_PURPOSES = {"held-out evaluation": 1_000_000, "tuning of baselines": 2_000_000}


@dataclasses.dataclass(frozen=True)
class Protocol:
    """The inner training that every optimizer gets.

    Attributes:
      num_seeds: inner runs, each with initial parameters and batches of its own.
      horizon: inner steps.
      eval_every: inner steps from one evaluation to the next; a divisor of `horizon`.
      eval_batches: batches of each split for one evaluation of one run.
      final_passes: how many times as many batches the evaluation after the last step takes.
      seed: chooses the held-out seeds.
      splits: whose losses are evaluated.
      purpose: what the seeds are for; those of two purposes have nothing in common.

    Raises:
      ValueError: at construction, for a number that is not positive, or a horizon that is not a
        multiple of `eval_every`.
    """

    num_seeds: int
    horizon: int
    eval_every: int = 10
    eval_batches: int = 2
    final_passes: int = 4
    seed: int = 0
    splits: tuple[str, ...] = SPLITS
    purpose: str = "held-out evaluation"

    def __post_init__(self) -> None:
        for name in ("num_seeds", "horizon", "eval_every", "eval_batches", "final_passes"):
            if getattr(self, name) < 1:
                raise ValueError(f"evaluate({name}={getattr(self, name)}): must be at least 1.")
        if self.horizon % self.eval_every:
            raise ValueError(
                f"evaluate(horizon={self.horizon}, eval_every={self.eval_every}): the horizon "
                f"must be a multiple of eval_every; the next is "
                f"{-(-self.horizon // self.eval_every) * self.eval_every}."
            )

    @property
    def steps(self) -> list[int]:
        """The inner steps after which there is an evaluation, 0 and the horizon included."""
        return list(range(0, self.horizon + 1, self.eval_every))

    @property
    def key(self) -> jax.Array:
        """Of initial parameters and of noise; no key of outer training, whatever its seed."""
        purpose = zlib.crc32(self.purpose.encode())
        return jax.random.fold_in(jax.random.PRNGKey(self.seed), purpose)

    @property
    def data_seed(self) -> int:
        """Of the order of batches."""
        return _PURPOSES[self.purpose] + self.seed

    def tuning(self, num_seeds: int) -> Protocol:
        """The same on other seeds, which no report shows: settings are chosen on them.

        Raises:
          ValueError: `num_seeds` is not positive.
        """
        if num_seeds < 1:
            raise ValueError(f"evaluate(num_tuning_seeds={num_seeds}): must be at least 1.")
        return dataclasses.replace(
            self, num_seeds=num_seeds, splits=TUNING_SPLITS, purpose="tuning of baselines"
        )

    def fresh(self, task_family: Any) -> Any:
        """The family with readers of its own at their start, in the held-out order.

        A family whose readers have no position (all of the ecosystem's own) is returned as it
        is; see `positioned`.
        """
        if not positioned(task_family):
            return task_family
        return ecosystem.with_fresh_data(task_family, self.data_seed)


def positioned(task_family: Any) -> bool:
    """Whether the family's data can be started anew, so that optimizers see the same batches."""
    return ecosystem.positions(task_family.datasets) is not None
