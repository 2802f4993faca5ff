"""optax transformations of functions whose state has a type of its own.

optax's annotations want a state to be any tree of arrays, and parameters to have its own names; a
state here is a named tuple, which is such a tree, and the names are the project's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import optax

from unf_lopt._types import PyTree

State = TypeVar("State")
Result = TypeVar("Result")


def transformation(
    init: Callable[[PyTree], State], update: Callable[..., tuple[PyTree, State]]
) -> optax.GradientTransformation:
    """``optax.GradientTransformation``.

    Args:
      init: from the parameters to the state.
      update: ``update(gradient, state, params)`` gives the updates and the next state.
    """
    init_any: Callable[..., Any] = _by_own_rules(init)
    update_any: Callable[..., Any] = _by_own_rules(update)
    return optax.GradientTransformation(init_any, update_any)


def transformation_with_extra_args(
    init: Callable[[PyTree], State], update: Callable[..., tuple[PyTree, State]]
) -> optax.GradientTransformationExtraArgs:
    """``optax.GradientTransformationExtraArgs``.

    Args:
      init: as of :func:`transformation`.
      update: ``update(gradient, state, params, **extra_args)``, as of :func:`transformation`.
    """
    init_any: Callable[..., Any] = _by_own_rules(init)
    update_any: Callable[..., Any] = _by_own_rules(update)
    return optax.GradientTransformationExtraArgs(init_any, update_any)


def on_any_mesh(
    update: Callable[..., tuple[PyTree, State]],
) -> Callable[..., tuple[PyTree, State]]:
    """An update whose layout the compiler finds, also on a mesh whose axes are explicit.

    There every operation would have to say its own. What comes out lies as what went in.

    Args:
      update: ``update(theta, gradient, state, *others)`` gives the updates and the next state.
    """

    @functools.wraps(update)
    def wrapped(theta: PyTree, grad: PyTree, state: State, *others: Any) -> Any:
        everything = (theta, grad, state, *others)
        if not any(map(_is_explicit, jax.tree.leaves(everything))):
            return update(*everything)
        layout = jax.tree.map(lambda x: jax.typeof(x).sharding, (grad, state))
        automatic: Any = jax.sharding.auto_axes(update, out_sharding=layout)
        return automatic(*everything)

    return wrapped


def _is_explicit(x: Any) -> bool:
    return jax.sharding.AxisType.Explicit in jax.typeof(x).sharding.mesh.axis_types


def _by_own_rules(function: Callable[..., Result]) -> Callable[..., Result]:
    """Whatever ranks the user's own code may mix, those in here are mixed on purpose."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Result:
        with jax.numpy_rank_promotion("allow"):
            return function(*args, **kwargs)

    return wrapped
