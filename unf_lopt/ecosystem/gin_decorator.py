"""gin's decorator with types: what is made a configurable stays what it was to a type checker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import gin

_Made = TypeVar("_Made", bound=Callable[..., Any])

_MODULE = "unf_lopt"
# What gin has to bind stands in the place of a default of any type.
REQUIRED: Any = gin.REQUIRED


def configurable(name: str | None = None) -> Callable[[_Made], _Made]:
    """`gin.configurable` in this project's module of gin names.

    Args:
      name: that gin knows it by; by default its own.
    """
    # gin has no annotations, and a type checker takes what it returns for an `object`.
    decorator: Any = gin.configurable(name, module=_MODULE)
    return decorator
