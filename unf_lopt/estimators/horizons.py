"""How long inner runs are: drawn anew for every run, so that one theta serves any horizon."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from unf_lopt.ecosystem.gin_decorator import configurable


@dataclasses.dataclass(frozen=True)
class Horizons:
    """Log-uniform from ``shortest`` to ``longest`` inner steps.

    Raises:
      ValueError: at construction, if they are not whole numbers with 1 ≤ shortest ≤ longest.
    """

    shortest: int
    longest: int

    def __post_init__(self) -> None:
        for name in ("shortest", "longest"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"horizons.{name}={value!r}: must be a whole number, 1 or more.")
        if self.shortest > self.longest:
            raise ValueError(
                f"horizons: shortest={self.shortest} is more than longest={self.longest}."
            )

    def draw(self, key: jax.Array) -> jax.Array:
        """A horizon, a float32 that is a whole number."""
        low, high = jnp.log(float(self.shortest)), jnp.log(float(self.longest))
        drawn = jnp.exp(jax.random.uniform(key, minval=low, maxval=high))
        return jnp.clip(jnp.round(drawn), self.shortest, self.longest)


@configurable()
def horizons(longest: int, shortest: int | None = None) -> Horizons:
    """How long inner runs are.

    Args:
      longest: the largest number of inner steps.
      shortest: the smallest; by default the same, so that all runs are equally long.
    """
    return Horizons(longest if shortest is None else shortest, longest)
