"""The optimizers by the names that gin selects them by."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import gin

from unf_lopt.layers import check_layer_options, equivariant_linear
from unf_lopt.optimizers.binding import SymmetryOptions
from unf_lopt.optimizers.chains import spatial_apart
from unf_lopt.optimizers.functional import (
    SOME_SPEC,
    Functional,
    deep_sets_functional,
    equivariant_functional,
)
from unf_lopt.optimizers.learned_optimizer import FunctionalLearnedOptimizer
from unf_lopt.optimizers.step import StepOptions, step_options
from unf_lopt.symmetry import PermutationSpec

MakeFunctional = Callable[[PermutationSpec, int], Functional]


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
    balanced: bool = True,
    verify: bool = False,
    randomness: str = "frozen",
    **step: Any,
) -> FunctionalLearnedOptimizer:
    """A learned optimizer whose functional is a universal neural functional.

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
      balanced: of the last layer: a perturbation of theta changes the step about as much as that
        of Deep Sets, where it otherwise grows with the number of tensors. False is the paper's.
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
    layer_options = {"fixed_axes": fixed_axes, "bias": bias, "initialization": initialization}
    check_layer_options(**layer_options)

    make = _functional_maker(hidden_channels, hidden_layers, balanced=balanced, **layer_options)
    symmetry = SymmetryOptions(verify, randomness)
    return _bound("unf", make, step_options(mode, **step), symmetry, task_family, spec)


@gin.configurable(module="unf_lopt")
def nfn(
    task_family: Any = None,
    spec: PermutationSpec | None = None,
    mode: str = "paper",
    *,
    hidden_channels: int = 32,
    hidden_layers: int = 3,
    bias: str = "tensor",
    initialization: str = "pointwise",
    balanced: bool = True,
    verify: bool = False,
    randomness: str = "frozen",
    **step: Any,
) -> FunctionalLearnedOptimizer:
    """The same optimizer with an NFN-NP layer in place of UNF's, for MLPs and CNNs.

    On an MLP it is the same layer. In a CNN every spatial position of a kernel has channels, and
    so coefficients, of its own (Zhou et al., "Permutation Equivariant Neural Functionals", arXiv
    2302.14040); see :func:`unf_lopt.optimizers.chains.spatial_apart`. With C channels, T basis
    maps of the last layer and b biases, f has ``20·C + 2·C·(C + 1) + C·T + b`` parameters; a
    kernel of k positions counts as k tensors. The paper's counts, with α, β and γ0: 3,783 on its
    MLP is ``bias="tensor"`` (T = 32, b = 4), 41,603 on its CNN ``bias="none"`` (T = 1,214).

    The arguments are those of :func:`unf`.

    Raises:
      SpecError: the weight space is no chain of layers.
      ValueError: an option that is not one of these.
      SymmetryError: ``verify`` is asked for and fails.
      TypeError: ``task_family`` is neither a task family nor a task, or an unknown argument.
    """
    layer_options = {"fixed_axes": "exchangeable", "bias": bias, "initialization": initialization}
    check_layer_options(**layer_options)

    of_chain = _functional_maker(hidden_channels, hidden_layers, balanced=balanced, **layer_options)

    def make(spec: PermutationSpec, output_channels: int) -> Functional:
        return of_chain(spatial_apart(spec), output_channels)

    symmetry = SymmetryOptions(verify, randomness)
    return _bound("nfn", make, step_options(mode, **step), symmetry, task_family, spec)


@gin.configurable(module="unf_lopt")
def unf_universal(
    task_family: Any = None,
    spec: PermutationSpec | None = None,
    mode: str = "paper",
    *,
    hidden_channels: int = 32,
    hidden_layers: int = 3,
    roles: bool = True,
    cross_terms: bool = False,
    fixed_axes: str = "exchangeable",
    bias: str = "tensor",
    initialization: str = "pointwise",
    balanced: bool = True,
    verify: bool = False,
    randomness: str = "frozen",
    **step: Any,
) -> FunctionalLearnedOptimizer:
    """The same optimizer with one theta for every architecture.

    Its last layer has coefficients that depend on the kind of a basis map and not on the tensors
    (:class:`unf_lopt.layers.TiedLinear`), so theta is the same in number and shape for any task.
    Theta of one architecture, or of many (``train.task_families``), loads on any other. It can be
    initialized unbound; an inner optimizer takes a binding.

    Args:
      task_family: as of :func:`unf`.
      spec: as of :func:`unf`.
      mode: as of :func:`unf`.
      hidden_channels: channels of the pointwise layers.
      hidden_layers: how many pointwise layers.
      roles: whether f is told what a parameter is for (a bias, a first weight, a kernel, …) in
        eight more input channels, see :func:`unf_lopt.layers.role_features`.
      cross_terms: of the last layer, as of :class:`unf_lopt.layers.TiedLinear`.
      fixed_axes: of the last layer: ``"exchangeable"`` or ``"positional"``.
      bias: of the last layer: ``"tensor"`` (one for each rank) or ``"none"``.
      initialization: of the last layer.
      balanced: as of :func:`unf`.
      verify: as of :func:`unf`.
      randomness: as of :func:`unf`.
      **step: the other arguments of :func:`step_options`.

    Raises:
      ValueError: an option that is not one of these.
      SymmetryError: ``verify`` is asked for and fails.
      TypeError: ``task_family`` is neither a task family nor a task, or an unknown argument.
    """
    layer_options = {
        "coefficients": "tied",
        "cross_terms": cross_terms,
        "fixed_axes": fixed_axes,
        "bias": bias,
        "initialization": initialization,
        "balanced": balanced,
    }
    equivariant_linear(SOME_SPEC, 1, **layer_options)  # says what is wrong with them at once

    make = _functional_maker(hidden_channels, hidden_layers, roles=roles, **layer_options)
    symmetry = SymmetryOptions(verify, randomness)
    options = step_options(mode, **step)
    return _bound("unf_universal", make, options, symmetry, task_family, spec, universal=True)


@gin.configurable(module="unf_lopt")
def deep_sets(
    task_family: Any = None,
    mode: str = "paper",
    *,
    hidden_channels: int = 32,
    hidden_layers: int = 3,
    **step: Any,
) -> FunctionalLearnedOptimizer:
    """The same optimizer with a pointwise last layer: it sees every entry by itself.

    Needs no spec, so ``task_family`` is taken, and not used, for the sake of configs in which
    the optimizer is one binding. The other arguments are those of :func:`unf`.
    """
    del task_family
    options = step_options(mode, **step)
    channels = options.nominal_term.output_channels
    functional = deep_sets_functional(hidden_channels, hidden_layers, channels)
    return FunctionalLearnedOptimizer("deep_sets", lambda spec: functional, options, symmetry=None)


@gin.configurable(module="unf_lopt")
def learned_sgdm(
    task_family: Any = None, mode: str = "paper", *, scalars: str = "log", **step: Any
) -> FunctionalLearnedOptimizer:
    """SGD with momentum whose step size and decay are meta-learned: the optimizer with β = 0.

    With ``nominal="adam"`` it is Adam with learned α, β1, β2 and ε. The arguments are those of
    :func:`unf`; ``task_family`` is taken and not used. Its scalars are all that it learns, so
    they are learned in every mode.

    Raises:
      ValueError: an option that is not one of these, or ``nominal="none"``: nothing is left.
      TypeError: an unknown argument.
    """
    del task_family
    options = step_options(mode, scalars=scalars, **step)
    if options.nominal == "none":
        raise ValueError("learned_sgdm(nominal='none'): without a nominal term nothing is left.")
    options = dataclasses.replace(options, scalars=options.scalars.without("beta"))
    return FunctionalLearnedOptimizer("learned_sgdm", None, options, symmetry=None)


def _functional_maker(hidden_channels: int, hidden_layers: int, **options: Any) -> MakeFunctional:
    """What makes the functional of a spec and a number of output channels."""

    def make(spec: PermutationSpec, output_channels: int) -> Functional:
        return equivariant_functional(
            spec, hidden_channels, hidden_layers, output_channels, **options
        )

    return make


def _bound(
    name: str,
    make: MakeFunctional,
    options: StepOptions,
    symmetry: SymmetryOptions,
    task_family: Any,
    spec: PermutationSpec | None,
    *,
    universal: bool = False,
) -> FunctionalLearnedOptimizer:
    """The optimizer, bound to the spec or else to the task family, if there is one."""
    channels = options.nominal_term.output_channels
    lopt = FunctionalLearnedOptimizer(
        name, lambda spec: make(spec, channels), options, symmetry, universal=universal
    )
    source = task_family if spec is None else spec
    return lopt if source is None else lopt.bind(source)


# All of them, by their gin names.
OPTIMIZERS = {
    function.__name__: function for function in (unf, nfn, unf_universal, deep_sets, learned_sgdm)
}
