"""How a step is computed, apart from the functional: the options, and what they do."""

from __future__ import annotations

import dataclasses
from typing import Any

import gin
import jax
import jax.numpy as jnp

from unf_lopt.layers._partitions import check_option
from unf_lopt.optimizers import features
from unf_lopt.optimizers.frozen import Frozen
from unf_lopt.optimizers.nominal import NOMINALS, NominalTerm
from unf_lopt.optimizers.scalars import StepScalars

PyTree = Any

# What paper and released code do differently. Released: step_mult 0.1, out_mult 1e-4.
_MODES: dict[str, dict[str, str]] = {
    "paper": {"scalars": "log", "momentum": "sum", "inputs": "raw"},
    "released": {"scalars": "constant", "momentum": "average", "inputs": "tensor_rms"},
}
_RELEASED_BETA = 1e-4
CORRECTIONS = ("absolute", "relative")
# Under the root, so that the derivative is finite where the nominal term is zero.
_SMALLEST_SQUARE = 1e-30


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
        so that corrections become small where gradients do.
      weight_decay: λ, decoupled from the gradient (Loshchilov and Hutter, arXiv 1711.05101).
      gradient_clip: largest Euclidean norm of the whole gradient, which is scaled down to it
        before anything else sees it; None for no limit.
      frozen: parameters that are not trained, see :func:`frozen.is_frozen`.

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
    frozen: Frozen = ()

    def __post_init__(self) -> None:
        check_option("nominal", self.nominal, tuple(NOMINALS))
        check_option("momentum", self.momentum, features.MOMENTA)
        check_option("inputs", self.inputs, features.INPUTS)
        check_option("correction", self.correction, CORRECTIONS)
        if self.correction == "relative" and self.nominal == "none":
            raise ValueError("correction='relative': nominal='none' leaves nothing to relate to.")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay={self.weight_decay}: must not be negative.")
        if self.gradient_clip is not None and not self.gradient_clip > 0:
            raise ValueError(f"gradient_clip={self.gradient_clip}: must be positive, or None.")
        if isinstance(self.frozen, str):
            raise ValueError(f"frozen={self.frozen!r}: pass a tuple of paths, ({self.frozen!r},).")

    @property
    def nominal_term(self) -> NominalTerm:
        """What computes the nominal term."""
        return NOMINALS[self.nominal]

    def gradient(self, grad: PyTree) -> PyTree:
        """The gradient as it is computed with: at least float32, clipped."""
        grad = jax.tree.map(lambda g: g.astype(features.wide_dtype(g)), grad)
        if self.gradient_clip is None:
            return grad
        square = sum(jnp.sum(jnp.square(g)) for g in jax.tree.leaves(grad))
        # What optax.clip_by_global_norm does, but differentiable where the gradient is zero.
        scale = self.gradient_clip * jax.lax.rsqrt(jnp.maximum(square, self.gradient_clip**2))
        return jax.tree.map(lambda g: (scale * g).astype(g.dtype), grad)

    def direction(self, nominal: PyTree, output: PyTree, beta: Any) -> PyTree:
        """What the parameters move along: d of the nominal term and the functional's output."""

        def combine(n: jax.Array, f: jax.Array) -> jax.Array:
            if self.correction == "relative":
                f = f * jnp.sqrt(jnp.mean(jnp.square(n)) + _SMALLEST_SQUARE)
            return self.nominal_term.combine(n, f, beta)

        return jax.tree.map(combine, nominal, output)

    def updates(self, params: PyTree, direction: PyTree, alpha: Any) -> PyTree:
        """What is added to the parameters, ``−α·(d + λ·W)``, at least in float32."""

        def update(w: jax.Array, d: jax.Array) -> jax.Array:
            return -alpha * (d + self.weight_decay * w if self.weight_decay else d)

        return jax.tree.map(update, params, direction)


@gin.configurable(module="unf_lopt")
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
    frozen: Frozen = (),
    **initial: float | None,
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
      correction: ``"absolute"`` or ``"relative"``, see :class:`StepOptions`.
      weight_decay: λ in W ← W − α·(d + λ·W).
      gradient_clip: largest norm of the whole gradient, or None.
      frozen: paths (or their beginnings) of parameters that are not trained, or a function of
        the path that says so.
      **initial: ``initial_alpha`` (step size; 0.1, with ``"adam"`` and ``"none"`` 0.001),
        ``initial_beta`` (weight of the functional; with ``"none"`` of the magnitude, 0.001),
        ``initial_gamma`` (decay of the nominal momentum, 0.9), with ``"adam"``
        ``initial_beta1`` (0.9), ``initial_beta2`` (0.999) and ``initial_epsilon`` (1e-8).

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
    values |= _given_values(initial, nominal)
    return StepOptions(
        StepScalars(chosen["scalars"], values),
        nominal,
        chosen["momentum"],
        chosen["inputs"],
        correction,
        weight_decay,
        gradient_clip,
        frozen,
    )


def _given_values(initial: dict[str, float | None], nominal: str) -> dict[str, float]:
    """Values by the names of their scalars, from arguments ``initial_NAME``."""
    known = {name for term in NOMINALS.values() for name in term.initial}
    values = {}
    for argument, value in initial.items():
        name = argument.removeprefix("initial_")
        if name == argument or name not in known:
            raise TypeError(f"unexpected argument {argument!r}.")
        if value is not None:
            if name not in NOMINALS[nominal].initial:
                raise ValueError(f"{argument}={value}: nominal={nominal!r} has no {name}.")
            values[name] = value
    return values
