"""The learned optimizer: features, a functional of them, and the step, for the ecosystem."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
import optax

from unf_lopt import ecosystem
from unf_lopt.optimizers import features
from unf_lopt.optimizers.binding import SymmetryOptions, resolve_spec
from unf_lopt.optimizers.frozen import check_paths, trainable, trainable_spec, with_frozen
from unf_lopt.optimizers.functional import SOME_SPEC, Functional
from unf_lopt.optimizers.step import StepOptions
from unf_lopt.symmetry import PermutationSpec
from unf_lopt.symmetry._spec import path_string

PyTree = Any


class StepState(NamedTuple):
    """What a step hands to the next; nothing is kept of frozen parameters.

    Attributes:
      nominal: of the nominal term: its momenta, leaves ``[*shape]``.
      momenta: the six input momenta, leaves ``[*shape, 6]``; None without a functional.
      iteration: steps taken.
    """

    nominal: PyTree
    momenta: PyTree
    iteration: jax.Array


@flax.struct.dataclass
class OptimizerState:
    """State of one inner training run; what is kept of a parameter is not kept of frozen ones.

    Attributes:
      params: the task's parameters.
      state: the task's model state.
      nominal: of the nominal term: its momenta, leaves ``[*shape]``.
      momenta: the six input momenta, leaves ``[*shape, 6]``; None without a functional.
      iteration: steps taken.
    """

    params: PyTree
    state: PyTree
    nominal: PyTree
    momenta: PyTree
    iteration: jax.Array


class FunctionalOptimizer(ecosystem.Optimizer):
    """One inner optimizer: the step with given meta-parameters.

    ``W ← W − α·(d + λ·W)``, d of the nominal term and the functional
    ``f(W, ∇, {m^γi}, t)``: with the paper's, ``d = m^γ0 + β·f`` (Zhou et al., arXiv 2402.05232,
    eq. 15).
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
          ValueError: a frozen path is no parameter's.
        """
        own = self.step_state(params)
        return OptimizerState(
            params=params,
            state=model_state,
            nominal=own.nominal,
            momenta=own.momenta,
            iteration=own.iteration,
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
        updates, state = self.step(
            StepState(opt_state.nominal, opt_state.momenta, opt_state.iteration),
            opt_state.params,
            grad,
        )
        return OptimizerState(
            params=optax.apply_updates(opt_state.params, updates),
            state=model_state,
            nominal=state.nominal,
            momenta=state.momenta,
            iteration=state.iteration,
        )

    def step_state(self, params: PyTree) -> StepState:
        """What a step needs beside parameters and gradient, before the first one.

        Raises:
          SpecError: the parameters are not those of the weight space it is bound to.
          ValueError: a frozen path is no parameter's.
        """
        options = self._options
        paths = [path_string(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
        check_paths(paths, options.frozen)
        trained = trainable(params, options.frozen)
        if self._spec is not None:
            self._spec.flatten(trained)
        zeros, count = features.zero_momentum(trained), len(features.MOMENTUM_DECAYS)
        return StepState(
            nominal=options.nominal_term.init(zeros, options.momentum),
            momenta=features.zero_momentum(trained, count) if self._functional else None,
            iteration=jnp.asarray(0, jnp.int32),
        )

    def step(self, state: StepState, params: PyTree, grad: PyTree) -> tuple[PyTree, StepState]:
        """What one step adds to the parameters, zero where they are frozen, and the next state."""
        options = self._options
        scalars = options.scalars.values(self._theta["scalars"])
        trained = trainable(params, options.frozen)
        grad = options.gradient(trainable(grad, options.frozen))
        direction, nominal = options.nominal_term.update(
            state.nominal, grad, scalars, options.momentum
        )
        momenta = state.momenta
        if self._functional:
            momenta = features.update_momenta(momenta, grad, options.momentum)
            inputs = features.input_features(
                trained, grad, momenta, state.iteration, options.inputs
            )
            output = self._functional.apply(self._theta["functional"], inputs)
            direction = options.direction(direction, output, scalars["beta"])
        updates = options.updates(trained, direction, scalars["alpha"])
        if options.frozen:
            updates = with_frozen(updates, jax.tree.map(jnp.zeros_like, params))
        return updates, StepState(nominal, momenta, state.iteration + 1)

    def set_params(self, state: OptimizerState, params: PyTree) -> OptimizerState:
        """The state with other parameters."""
        return state.replace(params=params)


class FunctionalLearnedOptimizer(ecosystem.LearnedOptimizer):
    """A functional and a nominal term: theta is the one's parameters and the step's scalars.

    Args:
      name: what messages and logs call it.
      make_functional: makes the functional for a spec; None for no functional (β = 0).
      options: how the step is computed.
      symmetry: how the spec of a task is found, see :class:`SymmetryOptions`; None for a
        functional that needs no spec.
      universal: whether the functional's parameters are the same for every spec.
    """

    spec: PermutationSpec | None = None  # of the trainable parameters, once it is bound

    def __init__(
        self,
        name: str,
        make_functional: Callable[[PermutationSpec | None], Functional] | None,
        options: StepOptions,
        symmetry: SymmetryOptions | None,
        *,
        universal: bool = False,
    ):
        super().__init__()
        self._name = name
        self._make_functional = make_functional
        self._options = options
        self._symmetry = symmetry
        self._universal = universal
        self._functional: Functional | None = None
        if make_functional and symmetry is None:
            self._functional = make_functional(None)

    @property
    def name(self) -> str:
        """The name that gin selects it by."""
        return self._name

    @property
    def options(self) -> StepOptions:
        """How the step is computed."""
        return self._options

    @property
    def symmetry(self) -> SymmetryOptions | None:
        """How the spec of a task is found; None for an optimizer that needs no spec."""
        return self._symmetry

    @property
    def theta_spec(self) -> PermutationSpec | None:
        """The weight space that theta is for; None where it is for any or not bound yet."""
        return None if self._universal else self.spec

    @property
    def one_theta_for_all(self) -> bool:
        """Whether theta has the same number and shapes for every weight space."""
        return self._universal or self._symmetry is None

    def bind(self, task_family: Any) -> FunctionalLearnedOptimizer:
        """The same optimizer for the weight space of a task family, a task or a spec.

        The spec of a task is found from its loss, see :func:`resolve_spec`.

        Raises:
          TypeError: ``task_family`` is none of these.
          SpecError: the functional is not for such a weight space.
          SymmetryError: the spec is to be verified and is no symmetry of the loss.
          ValueError: what is frozen is no parameter, or all of them.
        """
        if self._symmetry is None:
            return self
        bound = copy.copy(self)
        spec = resolve_spec(task_family, self._symmetry)
        bound.spec = trainable_spec(spec, self._options.frozen)
        bound._functional = self._make_functional(bound.spec)
        return bound

    def init(self, key: jax.Array) -> PyTree:
        """Initial theta: ``{"scalars": …, "functional": …}``.

        Raises:
          ValueError: theta depends on the spec and the optimizer is not bound to one.
        """
        theta = {"scalars": self._options.scalars.init()}
        if self._make_functional:
            if self._universal:
                functional = self._make_functional(SOME_SPEC)
            else:
                functional = self._bound_functional()
            theta["functional"] = functional.init(key)
        return theta

    def opt_fn(self, theta: PyTree, is_training: bool = False) -> FunctionalOptimizer:
        """The inner optimizer with these meta-parameters.

        Raises:
          ValueError: the optimizer needs a spec and is not bound to one.
        """
        functional = self._bound_functional() if self._make_functional else None
        return FunctionalOptimizer(functional, self._options, theta, self.spec)

    def _bound_functional(self) -> Functional:
        if self._functional is None:
            raise ValueError(
                f"{self._name} is not bound to a weight space. Bind it: "
                f"{self._name}(task_family=...), {self._name}(spec=...) or "
                "lopt.bind(task_family); in a gin config: "
                f"{self._name}.task_family = %TASK_FAMILY."
            )
        return self._functional
