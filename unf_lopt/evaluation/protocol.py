"""How long, how often and on which seeds: what all optimizers of one report have in common."""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any

import jax

from unf_lopt import ecosystem

SPLITS = ("train", "test")

# Outer training folds its step number into its key; no run has as many steps.
_HELD_OUT = zlib.crc32(b"held-out evaluation")
# Tasks number the orders of their batches from 0 (`data_seed`).
_FIRST_DATA_SEED = 1_000_000


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
        return jax.random.fold_in(jax.random.PRNGKey(self.seed), _HELD_OUT)

    @property
    def data_seed(self) -> int:
        """Of the order of batches."""
        return _FIRST_DATA_SEED + self.seed

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
