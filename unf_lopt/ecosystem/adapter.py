"""Optax transformations with meta-parameters as the ecosystem's learned optimizers.

What this module knows of an optimizer is the protocol :class:`TransformationMaker`; which
optimizers there are is not its business.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Collection
from typing import Any, Protocol

import flax.struct
import jax
import jax.numpy as jnp
import optax

from unf_lopt import ecosystem
from unf_lopt._types import PyTree
from unf_lopt.ecosystem.gin_decorator import configurable
from unf_lopt.ecosystem.task_spec import params_shapes, spec_of, verify_spec_of
from unf_lopt.symmetry import PermutationSpec, path_string

_LOG = logging.getLogger("unf_lopt")


class TransformationMaker(Protocol):
    """A learned optimizer as a maker of optax transformations, see `LearnedOptimizer`.

    `unf_lopt.optimizers.LearnedOptimizer` is one; so is any class with these names.
    """

    @property
    def name(self) -> str:
        """What gin selects it by."""
        ...

    @property
    def spec(self) -> PermutationSpec | None:
        """The weight space that it is bound to."""
        ...

    @property
    def theta_spec(self) -> PermutationSpec | None:
        """The weight space that theta is for."""
        ...

    @property
    def needs_spec(self) -> bool:
        """Whether a step needs the weight space."""
        ...

    @property
    def one_theta_for_all(self) -> bool:
        """Whether theta is the same for every weight space."""
        ...

    def bind(self, spec: PermutationSpec) -> TransformationMaker:
        """The same for a weight space."""
        ...

    def resolved(self, paths: Collection[str]) -> TransformationMaker:
        """The same, with functions of paths in its options replaced by what they say."""
        ...

    def init(self, key: jax.Array) -> PyTree:
        """Initial theta."""
        ...

    def transformation(
        self, theta: PyTree, num_steps: Any = None
    ) -> optax.GradientTransformationExtraArgs:
        """The optimizer with a theta."""
        ...


@dataclasses.dataclass(frozen=True)
class WeightSpace:
    """What an optimizer is bound to, and how the symmetry of a task is found.

    Attributes:
      source: a task family, a task or a spec; None for no binding.
      verify: whether a spec that was found is verified on numbers, see `unf_lopt.verify_spec`.
      randomness: what random draws in the loss do, see `unf_lopt.infer_spec`.
    """

    source: Any = None
    verify: bool = False
    randomness: str = "frozen"

    def spec(self) -> PermutationSpec:
        """The spec, found from the loss where the source is a task or a family of tasks.

        What was found is logged, at level INFO of the logger `unf_lopt`.

        Raises:
          TypeError: the source is none of these.
          SymmetryError: the spec is to be verified and is no symmetry of the loss.
        """
        if isinstance(self.source, PermutationSpec):
            return self.source
        family = self.task_family()
        spec = spec_of(family, randomness=self.randomness)
        _LOG.info("symmetry of %s:\n%s", family.name, spec)
        if self.verify:
            found = verify_spec_of(family, spec, randomness=self.randomness, maximality=False)
            _LOG.info("%s", found)
        return spec

    def paths(self) -> tuple[str, ...]:
        """The paths of the parameters."""
        if isinstance(self.source, PermutationSpec):
            return self.source.paths
        leaves = jax.tree_util.tree_leaves_with_path(params_shapes(self.task_family()))
        return tuple(path_string(path) for path, _ in leaves)

    def task_family(self) -> Any:
        """The task family.

        Raises:
          TypeError: the source is no task family and no task.
        """
        source = self.source
        if isinstance(source, ecosystem.Task):
            source = ecosystem.single_task_to_family(source)
        if not isinstance(source, ecosystem.TaskFamily):
            raise TypeError(
                f"expected a TaskFamily, a Task or a PermutationSpec; got {type(source).__name__}."
            )
        return source


@configurable()
def weight_space(
    task_family: Any = None,
    spec: PermutationSpec | None = None,
    verify: bool = False,
    randomness: str = "frozen",
) -> WeightSpace:
    """What every optimizer of a configuration is bound to.

    Args:
      task_family: a task family or a task: the spec is found from its loss.
      spec: a spec written by hand, see `spec_from_names`; wins over the task's.
      verify: whether a spec that was found is verified on numbers too, which takes seconds.
      randomness: what random draws in the loss do, see `unf_lopt.infer_spec`.
    """
    return WeightSpace(task_family if spec is None else spec, verify, randomness)


@flax.struct.dataclass
class InnerState:
    """State of one inner training run.

    Attributes:
      params: the task's parameters.
      state: the task's model state.
      optax_state: of the transformation.
      iteration: steps taken; the ecosystem's estimators read it.
    """

    params: PyTree
    state: PyTree
    optax_state: PyTree
    iteration: jax.Array


class TransformationOptimizer(ecosystem.Optimizer):
    """One inner optimizer: the transformation of a theta.

    Args:
      make: from the number of inner steps to the transformation.
      name: what results call it.
    """

    def __init__(self, make: Callable[[Any], optax.GradientTransformationExtraArgs], name: str):
        super().__init__()
        self._make = make
        self._name = name
        self._transformation = make(None)

    @property
    def name(self) -> str:
        """What results call it."""
        return self._name

    def init(
        self,
        params: PyTree,
        model_state: PyTree = None,
        num_steps: Any = None,
        key: jax.Array | None = None,
        **kwargs: Any,
    ) -> InnerState:
        """State before the first step; `key` is not used."""
        optax_state = self._make(num_steps).init(params)
        return InnerState(params, model_state, optax_state, jnp.zeros((), jnp.int32))

    def update(
        self,
        opt_state: InnerState,
        grad: PyTree,
        loss: jax.Array | None = None,
        model_state: PyTree = None,
        key: jax.Array | None = None,
        **kwargs: Any,
    ) -> InnerState:
        """One step; the loss reaches the transformation as `value`, `key` is not used."""
        updates, optax_state = self._transformation.update(
            grad, opt_state.optax_state, opt_state.params, value=loss
        )
        params = optax.apply_updates(opt_state.params, updates)
        return InnerState(params, model_state, optax_state, opt_state.iteration + 1)

    def set_params(self, state: InnerState, params: PyTree) -> InnerState:
        """The state with other parameters."""
        return dataclasses.replace(state, params=params)


class TransformationLearnedOptimizer(ecosystem.LearnedOptimizer):
    """A maker of transformations as the ecosystem's `LearnedOptimizer`.

    Args:
      maker: the learned optimizer.
      space: how it finds the spec of what it is bound to later.
    """

    def __init__(self, maker: TransformationMaker, space: WeightSpace | None = None):
        super().__init__()
        self._maker = maker
        self._space = space or WeightSpace()

    @property
    def maker(self) -> TransformationMaker:
        """The learned optimizer without the ecosystem."""
        return self._maker

    @property
    def name(self) -> str:
        """The name that gin selects it by."""
        return self._maker.name

    @property
    def spec(self) -> PermutationSpec | None:
        """The weight space of the trained parameters; None where it is not bound to one."""
        return self._maker.spec

    @property
    def theta_spec(self) -> PermutationSpec | None:
        """The weight space that theta is for; None where it is for any or not bound yet."""
        return self._maker.theta_spec

    @property
    def one_theta_for_all(self) -> bool:
        """Whether theta has the same number and shapes for every weight space."""
        return self._maker.one_theta_for_all

    def bind(self, source: Any) -> TransformationLearnedOptimizer:
        """The same optimizer for the weight space of a task family, a task or a spec.

        Raises:
          TypeError: `source` is none of these.
          SpecError: the optimizer is not for such a weight space.
          SymmetryError: the spec is to be verified and is no symmetry of the loss.
          ValueError: what is frozen is no parameter, or all of them.
        """
        space = dataclasses.replace(self._space, source=source)
        if self._maker.needs_spec:
            maker = self._maker.bind(space.spec())
        else:
            maker = self._maker.resolved(space.paths())
        return TransformationLearnedOptimizer(maker, space)

    def init(self, key: jax.Array) -> PyTree:
        """Initial theta.

        Raises:
          ValueError: theta depends on the spec and the optimizer is not bound to one.
        """
        return self._maker.init(key)

    def opt_fn(self, theta: PyTree, is_training: bool = False) -> TransformationOptimizer:
        """The inner optimizer with these meta-parameters.

        Raises:
          ValueError: the optimizer needs a spec and is not bound to one.
        """
        return TransformationOptimizer(
            lambda num_steps: self._maker.transformation(theta, num_steps), self.name
        )


def learned_optimizer(
    maker: TransformationMaker, source: Any = None, **options: Any
) -> TransformationLearnedOptimizer:
    """A learned optimizer for the ecosystem.

    Args:
      maker: such as `unf_lopt.optimizers.unf()`.
      source: a task family, a task or a spec to bind it to; None to bind it later.
      **options: `verify` and `randomness` of `WeightSpace`.
    """
    lopt = TransformationLearnedOptimizer(maker, WeightSpace(source, **options))
    return lopt if source is None else lopt.bind(source)


def maker_of(lopt: Any) -> Any:
    """What an adapted optimizer was made of, without the ecosystem; any other is that itself."""
    return lopt.maker if isinstance(lopt, TransformationLearnedOptimizer) else lopt
