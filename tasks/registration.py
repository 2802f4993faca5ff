"""Tasks as families, for what the ecosystem trains on."""

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec

from unf_lopt import ecosystem
from unf_lopt.ecosystem.gin_decorator import configurable

Arguments = ParamSpec("Arguments")


def family_of(
    make_task: "Callable[Arguments, ecosystem.Task]",
) -> "Callable[Arguments, ecosystem.TaskFamily]":
    """Registers, as NAME_family, the family that always gives the task of the maker NAME.

    Args:
      make_task: makes the task; known to gin by its name.

    Returns:
      A maker of families with the same arguments. What gin binds for NAME holds for NAME_family
      too, unless it binds the same for NAME_family.
    """

    @functools.wraps(make_task)
    def make_family(*args: Arguments.args, **kwargs: Arguments.kwargs) -> "ecosystem.TaskFamily":
        return ecosystem.single_task_to_family(make_task(*args, **kwargs))

    name = f"{make_task.__name__}_family"
    make_family.__name__ = make_family.__qualname__ = name
    make_family.__doc__ = f"The family that always gives `{make_task.__name__}`, of its arguments."
    # gin checks bindings against the signature, and asks what the function itself says of it.
    vars(make_family)["__signature__"] = inspect.signature(make_task)
    return configurable(name)(make_family)
