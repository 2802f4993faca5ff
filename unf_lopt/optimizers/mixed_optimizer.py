"""Learned optimizers that mix directions: a few scalars, and a controller of the weight space."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from unf_lopt._options import check_option
from unf_lopt._types import PyTree
from unf_lopt.optimizers.controller import Controller
from unf_lopt.optimizers.entry_functional import entry_functional
from unf_lopt.optimizers.frozen import Frozen, trainable, with_frozen
from unf_lopt.optimizers.functional import Functional
from unf_lopt.optimizers.learned_optimizer import LearnedOptimizer, frozen_data
from unf_lopt.optimizers.matrices import matrices_of
from unf_lopt.optimizers.mixed_step import DIRECTIONS, MixedState, MixedStep, count_outputs
from unf_lopt.optimizers.mixed_theta import initial_theta
from unf_lopt.optimizers.orthogonalization import POLYNOMIALS, Orthogonalization
from unf_lopt.optimizers.transformation import on_any_mesh, transformation_with_extra_args
from unf_lopt.symmetry import PermutationSpec


@dataclasses.dataclass(frozen=True)
class MixedOptions:
    """How a mixed step is computed.

    Attributes:
      controller: channels of the controller's layers; 0 for none.
      functional: channels of the functional that turns the direction of every entry; 0 for none.
      rows_and_columns: whether the controller gives step sizes to rows and columns too.
      pooling: whether controller and functional see means over the weight space; else tensors and
        entries see themselves in their place, with as many parameters.
      horizon_features: whether the step depends on how many steps there will be.
      hypergradient: whether every tensor remembers a factor of its step size, which grows while
        its gradients agree; see :mod:`unf_lopt.optimizers.hypergradient`.
      extents: whether step sizes are powers of the rows, the columns and the window of matrices
        and of the number of tensors, which a controller sees too.
      learned_weight_decay: whether the weight decay of matrices is learned, beside a fixed one.
      directions: names in `mixed_step.DIRECTIONS`, which are mixed.
      newton_schulz_steps: how exactly matrices are orthogonalized, where they are.
      dense_newton_schulz_steps: how exactly those that are neither windows of convolutions nor
        heads; None for as the others.
      newton_schulz: its coefficients, ``"quintic"`` or ``"minimax"``.
      orthogonalized_rank: the largest of the subspaces in which matrices of at least 32 rows and
        columns are orthogonalized; None to orthogonalize all wholly.
      heads: whether the heads of an attention are matrices of their own.
      gradient_clip: largest Euclidean norm of the whole gradient; None for no limit.
      weight_decay: λ in ``W ← W − α·(d + λ·W)``, α the step size of the tensor.

    Raises:
      ValueError: at construction, for a number out of its range.
    """

    controller: int = 0
    functional: int = 0
    rows_and_columns: bool = False
    pooling: bool = True
    horizon_features: bool = True
    hypergradient: bool = False
    extents: bool = False
    learned_weight_decay: bool = False
    directions: tuple[str, ...] = ("adam", "normalized")
    newton_schulz_steps: int = 5
    dense_newton_schulz_steps: int | None = None
    newton_schulz: str = "quintic"
    orthogonalized_rank: int | None = None
    heads: bool = True
    gradient_clip: float | None = 1.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        least_of = {
            "controller": 0,
            "functional": 0,
            "newton_schulz_steps": 1,
            "dense_newton_schulz_steps": 1,
            "orthogonalized_rank": 1,
        }
        optional = ("dense_newton_schulz_steps", "orthogonalized_rank")
        for name, least in least_of.items():
            value = getattr(self, name)
            if value is None and name in optional:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name}={value!r}: must be a whole number, {least} or more.")
        check_option("newton_schulz", self.newton_schulz, POLYNOMIALS)
        object.__setattr__(self, "directions", _directions(self.directions))
        if self.gradient_clip is not None and not self.gradient_clip > 0:
            raise ValueError(f"gradient_clip={self.gradient_clip}: must be positive, or None.")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay={self.weight_decay}: must not be negative.")

    @property
    def orthogonalization(self) -> Orthogonalization:
        """How exactly matrices are orthogonalized, where they are."""
        return Orthogonalization(
            self.newton_schulz_steps,
            self.dense_newton_schulz_steps,
            self.newton_schulz,
            self.orthogonalized_rank,
        )


class MixedLearnedOptimizer(LearnedOptimizer):
    """``W ← W − α·Σᵢ wᵢ·dᵢ``, see :class:`MixedStep`; one theta for every architecture.

    Theta is ``{"scalars": …}``, with ``"controller"`` and ``"functional"`` where there are these.
    It starts as an optimizer that was set by hand.

    Args:
      name: what messages, files and gin call it.
      options: how the step is computed.
      frozen: parameters that are not trained, see :func:`frozen.is_frozen`.
    """

    def __init__(self, name: str, options: MixedOptions, frozen: Frozen = ()):
        super().__init__(name, frozen)
        self._options = options
        self._controller = None
        if options.controller:
            self._controller = Controller(
                options.controller,
                count_outputs(
                    options.directions, options.hypergradient, options.learned_weight_decay
                ),
                options.pooling,
                options.rows_and_columns,
                options.hypergradient,
                options.extents,
            )
        self._step: MixedStep | None = None

    @property
    def needs_spec(self) -> bool:
        """A step needs the weight space."""
        return True

    @property
    def one_theta_for_all(self) -> bool:
        """Theta is the same for every weight space."""
        return True

    @property
    def needs_num_steps(self) -> bool:
        """Whether a step depends on the number of steps in all."""
        return self._options.horizon_features

    @property
    def options(self) -> MixedOptions:
        """How the step is computed."""
        return self._options

    def description(self) -> dict[str, Any]:
        """Name and every option, as plain data."""
        return {
            "optimizer": self.name,
            "mixed": {
                **dataclasses.asdict(self._options),
                "directions": list(self._options.directions),
            },
            "frozen": frozen_data(self.frozen, self.name),
        }

    def init(self, key: jax.Array) -> PyTree:
        """Initial theta."""
        return initial_theta(
            key,
            self._options.directions,
            self._controller,
            self._functional(None),
            follows_hypergradient=self._options.hypergradient,
            sees_extents=self._options.extents,
            decays=self._options.learned_weight_decay,
        )

    def transformation(
        self, theta: PyTree, num_steps: Any = None
    ) -> optax.GradientTransformationExtraArgs:
        """The optimizer with these meta-parameters.

        ``update`` takes the loss as ``value=``, which a controller needs.

        Args:
          theta: from :meth:`init`, or trained.
          num_steps: how many steps there will be; ``init`` of the transformation needs it.

        Raises:
          ValueError: the optimizer is not bound to a weight space.
        """
        self._require_spec()

        def init(params: PyTree) -> MixedState:
            return self._init_state(params, num_steps)

        def update(
            grad: PyTree,
            state: MixedState,
            params: PyTree = None,
            *,
            value: Any = None,
            **extra_args: Any,
        ) -> tuple[PyTree, MixedState]:
            return on_any_mesh(self._update)(theta, grad, state, params, value)

        return transformation_with_extra_args(init, update)

    def _bound(self) -> None:
        self._step = MixedStep(
            matrices_of(self._require_spec(), heads=self._options.heads),
            self._options.directions,
            self._controller,
            self._options.orthogonalization,
            self._functional(self._require_spec()),
            self._options.horizon_features,
            self._options.gradient_clip,
            self._options.hypergradient,
            self._options.extents,
            self._options.learned_weight_decay,
        )

    def _functional(self, spec: PermutationSpec | None) -> Functional | None:
        channels = self._options.functional
        if not channels:
            return None
        return entry_functional(spec, channels, pooling=self._options.pooling)

    def _bound_step(self) -> MixedStep:
        if self._step is None:
            raise self._not_bound()
        return self._step

    def _init_state(self, params: PyTree, num_steps: Any) -> MixedState:
        if num_steps is None and not self.needs_num_steps:
            num_steps = 1
        if num_steps is None:
            raise ValueError(
                f"{self.name} plans its steps: say how many there will be, "
                "to_optax(..., num_steps=1000) or opt.init(params, num_steps=1000)."
            )
        is_none = isinstance(num_steps, bool | str)
        if is_none or (isinstance(num_steps, int | float) and not num_steps >= 1):
            raise ValueError(f"{self.name}: num_steps={num_steps!r} must be a number, 1 or more.")
        own, trained = self._starting(params)
        return own._bound_step().init(trained, num_steps)

    def _update(
        self, theta: PyTree, grad: PyTree, state: MixedState, params: PyTree, loss: Any
    ) -> tuple[PyTree, MixedState]:
        self._require_params(params)
        if self._controller is not None and loss is None:
            raise ValueError(
                f"{self.name} reads the loss: call update(gradient, state, params, value=loss)."
            )
        if not isinstance(state, MixedState):
            raise self._not_own_state(state)
        trained = trainable(params, self.frozen)
        if not jax.tree.leaves(trained):
            return jax.tree.map(jnp.zeros_like, params), state
        grad = trainable(grad, self.frozen)
        step = self._for_present(trained)._bound_step()
        updates, state = step.update(
            theta, grad, state, trained, loss, weight_decay=self._options.weight_decay
        )
        return with_frozen(updates, jax.tree.map(jnp.zeros_like, params)), state


def _directions(names: Any) -> tuple[str, ...]:
    """Directions by their names, one or more, each once."""
    if isinstance(names, str) or not names:
        raise ValueError(f"directions={names!r}: must be names, such as ('adam', 'normalized').")
    for name in names:
        check_option("directions", name, DIRECTIONS)
    if len(set(names)) < len(names):
        raise ValueError(f"directions={tuple(names)}: each can be named once.")
    return tuple(names)
