"""The optimizers by the names that gin selects them by."""

from __future__ import annotations

import dataclasses
from typing import Any

import gin

from unf_lopt.layers import check_layer_options
from unf_lopt.optimizers.functional import Functional, deep_sets_functional, unf_functional
from unf_lopt.optimizers.learned_optimizer import (
    ResidualLearnedOptimizer,
    StepOptions,
    SymmetryOptions,
)
from unf_lopt.optimizers.scalars import StepScalars
from unf_lopt.symmetry import PermutationSpec

# What paper and released code do differently. Released: step_mult 0.1, out_mult 1e-4.
_MODES = {
    "paper": {"scalars": "log", "momentum": "sum", "inputs": "raw", "initial_beta": 1e-3},
    "released": {
        "scalars": "constant",
        "momentum": "average",
        "inputs": "tensor_rms",
        "initial_beta": 1e-4,
    },
}


def step_options(
    mode: str = "paper",
    *,
    scalars: str | None = None,
    momentum: str | None = None,
    inputs: str | None = None,
    initial_alpha: float = 0.1,
    initial_beta: float | None = None,
    initial_gamma: float = 0.9,
) -> StepOptions:
    """How the step of an optimizer is computed; what is None is what the mode says.

    Args:
      mode: ``"paper"``: the paper's equations (momenta m ← γ·m + ∇, inputs as they are, the
        three scalars learned, β = 0.001 at first). ``"released"``: the authors' released code
        (momenta are averages, inputs clipped and normalized per tensor, the scalars
        constants, β = 0.0001).
      scalars: ``"log"`` (α, β as logarithms, γ0 as a logit; the default in paper mode),
        ``"raw"`` (as in the paper) or ``"constant"``.
      momentum: ``"sum"`` or ``"average"``.
      inputs: ``"raw"``, ``"tensor_rms"`` or ``"channel_rms"``, see
        :func:`unf_lopt.optimizers.features.input_features`.
      initial_alpha: step size at first.
      initial_beta: weight of the functional at first.
      initial_gamma: decay of the nominal momentum at first.

    Raises:
      ValueError: an option that is not one of these.
    """
    if mode not in _MODES:
        raise ValueError(f"mode={mode!r}: choose one of {tuple(_MODES)}.")
    given = {
        "scalars": scalars,
        "momentum": momentum,
        "inputs": inputs,
        "initial_beta": initial_beta,
    }
    chosen = _MODES[mode] | {name: value for name, value in given.items() if value is not None}
    return StepOptions(
        StepScalars(chosen["scalars"], initial_alpha, chosen["initial_beta"], initial_gamma),
        chosen["momentum"],
        chosen["inputs"],
    )


@gin.configurable(module="unf_lopt")
def unf(
    task_family: Any = None,
    spec: PermutationSpec | None = None,
    mode: str = "paper",
    *,
    hidden_channels: int = 32,
    hidden_layers: int = 3,
    fixed_axes: str = "exchangeable",
    bias: str = "tensor",
    initialization: str = "pointwise",
    verify: bool = False,
    randomness: str = "frozen",
    **step: Any,
) -> ResidualLearnedOptimizer:
    """A learned optimizer whose correction is a universal neural functional.

    ``W ← W − α·(m^γ0 + β·f(W, ∇, {m^γi}, t))`` with f three pointwise layers of 32 channels
    with ReLU and one UNF layer (Zhou et al., arXiv 2402.05232, eq. 15 and appendix C.2).

    Args:
      task_family: a task family or task that it is bound to: its spec is found from its loss.
      spec: the weight space, where it is not to be found; wins over the task's.
      mode: ``"paper"`` or ``"released"``, see :func:`step_options`.
      hidden_channels: channels of the pointwise layers.
      hidden_layers: how many pointwise layers.
      fixed_axes: of the last layer, see :class:`unf_lopt.UNFLinear`.
      bias: of the last layer.
      initialization: of the last layer; ``"pointwise"`` starts it as Deep Sets.
      verify: whether a spec that was found is verified on numbers too, which takes seconds.
      randomness: what random draws in the loss do to its symmetry, see
        :func:`unf_lopt.infer_spec`.
      **step: the other arguments of :func:`step_options`.

    Returns:
      The learned optimizer; unbound where neither task family nor spec is given.

    Raises:
      ValueError: an option that is not one of these.
      SymmetryError: ``verify`` is asked for and fails.
      TypeError: ``task_family`` is neither a task family nor a task, or an unknown argument.
    """
    options = step_options(mode, **step)
    layer_options = {"fixed_axes": fixed_axes, "bias": bias, "initialization": initialization}
    check_layer_options(**layer_options)

    def make(spec: PermutationSpec | None) -> Functional:
        return unf_functional(spec, hidden_channels, hidden_layers, **layer_options)

    symmetry = SymmetryOptions(verify, randomness)
    lopt = ResidualLearnedOptimizer("unf", make, options, symmetry)
    source = task_family if spec is None else spec
    return lopt if source is None else lopt.bind(source)


@gin.configurable(module="unf_lopt")
def deep_sets(
    task_family: Any = None,
    mode: str = "paper",
    *,
    hidden_channels: int = 32,
    hidden_layers: int = 3,
    **step: Any,
) -> ResidualLearnedOptimizer:
    """The same optimizer with a pointwise last layer: it sees every entry by itself.

    Needs no spec, so ``task_family`` is taken, and not used, for the sake of configs in which
    the optimizer is one binding. The other arguments are those of :func:`unf`.
    """
    del task_family

    def make(spec: PermutationSpec | None) -> Functional:
        return deep_sets_functional(hidden_channels, hidden_layers)

    options = step_options(mode, **step)
    return ResidualLearnedOptimizer("deep_sets", make, options, symmetry=None)


@gin.configurable(module="unf_lopt")
def learned_sgdm(
    task_family: Any = None, mode: str = "paper", *, scalars: str = "log", **step: Any
) -> ResidualLearnedOptimizer:
    """SGD with momentum whose step size and decay are meta-learned: the optimizer with β = 0.

    The arguments are those of :func:`unf`; ``task_family`` is taken and not used. Its scalars
    are all that it learns, so they are learned in every mode.
    """
    del task_family
    options = step_options(mode, scalars=scalars, **step)
    without_beta = dataclasses.replace(options.scalars, beta=None)
    options = dataclasses.replace(options, scalars=without_beta)
    return ResidualLearnedOptimizer("learned_sgdm", None, options, symmetry=None)
