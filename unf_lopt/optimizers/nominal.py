"""The nominal term: the hand-designed step that a functional corrects, or none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from unf_lopt._types import PyTree

Scalars = Mapping[str, Any]

# Under Adam's square root: changes no digit, but keeps the derivative finite where a gradient has
# been zero from the start, for estimators that differentiate through the step.
_ADAM_EPSILON_ROOT = 1e-30


@dataclasses.dataclass(frozen=True)
class NominalTerm:
    """How the gradients become a direction, and what the functional's output does to it.

    With n the nominal term and f the functional, the parameters move by ``−α·d``:

    - ``"momentum"``: n = m^γ0, with m ← γ0·m + ∇ or, averaged, m ← γ0·m + (1 − γ0)·∇;
      d = n + β·f (Zhou et al., arXiv 2402.05232, eq. 15).
    - ``"adam"``: m ← β1·m + (1 − β1)·∇ and v ← β2·v + (1 − β2)·∇², after t steps
      n = m/(1 − β1^t) / (√(v/(1 − β2^t)) + ε); d = n + β·f (the step of Kingma and Ba, arXiv
      1412.6980, in place of the momentum).
    - ``"none"``: f has two channels, a direction and a magnitude, and d = f_1·exp(β·f_2), as in
      the ecosystem's learned optimizers (Metz et al., arXiv 1810.10180).

    Attributes:
      initial: the initial values of α, β and the term's own scalars.
      output_channels: of the functional.
      transformation: from scalars and the kind of momentum to what computes n.
      combine: d of n, the functional's output ``[*shape, output_channels]`` and β.
    """

    initial: Mapping[str, float]
    output_channels: int
    transformation: Callable[[Scalars, str], optax.GradientTransformation]
    combine: Callable[[jax.Array, jax.Array, Any], jax.Array]

    def init(self, zeros: PyTree, momentum: str) -> PyTree:
        """The term's state before the first step; ``zeros`` has the dtypes of momenta."""
        return self.transformation(self.initial, momentum).init(zeros)

    def update(
        self, state: PyTree, grad: PyTree, scalars: Scalars, momentum: str
    ) -> tuple[PyTree, PyTree]:
        """The term n and the next state; ``momentum`` is ``"sum"`` or ``"average"``."""
        nominal, updated = self.transformation(scalars, momentum).update(grad, state)
        return nominal, jax.tree.map(lambda new, old: new.astype(old.dtype), updated, state)


def _corrected(
    nominal: Float[Array, "*shape"], output: Float[Array, "*shape 1"], beta: Any
) -> Float[Array, "*shape"]:
    return nominal + beta * output[..., 0]


def _direct(
    nominal: Float[Array, "*shape"], output: Float[Array, "*shape 2"], beta: Any
) -> Float[Array, "*shape"]:
    del nominal  # zero
    return output[..., 0] * jnp.exp(beta * output[..., 1])


def _momentum(scalars: Scalars, momentum: str) -> optax.GradientTransformation:
    gamma = scalars["gamma"]
    return optax.trace(gamma) if momentum == "sum" else optax.ema(gamma, debias=False)


def _adam(scalars: Scalars, momentum: str) -> optax.GradientTransformation:
    del momentum  # Adam's are averages
    return optax.scale_by_adam(
        scalars["beta1"], scalars["beta2"], scalars["epsilon"], _ADAM_EPSILON_ROOT
    )


NOMINALS = {
    "momentum": NominalTerm({"alpha": 0.1, "beta": 1e-3, "gamma": 0.9}, 1, _momentum, _corrected),
    "adam": NominalTerm(
        {"alpha": 1e-3, "beta": 1e-3, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
        1,
        _adam,
        _corrected,
    ),
    "none": NominalTerm(
        {"alpha": 1e-3, "beta": 1e-3}, 2, lambda scalars, momentum: optax.set_to_zero(), _direct
    ),
}
