"""How a step is computed, apart from the functional: the options, and what they do."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from unf_lopt._options import check_option
from unf_lopt._types import PyTree
from unf_lopt.optimizers import features
from unf_lopt.optimizers.directions import SMALLEST_SQUARE, clipped, corrected, wide
from unf_lopt.optimizers.nominal import NOMINALS, NominalTerm
from unf_lopt.optimizers.scalars import StepScalars

# What paper and released code do differently. Released: step_mult 0.1, out_mult 1e-4.
_MODES: dict[str, dict[str, str]] = {
    "paper": {"scalars": "log", "momentum": "sum", "inputs": "raw"},
    "released": {"scalars": "constant", "momentum": "average", "inputs": "tensor_rms"},
}
_RELEASED_BETA = 1e-4
CORRECTIONS = ("absolute", "relative", "rescaled")


@dataclasses.dataclass(frozen=True)
class StepOptions:
    """How the step is computed: ``W ← W − α·(d + λ·W)``.

    Attributes:
      scalars: α, β and those of the nominal term.
      nominal: one of ``NOMINALS``: how d is made, see :class:`NominalTerm`.
      momentum: ``"sum"``: m ← γ·m + ∇; ``"average"``: m ← γ·m + (1 − γ)·∇.
      inputs: ``"raw"``, ``"tensor_rms"`` or ``"channel_rms"``, see
        :func:`features.input_features`.
      correction: ``"absolute"``: the functional's output is added as it is (the paper's);
        ``"relative"``: multiplied by the root mean square of the nominal term in the same tensor,
        so that corrections become small where gradients do; ``"rescaled"``: relative, and then d
        has the root mean square of the nominal term, see :func:`directions.corrected`.
      weight_decay: λ, decoupled from the gradient (Loshchilov and Hutter, arXiv 1711.05101).
      gradient_clip: largest Euclidean norm of the whole gradient, which is scaled down to it
        before anything else sees it; None for no limit.

    Raises:
      ValueError: at construction, for an option that is not one of these.
    """

    scalars: StepScalars
    nominal: str = "momentum"
    momentum: str = "sum"
    inputs: str = "raw"
    correction: str = "absolute"
    weight_decay: float = 0.0
    gradient_clip: float | None = None

    def __post_init__(self) -> None:
        check_option("nominal", self.nominal, tuple(NOMINALS))
        check_option("momentum", self.momentum, features.MOMENTA)
        check_option("inputs", self.inputs, features.INPUTS)
        check_option("correction", self.correction, CORRECTIONS)
        if self.correction != "absolute" and self.nominal == "none":
            raise ValueError(
                f"correction={self.correction!r}: nominal='none' leaves nothing to relate to."
            )
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay={self.weight_decay}: must not be negative.")
        if self.gradient_clip is not None and not self.gradient_clip > 0:
            raise ValueError(f"gradient_clip={self.gradient_clip}: must be positive, or None.")

    def data(self) -> dict[str, Any]:
        """The options as plain data, for :meth:`from_data`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> StepOptions:
        """The options that :meth:`data` wrote.

        Raises:
          TypeError: an option is missing or unknown.
          ValueError: an option is not one of these.
        """
        return cls(**{**data, "scalars": StepScalars(**data["scalars"])})

    @property
    def nominal_term(self) -> NominalTerm:
        """What computes the nominal term."""
        return NOMINALS[self.nominal]

    def gradient(self, grad: PyTree) -> PyTree:
        """The gradient as it is computed with: at least float32, clipped."""
        grad = wide(grad)
        return grad if self.gradient_clip is None else clipped(grad, self.gradient_clip)

    def direction(self, nominal: PyTree, output: PyTree, beta: Any) -> PyTree:
        """What the parameters move along: d of the nominal term and the functional's output."""

        def combine(n: jax.Array, f: jax.Array) -> jax.Array:
            if self.correction == "rescaled":
                return corrected(n, beta * f[..., 0])
            if self.correction == "relative":
                f = f * jnp.sqrt(jnp.mean(jnp.square(n)) + SMALLEST_SQUARE)
            return self.nominal_term.combine(n, f, beta)

        return jax.tree.map(combine, nominal, output)

    def updates(self, params: PyTree, direction: PyTree, alpha: Any) -> PyTree:
        """What is added to the parameters, ``−α·(d + λ·W)``, at least in float32."""

        def update(w: jax.Array, d: jax.Array) -> jax.Array:
            return -alpha * (d + self.weight_decay * w if self.weight_decay else d)

        return jax.tree.map(update, params, direction)


def step_options(
    mode: str = "paper",
    *,
    nominal: str = "momentum",
    scalars: str | None = None,
    momentum: str | None = None,
    inputs: str | None = None,
    correction: str = "absolute",
    weight_decay: float = 0.0,
    gradient_clip: float | None = None,
    initial_alpha: float | None = None,
    initial_beta: float | None = None,
    initial_gamma: float | None = None,
    initial_beta1: float | None = None,
    initial_beta2: float | None = None,
    initial_epsilon: float | None = None,
) -> StepOptions:
    """How the step of an optimizer is computed; what is None is what the mode says.

    Args:
      mode: ``"paper"``: the paper's equations (momenta m ← γ·m + ∇, inputs as they are, the
        three scalars learned, β = 0.001 at first). ``"released"``: the authors' released code
        (momenta are averages, inputs clipped and normalized per tensor, the scalars
        constants, β = 0.0001).
      nominal: ``"momentum"`` (the paper's), ``"adam"`` or ``"none"``, see
        :class:`unf_lopt.optimizers.nominal.NominalTerm`.
      scalars: ``"log"`` (positive ones as logarithms, decays as logits; the default in paper
        mode), ``"raw"`` (as in the paper) or ``"constant"``.
      momentum: ``"sum"`` or ``"average"``.
      inputs: ``"raw"``, ``"tensor_rms"`` or ``"channel_rms"``, see
        :func:`unf_lopt.optimizers.features.input_features`.
      correction: ``"absolute"``, ``"relative"`` or ``"rescaled"``, see :class:`StepOptions`.
      weight_decay: λ in W ← W − α·(d + λ·W).
      gradient_clip: largest norm of the whole gradient, or None.
      initial_alpha: step size; 0.1, with ``"adam"`` and ``"none"`` 0.001.
      initial_beta: weight of the functional; with ``"none"`` of the magnitude; 0.001.
      initial_gamma: decay of the nominal momentum, 0.9.
      initial_beta1: of ``"adam"``, 0.9.
      initial_beta2: of ``"adam"``, 0.999.
      initial_epsilon: of ``"adam"``, 1e-8.

    Raises:
      ValueError: an option that is not one of these, or an initial value of a scalar that the
        nominal term does not have.
      TypeError: an unknown argument.
    """
    check_option("mode", mode, tuple(_MODES))
    check_option("nominal", nominal, tuple(NOMINALS))
    given = {"scalars": scalars, "momentum": momentum, "inputs": inputs}
    chosen = _MODES[mode] | {name: value for name, value in given.items() if value is not None}
    values = dict(NOMINALS[nominal].initial)
    if mode == "released" and nominal != "none":
        values["beta"] = _RELEASED_BETA
    initial = {
        "alpha": initial_alpha,
        "beta": initial_beta,
        "gamma": initial_gamma,
        "beta1": initial_beta1,
        "beta2": initial_beta2,
        "epsilon": initial_epsilon,
    }
    values |= _given_values(initial, nominal)
    return StepOptions(
        StepScalars(chosen["scalars"], values),
        nominal,
        chosen["momentum"],
        chosen["inputs"],
        correction,
        weight_decay,
        gradient_clip,
    )


def _given_values(initial: Mapping[str, float | None], nominal: str) -> dict[str, float]:
    """The values that are given.

    Raises:
      ValueError: one of a scalar that the nominal term does not have.
    """
    given = {name: value for name, value in initial.items() if value is not None}
    for name, value in given.items():
        if name not in NOMINALS[nominal].initial:
            raise ValueError(f"initial_{name}={value}: nominal={nominal!r} has no {name}.")
    return given
