"""The learned optimizers by name, and what makes one of its description again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from unf_lopt._options import check_option
from unf_lopt.layers import check_layer_options, equivariant_linear
from unf_lopt.optimizers.chains import spatial_apart
from unf_lopt.optimizers.frozen import Frozen, check_frozen
from unf_lopt.optimizers.functional import (
    ARRANGEMENTS,
    SOME_SPEC,
    Functional,
    deep_sets_functional,
)
from unf_lopt.optimizers.functional_optimizer import FunctionalKind, FunctionalLearnedOptimizer
from unf_lopt.optimizers.learned_optimizer import LearnedOptimizer, check_same_names
from unf_lopt.optimizers.mixed_family import made_mixed, mixed_step, unf_controller
from unf_lopt.optimizers.mixed_optimizer import MixedOptions
from unf_lopt.optimizers.step import StepOptions, step_options
from unf_lopt.symmetry import PermutationSpec


def unf(
    spec: PermutationSpec | None = None,
    mode: str = "paper",
    *,
    hidden_channels: int = 32,
    hidden_layers: int = 3,
    arrangement: str = "last",
    pooling: bool = True,
    fixed_axes: str = "exchangeable",
    bias: str = "tensor",
    initialization: str = "pointwise",
    balanced: bool = True,
    frozen: Frozen = (),
    **step: Any,
) -> LearnedOptimizer:
    """A learned optimizer whose functional is a universal neural functional.

    ``W ← W − α·(m^γ0 + β·f(W, ∇, {m^γi}, t))`` with f three pointwise layers of 32 channels
    with ReLU and one UNF layer (Zhou et al., arXiv 2402.05232, eq. 15 and appendix C.2).

    Args:
      spec: the weight space that it is bound to, see :func:`unf_lopt.infer_spec`.
      mode: ``"paper"`` or ``"released"``, see :func:`step_options`.
      hidden_channels: channels of the pointwise layers.
      hidden_layers: how many pointwise layers.
      arrangement: ``"last"`` (the paper's) or ``"front"``: one pointwise layer, the UNF layer, and
        beside the inputs ``hidden_layers`` pointwise ones of twice as many channels and one of
        zeros, see :func:`unf_lopt.optimizers.functional.front_functional`. Made for
        ``correction="rescaled"`` and few channels.
      pooling: whether the UNF layer takes means; else an entry sees itself in the place of every
        mean, with as many parameters: the control of an experiment.
      fixed_axes: of the last layer, see :class:`unf_lopt.UNFLinear`.
      bias: of the last layer.
      initialization: of the last layer; ``"pointwise"`` starts it as Deep Sets.
      balanced: of the last layer: a perturbation of theta changes the step about as much as that
        of Deep Sets, where it otherwise grows with the number of tensors. False is the paper's.
      frozen: paths (or their beginnings) of parameters that are not trained, or a function of the
        path that says so.
      **step: the other arguments of :func:`step_options`.

    Returns:
      The learned optimizer; unbound where no spec is given.

    Raises:
      ValueError: an option that is not one of these.
      TypeError: an unknown argument.
    """
    options = {
        **_widths(hidden_channels, hidden_layers),
        "arrangement": arrangement,
        "pooling": pooling,
        "fixed_axes": fixed_axes,
        "bias": bias,
        "initialization": initialization,
        "balanced": balanced,
    }
    return _made("unf", options, step_options(mode, **step), frozen, spec)


def nfn(
    spec: PermutationSpec | None = None,
    mode: str = "paper",
    *,
    hidden_channels: int = 32,
    hidden_layers: int = 3,
    bias: str = "tensor",
    initialization: str = "pointwise",
    balanced: bool = True,
    frozen: Frozen = (),
    **step: Any,
) -> LearnedOptimizer:
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
      TypeError: an unknown argument.
    """
    options = {
        **_widths(hidden_channels, hidden_layers),
        "bias": bias,
        "initialization": initialization,
        "balanced": balanced,
    }
    return _made("nfn", options, step_options(mode, **step), frozen, spec)


def unf_universal(
    spec: PermutationSpec | None = None,
    mode: str = "paper",
    *,
    hidden_channels: int = 32,
    hidden_layers: int = 3,
    arrangement: str = "last",
    pooling: bool = True,
    roles: bool = True,
    cross_terms: bool = False,
    fixed_axes: str = "exchangeable",
    bias: str = "tensor",
    initialization: str = "pointwise",
    balanced: bool = True,
    frozen: Frozen = (),
    **step: Any,
) -> LearnedOptimizer:
    """The same optimizer with one theta for every architecture.

    Its last layer has coefficients that depend on the kind of a basis map and not on the tensors
    (:class:`unf_lopt.layers.TiedLinear`), so theta is the same in number and shape for any task.
    Theta of one architecture, or of many (``train.task_families``), loads on any other. It can be
    initialized unbound; a step takes a binding.

    Args:
      spec: as of :func:`unf`.
      mode: as of :func:`unf`.
      hidden_channels: channels of the pointwise layers.
      hidden_layers: how many pointwise layers.
      arrangement: as of :func:`unf`.
      pooling: as of :func:`unf`.
      roles: whether f is told what a parameter is for (a bias, a first weight, a kernel, …) in
        eight more input channels, see :func:`unf_lopt.layers.role_features`.
      cross_terms: of the last layer, as of :class:`unf_lopt.layers.TiedLinear`.
      fixed_axes: of the last layer: ``"exchangeable"`` or ``"positional"``.
      bias: of the last layer: ``"tensor"`` (one for each rank) or ``"none"``.
      initialization: of the last layer.
      balanced: as of :func:`unf`.
      frozen: as of :func:`unf`.
      **step: the other arguments of :func:`step_options`.

    Raises:
      ValueError: an option that is not one of these.
      TypeError: an unknown argument.
    """
    options = {
        **_widths(hidden_channels, hidden_layers),
        "arrangement": arrangement,
        "pooling": pooling,
        "roles": roles,
        "cross_terms": cross_terms,
        "fixed_axes": fixed_axes,
        "bias": bias,
        "initialization": initialization,
        "balanced": balanced,
    }
    return _made("unf_universal", options, step_options(mode, **step), frozen, spec)


def deep_sets(
    spec: PermutationSpec | None = None,
    mode: str = "paper",
    *,
    hidden_channels: int = 32,
    hidden_layers: int = 3,
    frozen: Frozen = (),
    **step: Any,
) -> LearnedOptimizer:
    """The same optimizer with a pointwise last layer: it sees every entry by itself.

    Needs no spec; where one is given, parameters are checked against it. The other arguments are
    those of :func:`unf`.
    """
    options = _widths(hidden_channels, hidden_layers)
    return _made("deep_sets", options, step_options(mode, **step), frozen, spec)


def learned_sgdm(
    spec: PermutationSpec | None = None,
    mode: str = "paper",
    *,
    scalars: str = "log",
    frozen: Frozen = (),
    **step: Any,
) -> LearnedOptimizer:
    """SGD with momentum whose step size and decay are meta-learned: the optimizer with β = 0.

    With ``nominal="adam"`` it is Adam with learned α, β1, β2 and ε. The arguments are those of
    :func:`unf`. Its scalars are all that it learns, so they are learned in every mode.

    Raises:
      ValueError: an option that is not one of these, ``nominal="none"``: nothing is left; or a
        weight of the functional that there is not.
      TypeError: an unknown argument.
    """
    if step.get("initial_beta") is not None:
        raise ValueError("learned_sgdm(initial_beta=...): it has no functional, and so no β.")
    options = step_options(mode, scalars=scalars, **step)
    if options.nominal == "none":
        raise ValueError("learned_sgdm(nominal='none'): without a nominal term nothing is left.")
    options = dataclasses.replace(options, scalars=options.scalars.without("beta"))
    return _made("learned_sgdm", {}, options, frozen, spec)


def from_description(description: Mapping[str, Any]) -> LearnedOptimizer:
    """The learned optimizer that :meth:`LearnedOptimizer.description` describes, unbound.

    Args:
      description: plain data; nothing in it is executed.

    Raises:
      ValueError: it describes no optimizer of this version.
    """
    try:
        kind = "mixed" if "mixed" in description else "functional"
        own = ("mixed",) if kind == "mixed" else ("functional", "step")
        check_same_names(description, ("optimizer", "frozen", *own), "optimizer")
        name, frozen = description["optimizer"], tuple(description["frozen"])
        if name not in OPTIMIZERS or (kind == "functional") != (name in _KINDS):
            raise ValueError(f"there is no optimizer {name!r}; there are {sorted(OPTIMIZERS)}.")
        if kind == "mixed":
            return made_mixed(name, MixedOptions(**description["mixed"]), frozen)
        options = StepOptions.from_data(description["step"])
        return _made(name, description["functional"], options, frozen)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"no description of an optimizer of this version: {error}") from error


def _unf_functional(
    spec: PermutationSpec, output_channels: int, *, arrangement: str = "last", **options: Any
) -> Functional:
    return ARRANGEMENTS[arrangement](spec, output_channels=output_channels, **options)


def _nfn_functional(spec: PermutationSpec, output_channels: int, **options: Any) -> Functional:
    return _unf_functional(spatial_apart(spec), output_channels, **options)


def _universal_functional(
    spec: PermutationSpec, output_channels: int, **options: Any
) -> Functional:
    return _unf_functional(spec, output_channels, coefficients="tied", **options)


def _deep_sets_functional(
    spec: PermutationSpec | None, output_channels: int, **options: Any
) -> Functional:
    return deep_sets_functional(output_channels=output_channels, **options)


def _check_layer(
    *,
    balanced: bool,
    fixed_axes: str = "exchangeable",
    arrangement: str = "last",
    pooling: bool = True,
    **options: str,
) -> None:
    check_option("arrangement", arrangement, tuple(ARRANGEMENTS))
    check_layer_options(fixed_axes=fixed_axes, **options)
    if not pooling and fixed_axes == "free":
        raise ValueError(
            "pooling=False: fixed_axes='free' has no use for an entry that sees itself."
        )


def _check_tied_layer(
    *, roles: bool, arrangement: str = "last", pooling: bool = True, **options: Any
) -> None:
    check_option("arrangement", arrangement, tuple(ARRANGEMENTS))
    equivariant_linear(SOME_SPEC, 1, coefficients="tied", **options)  # says what is wrong


_KINDS = {
    "unf": FunctionalKind(_unf_functional, _check_layer, needs_spec=True, one_theta_for_all=False),
    "nfn": FunctionalKind(_nfn_functional, _check_layer, needs_spec=True, one_theta_for_all=False),
    "unf_universal": FunctionalKind(
        _universal_functional, _check_tied_layer, needs_spec=True, one_theta_for_all=True
    ),
    "deep_sets": FunctionalKind(_deep_sets_functional, needs_spec=False, one_theta_for_all=True),
    "learned_sgdm": FunctionalKind(None, needs_spec=False, one_theta_for_all=True),
}

# All of them, by the names that gin and files have.
OPTIMIZERS = {
    function.__name__: function
    for function in (
        unf,
        nfn,
        unf_universal,
        deep_sets,
        learned_sgdm,
        mixed_step,
        unf_controller,
    )
}


_WIDTHS = {"hidden_channels": 1, "hidden_layers": 0}  # the least of each


def _widths(hidden_channels: int, hidden_layers: int) -> dict[str, int]:
    given = {"hidden_channels": hidden_channels, "hidden_layers": hidden_layers}
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < _WIDTHS[name]:
            raise ValueError(f"{name}={value!r}: must be a whole number, {_WIDTHS[name]} or more.")
    return given


def _made(
    name: str,
    functional_options: Mapping[str, Any],
    options: StepOptions,
    frozen: Frozen,
    spec: PermutationSpec | None = None,
) -> LearnedOptimizer:
    """The optimizer, bound to the spec if there is one."""
    kind = _KINDS[name]
    kind.check(**{own: x for own, x in functional_options.items() if own not in _WIDTHS})
    lopt = FunctionalLearnedOptimizer(name, kind, functional_options, options, check_frozen(frozen))
    return lopt if spec is None else lopt.bind(spec)
