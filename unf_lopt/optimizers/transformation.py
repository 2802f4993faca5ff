"""optax transformations of functions whose state has a type of its own.

optax's annotations want a state to be any tree of arrays, and parameters to have its own names; a
state here is a named tuple, which is such a tree, and the names are the project's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import optax

from unf_lopt._types import PyTree

State = TypeVar("State")


def transformation(
    init: Callable[[PyTree], State], update: Callable[..., tuple[PyTree, State]]
) -> optax.GradientTransformation:
    """``optax.GradientTransformation``.

    Args:
      init: from the parameters to the state.
      update: ``update(gradient, state, params)`` gives the updates and the next state.
    """
    init_any: Callable[..., Any] = init
    update_any: Callable[..., Any] = update
    return optax.GradientTransformation(init_any, update_any)


def transformation_with_extra_args(
    init: Callable[[PyTree], State], update: Callable[..., tuple[PyTree, State]]
) -> optax.GradientTransformationExtraArgs:
    """``optax.GradientTransformationExtraArgs``.

    Args:
      init: as of :func:`transformation`.
      update: ``update(gradient, state, params, **extra_args)``, as of :func:`transformation`.
    """
    init_any: Callable[..., Any] = init
    update_any: Callable[..., Any] = update
    return optax.GradientTransformationExtraArgs(init_any, update_any)
