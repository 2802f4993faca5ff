"""From a task of the ecosystem to the permutation symmetry of its parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from typing import Any

import jax

from unf_lopt import symmetry
from unf_lopt._types import PyTree
from unf_lopt.ecosystem import data
from unf_lopt.ecosystem.gin_decorator import configurable


@dataclasses.dataclass(frozen=True)
class FamilyLoss:
    """The loss of a task family as :func:`unf_lopt.infer_spec` takes it.

    Attributes:
      loss_fn: ``loss_fn(params, state, key, batch, cfg) -> (loss, new_state)``, for every member:
        ``cfg`` is what the family samples.
      params: shapes of the parameters.
      args: shapes of the other arguments; the batch may be of arrays.
      state_argnum: the position of the model state among them.
    """

    loss_fn: Callable[..., Any]
    params: PyTree
    args: tuple[Any, ...]
    state_argnum: int = 0


def params_shapes(task_family: Any) -> PyTree:
    """Shapes and dtypes of a task family's parameters, without computing any.

    Args:
      task_family: a `TaskFamily`.

    Returns:
      A tree of `jax.ShapeDtypeStruct` like the parameters.
    """
    return _init_shapes(task_family)[0]


def loss_of(task_family: Any, *, batch: PyTree = None) -> FamilyLoss:
    """The loss of a task family's members, one program for all of them.

    Args:
      task_family: a `TaskFamily`.
      batch: data to use; by default only the shapes of the family's data.
    """

    def loss_fn(
        params: PyTree, state: PyTree, key: jax.Array, batch: PyTree, cfg: PyTree
    ) -> tuple[jax.Array, PyTree]:
        return task_family.task_fn(cfg).loss_with_state(params, state, key, batch)

    params, state = _init_shapes(task_family)
    if batch is None:
        batch = data.batch_shapes(task_family.datasets)
    key = jax.eval_shape(jax.random.PRNGKey, 0)
    cfg = jax.eval_shape(task_family.sample, key)
    return FamilyLoss(loss_fn, params, (state, key, batch, cfg))


def spec_of(task_family: Any, *, randomness: str = "frozen") -> symmetry.PermutationSpec:
    """The spec of a task family, found from the loss of its tasks.

    Members that differ in structure (another activation, a switch) are branches of one program,
    so the spec has what all of them share.

    Args:
      task_family: a `TaskFamily`.
      randomness: see :func:`unf_lopt.infer_spec`.
    """
    loss = loss_of(task_family)
    return symmetry.infer_spec(
        loss.loss_fn,
        loss.params,
        *loss.args,
        state_argnum=loss.state_argnum,
        randomness=randomness,
    )


def verify_spec_of(
    task_family: Any, spec: symmetry.PermutationSpec, **options: Any
) -> symmetry.Verification:
    """Verifies a spec on a task family's loss, with data of its own and random parameters.

    Args:
      task_family: a `TaskFamily`.
      spec: a spec of its parameters.
      **options: of :func:`unf_lopt.verify_spec`.

    Raises:
      SymmetryError: the spec is not a symmetry of the loss.
    """
    loss = loss_of(task_family, batch=data.batch_apart(task_family.datasets))
    return symmetry.verify_spec(
        spec, loss.loss_fn, loss.params, *loss.args, state_argnum=loss.state_argnum, **options
    )


@configurable()
def spec_from_names(
    task_family: Any, axes: PyTree, fixed: Collection[str] = ()
) -> symmetry.PermutationSpec:
    """A spec written by hand, for gin configs: a name for every axis of every parameter.

    Args:
      task_family: the `TaskFamily` whose parameters `axes` describes.
      axes: a tree like the parameters, with a tuple of names of spaces for each.
      fixed: the names of the spaces that may not be permuted.

    Raises:
      SpecError: where `axes` does not fit the parameters.
    """
    return symmetry.PermutationSpec.from_names(
        axes, params_shapes(task_family), fixed=frozenset(fixed)
    )


def _init_shapes(task_family: Any) -> tuple[PyTree, PyTree]:
    """Shapes of the parameters and the model state."""

    def init(key: jax.Array) -> tuple[PyTree, PyTree]:
        sample_key, init_key = jax.random.split(key)
        task = task_family.task_fn(task_family.sample(sample_key))
        return task.init_with_state(init_key)

    return jax.eval_shape(init, jax.random.PRNGKey(0))
