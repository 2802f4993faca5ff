"""The paper's kind of learned optimizer: a functional that corrects a nominal step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from unf_lopt._types import PyTree
from unf_lopt.optimizers import features
from unf_lopt.optimizers.frozen import Frozen, trainable, with_frozen
from unf_lopt.optimizers.functional import SOME_SPEC, Functional
from unf_lopt.optimizers.learned_optimizer import LearnedOptimizer, frozen_data
from unf_lopt.optimizers.step import StepOptions
from unf_lopt.optimizers.transformation import on_any_mesh, transformation_with_extra_args
from unf_lopt.symmetry import PermutationSpec


class StepState(NamedTuple):
    """What a step hands to the next; nothing is kept of frozen parameters.

    Attributes:
      nominal: of the nominal term: trees like the parameters.
      momenta: the six input momenta, trees like the parameters; None without a functional.
      iteration: steps taken.
    """

    nominal: PyTree
    momenta: tuple[PyTree, ...] | None
    iteration: jax.Array


@dataclasses.dataclass(frozen=True)
class FunctionalKind:
    """How the functional of an optimizer is made.

    Attributes:
      make: ``make(spec, output_channels, **options)`` gives the functional; None for no
        functional (β = 0).
      check: ``check(**options)`` refuses options of its layers that there are not.
      needs_spec: whether the functional needs the weight space.
      one_theta_for_all: whether its parameters are the same for every weight space.
    """

    make: Callable[..., Functional] | None
    check: Callable[..., None] = lambda **options: None
    _: dataclasses.KW_ONLY
    needs_spec: bool
    one_theta_for_all: bool


class FunctionalLearnedOptimizer(LearnedOptimizer):
    """``W ← W − α·(d + λ·W)``, d of a nominal term and a functional f(W, ∇, {m^γi}, t).

    With the paper's terms ``d = m^γ0 + β·f`` (Zhou et al., arXiv 2402.05232, eq. 15). Theta is
    ``{"scalars": …, "functional": …}``: the step's scalars and the functional's parameters.

    Args:
      name: what messages, files and gin call it.
      kind: how its functional is made.
      functional_options: the functional's options by name, plain data.
      options: how the step is computed.
      frozen: parameters that are not trained, see :func:`frozen.is_frozen`.
    """

    def __init__(
        self,
        name: str,
        kind: FunctionalKind,
        functional_options: Mapping[str, Any],
        options: StepOptions,
        frozen: Frozen = (),
    ):
        super().__init__(name, frozen)
        self._kind = kind
        self._functional_options = dict(functional_options)
        self._options = options
        self._functional: Functional | None = None
        if kind.make and not kind.needs_spec:
            self._functional = self._made(kind.make, None)

    @property
    def options(self) -> StepOptions:
        """How the step is computed."""
        return self._options

    @property
    def needs_spec(self) -> bool:
        """Whether the functional needs the weight space."""
        return self._kind.needs_spec

    @property
    def one_theta_for_all(self) -> bool:
        """Whether theta has the same number and shapes for every weight space."""
        return self._kind.one_theta_for_all

    def description(self) -> dict[str, Any]:
        """Name and every option, as plain data."""
        return {
            "optimizer": self.name,
            "functional": self._functional_options,
            "step": self._options.data(),
            "frozen": frozen_data(self.frozen, self.name),
        }

    def init(self, key: jax.Array) -> PyTree:
        """Initial theta: ``{"scalars": …, "functional": …}``.

        Raises:
          ValueError: theta depends on the spec and the optimizer is not bound to one.
        """
        theta = {"scalars": self._options.scalars.init()}
        if self._kind.make:
            if self.needs_spec and self.one_theta_for_all:
                functional = self._made(self._kind.make, SOME_SPEC)
            else:
                functional = self._bound_functional()
            theta["functional"] = functional.init(key)
        return theta

    def transformation(
        self, theta: PyTree, num_steps: Any = None
    ) -> optax.GradientTransformationExtraArgs:
        """The optimizer with these meta-parameters; ``num_steps`` is not used.

        Raises:
          ValueError: the optimizer needs a spec and is not bound to one.
        """
        if self._kind.make:
            self._bound_functional()

        def update(
            grad: PyTree, state: StepState, params: PyTree = None, **extra_args: Any
        ) -> tuple[PyTree, StepState]:
            return on_any_mesh(self._step)(theta, grad, state, params)

        return transformation_with_extra_args(self._init_state, update)

    def _made(self, make: Callable[..., Functional], spec: PermutationSpec | None) -> Functional:
        channels = self._options.nominal_term.output_channels
        return make(spec, channels, **self._functional_options)

    def _bound(self) -> None:
        if self._kind.make and self.needs_spec:
            self._functional = self._made(self._kind.make, self._spec)

    def _bound_functional(self) -> Functional:
        if self._functional is None:
            raise self._not_bound()
        return self._functional

    def _init_state(self, params: PyTree) -> StepState:
        _, trained = self._starting(params)
        zeros = features.zero_momentum(trained)
        return StepState(
            nominal=self._options.nominal_term.init(zeros, self._options.momentum),
            momenta=features.zero_momenta(trained) if self._kind.make else None,
            iteration=jnp.asarray(0, jnp.int32),
        )

    def _step(
        self, theta: PyTree, grad: PyTree, state: StepState, params: PyTree
    ) -> tuple[PyTree, StepState]:
        """What one step adds to the parameters, zero where they are frozen, and the next state."""
        self._require_params(params)
        if not isinstance(state, StepState):
            raise self._not_own_state(state)
        options = self._options
        scalars = options.scalars.values(theta["scalars"])
        trained = trainable(params, self.frozen)
        grad = options.gradient(trainable(grad, self.frozen))
        direction, nominal = options.nominal_term.update(
            state.nominal, grad, scalars, options.momentum
        )
        momenta = state.momenta
        if self._kind.make and jax.tree.leaves(trained):
            if momenta is None:
                raise ValueError(f"{self.name}: the state is of an optimizer without a functional.")
            momenta = features.update_momenta(momenta, grad, options.momentum)
            inputs = features.input_features(
                trained, grad, momenta, state.iteration, options.inputs
            )
            functional = self._for_present(trained)._bound_functional()
            output = functional.apply(theta["functional"], inputs)
            direction = options.direction(direction, output, scalars["beta"])
        updates = options.updates(trained, direction, scalars["alpha"])
        updates = with_frozen(updates, jax.tree.map(jnp.zeros_like, params))
        return updates, StepState(nominal, momenta, state.iteration + 1)
