"""The learned optimizer of the paper's equation 15, with any functional in it."""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import flax
import jax
import jax.numpy as jnp

from unf_lopt import ecosystem
from unf_lopt.optimizers import features
from unf_lopt.optimizers.functional import Functional
from unf_lopt.optimizers.scalars import StepScalars
from unf_lopt.symmetry import PermutationSpec

PyTree = Any

_LOG = logging.getLogger("unf_lopt")


@dataclasses.dataclass(frozen=True)
class StepOptions:
    """How the step is computed.

    Attributes:
      scalars: α, β and γ0.
      momentum: ``"sum"``: m ← γ·m + ∇; ``"average"``: m ← γ·m + (1 − γ)·∇.
      inputs: ``"raw"``, ``"tensor_rms"`` or ``"channel_rms"``, see
        :func:`features.input_features`.
    """

    scalars: StepScalars
    momentum: str = "sum"
    inputs: str = "raw"

    def __post_init__(self) -> None:
        if self.momentum not in features.MOMENTA:
            raise ValueError(f"momentum={self.momentum!r}: choose one of {features.MOMENTA}.")
        if self.inputs not in features.INPUTS:
            raise ValueError(f"inputs={self.inputs!r}: choose one of {features.INPUTS}.")


@flax.struct.dataclass
class OptimizerState:
    """State of one inner training run.

    Attributes:
      params: the task's parameters.
      state: the task's model state.
      nominal_momentum: m^γ0, leaves ``[*shape]``.
      momenta: the six input momenta, leaves ``[*shape, 6]``; None without a functional.
      iteration: steps taken.
    """

    params: PyTree
    state: PyTree
    nominal_momentum: PyTree
    momenta: PyTree
    iteration: jax.Array


class ResidualOptimizer(ecosystem.Optimizer):
    """One inner optimizer: equation 15 with given meta-parameters.

    ``W ← W − α·(m^γ0 + β·f(W, ∇, {m^γi}, t))`` (Zhou et al., arXiv 2402.05232, eq. 15).
    """

    def __init__(
        self,
        functional: Functional | None,
        options: StepOptions,
        theta: PyTree,
        spec: PermutationSpec | None = None,
    ):
        super().__init__()
        self._spec = spec
        self._functional = functional
        self._options = options
        self._theta = theta

    def init(
        self,
        params: PyTree,
        model_state: PyTree = None,
        num_steps: int | None = None,
        key: jax.Array | None = None,
        **kwargs: Any,
    ) -> OptimizerState:
        """State before the first step; ``num_steps`` and ``key`` are not used.

        Raises:
          SpecError: the parameters are not those of the weight space it is bound to.
        """
        if self._spec is not None:
            self._spec.flatten(params)
        count = len(features.MOMENTUM_DECAYS)
        return OptimizerState(
            params=params,
            state=model_state,
            nominal_momentum=features.zero_momentum(params),
            momenta=features.zero_momentum(params, count) if self._functional else None,
            iteration=jnp.asarray(0, jnp.int32),
        )

    def update(
        self,
        opt_state: OptimizerState,
        grad: PyTree,
        loss: jax.Array | None = None,
        model_state: PyTree = None,
        key: jax.Array | None = None,
        **kwargs: Any,
    ) -> OptimizerState:
        """One step; ``loss`` and ``key`` are not used."""
        kind = self._options.momentum
        scalars = self._options.scalars.values(self._theta["scalars"])
        nominal = features.update_momentum(opt_state.nominal_momentum, grad, scalars["gamma"], kind)
        direction, momenta = nominal, opt_state.momenta
        if self._functional:
            momenta = features.update_momentum(momenta, grad, features.MOMENTUM_DECAYS, kind)
            inputs = features.input_features(
                opt_state.params, grad, momenta, opt_state.iteration, self._options.inputs
            )
            correction = self._functional.apply(self._theta["functional"], inputs)
            direction = jax.tree.map(
                lambda m, f: m + scalars["beta"] * f[..., 0], nominal, correction
            )
        params = jax.tree.map(
            lambda w, d: (w - scalars["alpha"] * d).astype(w.dtype), opt_state.params, direction
        )
        return OptimizerState(
            params=params,
            state=model_state,
            nominal_momentum=nominal,
            momenta=momenta,
            iteration=opt_state.iteration + 1,
        )

    def set_params(self, state: OptimizerState, params: PyTree) -> OptimizerState:
        """The state with other parameters."""
        return state.replace(params=params)


class ResidualLearnedOptimizer(ecosystem.LearnedOptimizer):
    """A functional that corrects momentum SGD: theta is its parameters and the scalars.

    Args:
      name: what messages and logs call it.
      make_functional: makes the functional for a spec; None for no functional (β = 0).
      options: how the step is computed.
      symmetry: how the spec of a task is found, see :class:`SymmetryOptions`; None for a
        functional that needs no spec.
    """

    spec: PermutationSpec | None = None  # the weight space, once it is bound to one

    def __init__(
        self,
        name: str,
        make_functional: Callable[[PermutationSpec | None], Functional] | None,
        options: StepOptions,
        symmetry: SymmetryOptions | None,
    ):
        super().__init__()
        self._name = name
        self._make_functional = make_functional
        self._options = options
        self._symmetry = symmetry
        self._functional: Functional | None = None
        if make_functional and symmetry is None:
            self._functional = make_functional(None)

    @property
    def name(self) -> str:
        """The name that gin selects it by."""
        return self._name

    def bind(self, task_family: Any) -> ResidualLearnedOptimizer:
        """The same optimizer for the weight space of a task family, a task or a spec.

        The spec of a task is found from its loss, see :func:`resolve_spec`.

        Raises:
          TypeError: ``task_family`` is none of these.
          SymmetryError: the spec is to be verified and is no symmetry of the loss.
        """
        if self._symmetry is None:
            return self
        bound = copy.copy(self)
        bound.spec = resolve_spec(task_family, self._symmetry)
        bound._functional = self._make_functional(bound.spec)
        return bound

    def init(self, key: jax.Array) -> PyTree:
        """Initial theta: ``{"scalars": …, "functional": …}``.

        Raises:
          ValueError: the optimizer needs a spec and is not bound to one.
        """
        theta = {"scalars": self._options.scalars.init()}
        if self._make_functional:
            theta["functional"] = self._bound_functional().init(key)
        return theta

    def opt_fn(self, theta: PyTree, is_training: bool = False) -> ResidualOptimizer:
        """The inner optimizer with these meta-parameters.

        Raises:
          ValueError: the optimizer needs a spec and is not bound to one.
        """
        functional = self._bound_functional() if self._make_functional else None
        return ResidualOptimizer(functional, self._options, theta, self.spec)

    def _bound_functional(self) -> Functional:
        if self._functional is None:
            raise ValueError(
                f"{self._name} is not bound to a weight space. Bind it: "
                f"{self._name}(task_family=...), {self._name}(spec=...) or "
                "lopt.bind(task_family); in a gin config: "
                f"{self._name}.task_family = %TASK_FAMILY."
            )
        return self._functional


@dataclasses.dataclass(frozen=True)
class SymmetryOptions:
    """How the spec of a task is found.

    Attributes:
      verify: whether it is verified on numbers, see :func:`unf_lopt.verify_spec`.
      randomness: see :func:`unf_lopt.infer_spec`.
    """

    verify: bool = False
    randomness: str = "frozen"


def resolve_spec(source: Any, options: SymmetryOptions | None = None) -> PermutationSpec:
    """The spec of a task family or a task, found from its loss, or the spec itself.

    What was found is logged, at level INFO of the logger ``unf_lopt``.

    Raises:
      TypeError: for anything else.
      SymmetryError: the spec is to be verified and is no symmetry of the loss.
    """
    options = options or SymmetryOptions()
    if isinstance(source, PermutationSpec):
        return source
    if isinstance(source, ecosystem.Task):
        source = ecosystem.single_task_to_family(source)
    if not isinstance(source, ecosystem.TaskFamily):
        raise TypeError(
            f"expected a TaskFamily, a Task or a PermutationSpec; got {type(source).__name__}."
        )
    spec = ecosystem.spec_of(source, randomness=options.randomness)
    _LOG.info("symmetry of %s:\n%s", source.name, spec)
    if options.verify:
        found = ecosystem.verify_spec_of(
            source, spec, randomness=options.randomness, maximality=False
        )
        _LOG.info("%s", found)
    return spec
