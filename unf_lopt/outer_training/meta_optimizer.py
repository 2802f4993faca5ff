"""The meta-optimizer: Adam on meta-gradients whose norm is clipped, with a schedule."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import optax

from unf_lopt import ecosystem
from unf_lopt._options import check_option
from unf_lopt.ecosystem.gin_decorator import configurable

DECAYS = ("constant", "linear", "cosine")


@configurable()
def norm_clipped_adam(
    learning_rate: float | Mapping[str, float],
    max_norm: float = 1.0,
    decay: str = "constant",
    num_steps: int | None = None,
) -> ecosystem.OptaxOptimizer:
    """Adam after clipping the whole meta-gradient to a norm, as an ecosystem's optimizer.

    The ecosystem's release can only clip each number by itself.

    Args:
      learning_rate: of Adam; one number, or numbers by the names of theta's parts, which are then
        clipped part by part.
      max_norm: largest Euclidean norm of the meta-gradient; the paper's is 1.
      decay: ``"constant"``, or ``"linear"`` or ``"cosine"`` to zero after ``num_steps``.
      num_steps: outer steps in all; only a decay needs it.

    Raises:
      ValueError: a decay that there is not, or one without ``num_steps``.
    """
    check_option("decay", decay, DECAYS)

    def of_rate(rate: float) -> optax.GradientTransformation:
        return optax.chain(
            optax.clip_by_global_norm(max_norm), optax.adam(_schedule(rate, decay, num_steps))
        )

    if not isinstance(learning_rate, Mapping):
        return ecosystem.OptaxOptimizer(of_rate(learning_rate))
    parts: dict[Hashable, optax.GradientTransformation] = {
        part: of_rate(rate) for part, rate in learning_rate.items()
    }

    def labels(theta: Mapping[str, Any]) -> dict[str, str]:
        if set(theta) != set(parts):
            raise ValueError(
                f"norm_clipped_adam(learning_rate={dict(learning_rate)}): theta's parts are "
                f"{sorted(theta)}; give a rate for each, or one number."
            )
        return {part: part for part in theta}

    return ecosystem.OptaxOptimizer(optax.partition(parts, labels))


def _schedule(rate: float, decay: str, num_steps: int | None) -> float | optax.Schedule:
    if decay == "constant":
        return rate
    if num_steps is None:
        raise ValueError(f"norm_clipped_adam(decay={decay!r}): it needs num_steps.")
    if decay == "linear":
        return optax.linear_schedule(rate, 0.0, num_steps)
    return optax.cosine_decay_schedule(rate, num_steps)
