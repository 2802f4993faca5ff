"""The three scalars of the step: α, β and γ0, learned or constant."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import logit

PARAMETRIZATIONS = ("log", "raw", "constant")


class _Learned(NamedTuple):
    """What is learned in place of a scalar, and the maps there and back."""

    name: str
    of: Callable[[jax.Array], jax.Array]
    back: Callable[[jax.Array], jax.Array]


_LEARNED = {
    "alpha": _Learned("log_alpha", jnp.log, jnp.exp),
    "beta": _Learned("log_beta", jnp.log, jnp.exp),
    "gamma": _Learned("logit_gamma", logit, jax.nn.sigmoid),
}


@dataclasses.dataclass(frozen=True)
class StepScalars:
    """Step size α, weight of the functional β, decay of the nominal momentum γ0.

    A perturbation of σ = 0.01 moves a β of 0.001 tenfold and can take γ0 out of [0, 1), so
    α and β are learned as logarithms and γ0 as a logit; ``"raw"`` learns them as they are (the
    paper), ``"constant"`` does not learn them (the authors' released code).

    Attributes:
      parametrization: one of ``PARAMETRIZATIONS``.
      alpha: initial step size.
      beta: initial weight of the functional; None where there is none.
      gamma: initial momentum decay.

    Raises:
      ValueError: at construction, for an unknown parametrization, or a value that is not
        positive (γ0: not between 0 and 1).
    """

    parametrization: str
    alpha: float = 0.1
    beta: float | None = 0.001
    gamma: float = 0.9

    def __post_init__(self) -> None:
        if self.parametrization not in PARAMETRIZATIONS:
            raise ValueError(f"scalars={self.parametrization!r}: choose one of {PARAMETRIZATIONS}.")
        if not self.alpha > 0 or (self.beta is not None and not self.beta > 0):
            raise ValueError(
                f"initial_alpha={self.alpha}, initial_beta={self.beta}: both must be positive."
            )
        if not 0 < self.gamma < 1:
            raise ValueError(f"initial_gamma={self.gamma}: must be between 0 and 1.")

    def init(self) -> dict[str, jax.Array]:
        """The learned scalars' initial values; empty where they are constant."""
        if self.parametrization == "constant":
            return {}
        values = {"alpha": jnp.float32(self.alpha), "gamma": jnp.float32(self.gamma)}
        if self.beta is not None:
            values["beta"] = jnp.float32(self.beta)
        if self.parametrization == "raw":
            return values
        return {_LEARNED[name].name: _LEARNED[name].of(value) for name, value in values.items()}

    def values(self, theta: Mapping[str, jax.Array]) -> dict[str, Any]:
        """α, β and γ0 from what ``init`` gave or training made of it."""
        if self.parametrization == "constant":
            return {"alpha": self.alpha, "beta": self.beta, "gamma": self.gamma}
        if self.parametrization == "raw":
            return dict(theta)
        return {
            scalar: learned.back(theta[learned.name])
            for scalar, learned in _LEARNED.items()
            if learned.name in theta
        }
