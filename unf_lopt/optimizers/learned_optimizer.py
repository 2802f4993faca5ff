"""A learned optimizer: meta-parameters, theta, and the optax transformation that they make."""

from __future__ import annotations

import abc
import copy
from collections.abc import Collection, Mapping
from typing import Any, Self

import jax
import optax

from unf_lopt._types import PyTree
from unf_lopt.optimizers.frozen import (
    Frozen,
    check_paths,
    check_real,
    frozen_paths,
    present_spec,
    trainable,
    trainable_spec,
    tree_paths,
)
from unf_lopt.symmetry import PermutationSpec


class LearnedOptimizer(abc.ABC):
    """What all learned optimizers of this package are: a name, options, theta and a step.

    Args:
      name: what messages, files and gin call it.
      frozen: parameters that are not trained, see :func:`unf_lopt.optimizers.frozen.is_frozen`.
    """

    def __init__(self, name: str, frozen: Frozen = ()):
        self._name = name
        self._frozen = frozen
        self._spec: PermutationSpec | None = None
        self._whole_spec: PermutationSpec | None = None

    @property
    def name(self) -> str:
        """What messages, files and gin call it."""
        return self._name

    @property
    def frozen(self) -> Frozen:
        """The parameters that are not trained; paths, once it is bound."""
        return self._frozen

    @property
    def spec(self) -> PermutationSpec | None:
        """The weight space of the trained parameters; None where it is not bound to one."""
        return self._spec

    @property
    def whole_spec(self) -> PermutationSpec | None:
        """The weight space with the parameters that are frozen; what it was bound to."""
        return self._whole_spec

    @property
    @abc.abstractmethod
    def needs_spec(self) -> bool:
        """Whether a step needs the weight space."""

    @property
    @abc.abstractmethod
    def one_theta_for_all(self) -> bool:
        """Whether theta has the same number and shapes for every weight space."""

    @property
    def theta_spec(self) -> PermutationSpec | None:
        """The weight space that theta is for; None where it is for any, or not bound yet."""
        return None if self.one_theta_for_all else self._spec

    @property
    def needs_num_steps(self) -> bool:
        """Whether a step depends on the number of steps in all."""
        return False

    @abc.abstractmethod
    def init(self, key: jax.Array) -> PyTree:
        """Initial theta.

        Raises:
          ValueError: theta depends on the weight space and the optimizer is not bound to one.
        """

    @abc.abstractmethod
    def description(self) -> dict[str, Any]:
        """Name and every option as plain data, see :func:`unf_lopt.optimizers.from_description`.

        Raises:
          ValueError: an option is a function and it is not known yet what it says.
        """

    @abc.abstractmethod
    def transformation(
        self, theta: PyTree, num_steps: Any = None
    ) -> optax.GradientTransformationExtraArgs:
        """The optimizer with these meta-parameters, as an optax gradient transformation.

        ``update(gradient, state, params)`` gives what is added to the parameters, at least in
        float32; nothing is to be scaled by a learning rate any more. Every part of the state that
        has a number for each entry of the parameters is a tree like them.

        Args:
          theta: from :meth:`init`, or trained.
          num_steps: how many steps there will be, for steps that depend on it; may be traced.

        Raises:
          ValueError: it needs a weight space and is not bound to one, or needs ``num_steps``.
        """

    def bind(self, spec: PermutationSpec) -> Self:
        """The same optimizer for a weight space.

        Raises:
          SpecError: it is not for such a weight space.
          ValueError: what is frozen is no parameter, or all of them.
        """
        bound = self.resolved(spec.paths)
        bound._whole_spec = spec
        bound._spec = trainable_spec(spec, bound._frozen)
        bound._bound()
        return bound

    def resolved(self, paths: Collection[str]) -> Self:
        """The same optimizer, with a function for ``frozen`` replaced by the paths that it names.

        Args:
          paths: of the parameters.
        """
        twin = copy.copy(self)
        twin._frozen = frozen_paths(self._frozen, paths)
        return twin

    @abc.abstractmethod
    def _bound(self) -> None:
        """Called once the spec is there, for what depends on it."""

    def _starting(self, params: PyTree) -> tuple[Self, PyTree]:
        """For the state before the first step: the optimizer of what is there, and what is trained.

        Raises:
          SpecError: the parameters do not fit the spec.
          ValueError: a path freezes none of them, theta is for more parameters than there are, or
            one is complex.
        """
        if paths := tree_paths(params):  # optax asks for the state of a placeholder without leaves
            check_paths(paths, self.frozen)
        trained = trainable(params, self.frozen)
        check_real(trained, self.name)
        own = self._for_present(trained)
        if own.spec is not None and jax.tree.leaves(trained):
            own.spec.flatten(trained)
        return own, trained

    def _for_present(self, params: PyTree) -> Self:
        """The optimizer for a tree in which some parameters are missing, as optax's masks leave it.

        Raises:
          ValueError: theta is for all parameters; says how to train some.
        """
        if self._spec is None:
            return self
        paths = tree_paths(params)
        missing = [path for path in self._spec.paths if path not in paths]
        if not missing or len(missing) == len(self._spec.paths) or paths - {*self._spec.paths}:
            return self  # a tree of another kind: flattening says what is wrong
        if self.theta_spec is not None:
            raise ValueError(
                f"{self.name} is bound to a weight space that has {missing}, which the tree of "
                "parameters does not (optax.masked and optax.partition leave out what they do not "
                f"train). Freeze them in the optimizer, {self.name}(frozen={tuple(missing)!r}), or "
                "infer the spec of the trained parameters alone, with the others closed over."
            )
        twin = copy.copy(self)
        twin._spec = present_spec(self._spec, paths)
        twin._bound()
        return twin

    def _require_params(self, params: PyTree) -> None:
        if params is None:
            raise ValueError(
                f"{self.name} reads the parameters: call update(gradient, state, params)."
            )

    def _not_own_state(self, state: Any) -> TypeError:
        return TypeError(
            f"{self.name}: the state is a {type(state).__name__} of another optimizer; begin with "
            "init(params) of this one."
        )

    def _require_spec(self) -> PermutationSpec:
        if self._spec is None:
            raise self._not_bound()
        return self._spec

    def _not_bound(self) -> ValueError:
        return ValueError(
            f"{self.name} is not bound to a weight space. Bind it: {self.name}(spec=...) or "
            "lopt.bind(spec), with the spec of unf_lopt.infer_spec(loss_fn, params, ...); in a "
            "gin config: weight_space.task_family = %TASK_FAMILY."
        )


def frozen_data(frozen: Frozen, name: str) -> list[str]:
    """What is frozen, as data.

    Raises:
      ValueError: it is a function that has not been asked about the parameters yet.
    """
    if callable(frozen):
        raise ValueError(
            f"{name}: frozen is a function, and it is not known which parameters it names. Bind "
            "the optimizer to a weight space before theta is saved, or give paths."
        )
    return list(frozen)


def check_same_names(given: Mapping[str, Any], expected: Collection[str], what: str) -> None:
    """Refuses options that are missing or unknown.

    Raises:
      ValueError: naming them.
    """
    if different := sorted(given.keys() ^ set(expected)):
        raise ValueError(f"{what}: options {different} are missing or unknown.")
