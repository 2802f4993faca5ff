"""The optimizers by the names that gin selects them by."""

from __future__ import annotations

from typing import Any

import gin

from unf_lopt.layers import check_layer_options
from unf_lopt.optimizers.functional import Functional, deep_sets_functional, unf_functional
from unf_lopt.optimizers.learned_optimizer import (
    ResidualLearnedOptimizer,
    StepOptions,
    resolve_spec,
)
from unf_lopt.optimizers.scalars import StepScalars
from unf_lopt.symmetry import PermutationSpec

# What paper and released code do differently. Released: step_mult 0.1, out_mult 1e-4.
_MODES = {
    "paper": {"scalars": "log", "momentum": "sum", "inputs": "raw", "beta": 1e-3},
    "released": {
        "scalars": "constant",
        "momentum": "average",
        "inputs": "normalized",
        "beta": 1e-4,
    },
}


def _step_options(
    mode: str,
    scalars: str | None,
    momentum: str | None,
    inputs: str | None,
    alpha: float,
    beta: float | None,
    gamma: float,
) -> StepOptions:
    if mode not in _MODES:
        raise ValueError(f"mode={mode!r}: choose one of {tuple(_MODES)}.")
    defaults = _MODES[mode]
    return StepOptions(
        StepScalars(
            scalars or defaults["scalars"], alpha, defaults["beta"] if beta is None else beta, gamma
        ),
        momentum or defaults["momentum"],
        inputs or defaults["inputs"],
    )


@gin.configurable(module="unf_lopt")
def unf(
    task_family: Any = None,
    spec: PermutationSpec | None = None,
    mode: str = "paper",
    *,
    hidden_channels: int = 32,
    hidden_layers: int = 3,
    scalars: str | None = None,
    momentum: str | None = None,
    inputs: str | None = None,
    initial_alpha: float = 0.1,
    initial_beta: float | None = None,
    initial_gamma: float = 0.9,
    fixed_axes: str = "exchangeable",
    bias: str = "tensor",
    initialization: str = "pointwise",
) -> ResidualLearnedOptimizer:
    """A learned optimizer whose correction is a universal neural functional.

    ``W ← W − α·(m^γ0 + β·f(W, ∇, {m^γi}, t))`` with f three pointwise layers of 32 channels
    with ReLU and one UNF layer (Zhou et al., arXiv 2402.05232, eq. 15 and appendix C.2).

    Args:
      task_family: a task family or task whose spec it is bound to.
      spec: the weight space, written by hand; wins over the task's own.
      mode: ``"paper"``: the paper's equations (momenta m ← γ·m + ∇, inputs as they are, the
        three scalars learned, β = 0.001 at first). ``"released"``: the authors' released code
        (momenta are averages, inputs clipped and normalized, the scalars constants,
        β = 0.0001).
      hidden_channels: channels of the pointwise layers.
      hidden_layers: how many pointwise layers.
      scalars: ``"log"`` (α, β as logarithms, γ0 as a logit), ``"raw"`` (as in the paper) or
        ``"constant"``; by default what the mode says (paper: ``"log"``).
      momentum: ``"sum"`` or ``"average"``; by default what the mode says.
      inputs: ``"raw"`` or ``"normalized"``; by default what the mode says.
      initial_alpha: step size at first.
      initial_beta: weight of the functional at first; by default what the mode says.
      initial_gamma: decay of the nominal momentum at first.
      fixed_axes: of the last layer, see :class:`unf_lopt.UNFLinear`.
      bias: of the last layer.
      initialization: of the last layer; ``"pointwise"`` starts it as Deep Sets.

    Returns:
      The learned optimizer; unbound where neither task family nor spec is given.

    Raises:
      ValueError: an option that is not one of these, or a task that declares no spec.
      TypeError: ``task_family`` is neither a task family nor a task.
    """
    options = _step_options(
        mode, scalars, momentum, inputs, initial_alpha, initial_beta, initial_gamma
    )

    layer_options = {"fixed_axes": fixed_axes, "bias": bias, "initialization": initialization}
    check_layer_options(**layer_options)

    def make(spec: PermutationSpec | None) -> Functional:
        return unf_functional(spec, hidden_channels, hidden_layers, **layer_options)

    if spec is None and task_family is not None:
        spec = resolve_spec(task_family)
    return ResidualLearnedOptimizer("unf", make, options, spec)


@gin.configurable(module="unf_lopt")
def deep_sets(
    task_family: Any = None,
    mode: str = "paper",
    *,
    hidden_channels: int = 32,
    hidden_layers: int = 3,
    scalars: str | None = None,
    momentum: str | None = None,
    inputs: str | None = None,
    initial_alpha: float = 0.1,
    initial_beta: float | None = None,
    initial_gamma: float = 0.9,
) -> ResidualLearnedOptimizer:
    """The same optimizer with a pointwise last layer: it sees every entry by itself.

    Needs no spec, so ``task_family`` is taken, and not used, for the sake of configs in which
    the optimizer is one binding. The other arguments are those of :func:`unf`.
    """
    del task_family
    options = _step_options(
        mode, scalars, momentum, inputs, initial_alpha, initial_beta, initial_gamma
    )
    return ResidualLearnedOptimizer(
        "deep_sets",
        lambda spec: deep_sets_functional(hidden_channels, hidden_layers),
        options,
        needs_spec=False,
    )


@gin.configurable(module="unf_lopt")
def learned_sgdm(
    task_family: Any = None,
    mode: str = "paper",
    *,
    scalars: str = "log",
    momentum: str | None = None,
    initial_alpha: float = 0.1,
    initial_gamma: float = 0.9,
) -> ResidualLearnedOptimizer:
    """SGD with momentum whose step size and decay are meta-learned: the optimizer with β = 0.

    The arguments are those of :func:`unf`; ``task_family`` is taken and not used.
    """
    del task_family
    options = _step_options(mode, scalars, momentum, None, initial_alpha, None, initial_gamma)
    without_beta = StepScalars(scalars, initial_alpha, None, initial_gamma)
    return ResidualLearnedOptimizer(
        "learned_sgdm", None, StepOptions(without_beta, options.momentum), needs_spec=False
    )
