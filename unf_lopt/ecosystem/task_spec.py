"""From a task of the ecosystem to the permutation symmetry of its parameters."""

from collections.abc import Collection
from typing import Any

import gin
import jax

from unf_lopt import symmetry

PyTree = Any


def params_shapes(task_family: Any) -> PyTree:
    """Shapes and dtypes of a task family's parameters, without computing any.

    Args:
      task_family: a `TaskFamily`.

    Returns:
      A tree of `jax.ShapeDtypeStruct` like the parameters.
    """

    def init(key: jax.Array) -> PyTree:
        sample_key, init_key = jax.random.split(key)
        task = task_family.task_fn(task_family.sample(sample_key))
        return task.init_with_state(init_key)[0]

    return jax.eval_shape(init, jax.random.PRNGKey(0))


def spec_of(task_family: Any) -> symmetry.PermutationSpec:
    """The spec that a family's tasks declare with `permutation_spec()`.

    Args:
      task_family: a `TaskFamily` of tasks that have `permutation_spec`, a `PermutationSpec` or a
        method that returns one.

    Raises:
      ValueError: if the task declares none; the message says how to pass a spec.
      TypeError: if what it declares is no `PermutationSpec`.
    """
    task = task_family.task_fn(task_family.sample(jax.random.PRNGKey(0)))
    declared = getattr(task, "permutation_spec", None)
    spec = declared() if callable(declared) else declared
    if spec is None:
        raise ValueError(
            f"task {task.name!r} (family {task_family.name!r}) declares no permutation_spec(). "
            "Pass a spec instead: spec=PermutationSpec.from_names(axes, params) in Python, or in "
            "gin spec=@spec_from_names() with spec_from_names.task_family and "
            "spec_from_names.axes, a name for every axis of every parameter"
        )
    if not isinstance(spec, symmetry.PermutationSpec):
        raise TypeError(
            f"permutation_spec of task {task.name!r} is a {type(spec).__name__}, "
            "not a PermutationSpec"
        )
    return spec


@gin.configurable(module="unf_lopt")
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
