"""The scalars of the step: α, β and those of the nominal term, learned or constant."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from unf_lopt._options import check_option

PARAMETRIZATIONS = ("log", "raw", "constant")


class _Learned(NamedTuple):
    """What is learned in place of a scalar, the maps there and back, and what it must be."""

    name: str
    of: Callable[[float], float]
    back: Callable[[jax.Array], jax.Array]
    below: float
    meaning: str


# A logarithm is learned in this unit, so that what changes a weight of the functional noticeably, a
# perturbation or a meta-step of 0.01, changes a step size by a tenth.
_UNIT = 10.0


def _positive(name: str) -> _Learned:
    return _Learned(
        f"tenth_log_{name}",
        lambda x: np.log(x) / _UNIT,
        lambda learned: jnp.exp(_UNIT * learned),
        np.inf,
        "positive",
    )


def _share(name: str) -> _Learned:
    return _Learned(
        f"tenth_logit_{name}",
        lambda p: (np.log(p) - np.log1p(-p)) / _UNIT,
        lambda learned: jax.nn.sigmoid(_UNIT * learned),
        1.0,
        "between 0 and 1",
    )


_LEARNED = {name: _positive(name) for name in ("alpha", "beta", "epsilon")} | {
    name: _share(name) for name in ("gamma", "beta1", "beta2")
}


@dataclasses.dataclass(frozen=True)
class StepScalars:
    """Step size α, weight of the functional β, and the scalars of the nominal term.

    A perturbation of σ = 0.01 moves a β of 0.001 tenfold and can take a decay γ0 out of [0, 1), so
    α, β and Adam's ε are learned as logarithms and the decays γ0, β1 and β2 as logits, all divided
    by ten: one meta-learning rate then suits them and the functional's weights. ``"raw"`` learns
    all as they are (the paper), ``"constant"`` learns none (the authors' released code).

    Attributes:
      parametrization: one of ``PARAMETRIZATIONS``.
      initial: the initial value of every scalar that there is, by name: ``alpha``, ``beta``,
        ``gamma``, ``beta1``, ``beta2``, ``epsilon``.

    Raises:
      ValueError: at construction, for an unknown parametrization, or a value that is not
        positive (a decay: not between 0 and 1).
    """

    parametrization: str
    initial: Mapping[str, float]

    def __post_init__(self) -> None:
        check_option("scalars", self.parametrization, PARAMETRIZATIONS)
        for name, value in self.initial.items():
            if not 0 < value < _LEARNED[name].below:
                raise ValueError(f"initial_{name}={value}: must be {_LEARNED[name].meaning}.")

    def without(self, name: str) -> StepScalars:
        """The same scalars but for one."""
        kept = {own: value for own, value in self.initial.items() if own != name}
        return dataclasses.replace(self, initial=kept)

    def init(self) -> dict[str, jax.Array]:
        """The learned scalars' initial values; empty where they are constant."""
        if self.parametrization == "constant":
            return {}
        values = self.initial
        if self.parametrization == "log":
            values = {_LEARNED[name].name: _LEARNED[name].of(x) for name, x in values.items()}
        return {name: jnp.asarray(x, jnp.result_type(float)) for name, x in values.items()}

    def values(self, theta: Mapping[str, jax.Array]) -> dict[str, Any]:
        """The scalars by name, from what ``init`` gave or training made of it."""
        if self.parametrization == "constant":
            return dict(self.initial)
        if self.parametrization == "raw":
            return dict(theta)
        return {name: _LEARNED[name].back(theta[_LEARNED[name].name]) for name in self.initial}
