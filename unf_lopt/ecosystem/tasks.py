"""Tasks by their gin names: the ecosystem's own and those that plugins register."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from typing import Any

import gin

from unf_lopt import ecosystem
from unf_lopt.ecosystem import config_names


def named_task_family(name: str) -> Any:
    """The task family of a gin name, as ``@NAME()`` in a config; a task becomes a family of one.

    Args:
      name: such as ``ImageMLP_Digits8_Relu32``; of this project, of any of the ecosystem's
        modules of tasks, or of a module imported before.

    Raises:
      ValueError: there is no such name, it is not a task's, or needs arguments.
    """
    failed = load_task_modules()
    try:
        make = gin.get_configurable(name)
    except ValueError as error:
        missing = ", ".join(f"{module} (needs {name})" for module, name in failed.items())
        hint = f" Modules of tasks that could not be imported: {missing}." if failed else ""
        raise ValueError(
            f"no task {name!r}.{config_names.nearest(name, config_names.configurables())} A task "
            f"of a plugin needs --gin_import=MODULE.{hint}"
        ) from error
    try:
        made = make()
    except (TypeError, RuntimeError) as error:  # arguments without a default
        raise ValueError(
            f"{name} cannot be made without more ({' '.join(str(error).split())}); bind what it "
            f"needs, --gin_bindings='{name}.PARAMETER=VALUE'."
        ) from error
    if isinstance(made, ecosystem.Task):
        made = ecosystem.single_task_to_family(made)
    if not isinstance(made, ecosystem.TaskFamily):
        raise ValueError(f"{name} makes a {type(made).__name__}, not a task or a task family.")
    return made


def load_task_modules() -> dict[str, str]:
    """Imports the ecosystem's modules of tasks.

    Returns:
      Those that cannot be imported, and what they miss.
    """
    return dict(_import_task_modules())


def _import_task_modules() -> Iterator[tuple[str, str]]:
    for package in ("tasks", "tasks.fixed", "tasks.parametric"):
        parent = ecosystem.load(package)
        for found in pkgutil.iter_modules(parent.__path__):
            if not found.ispkg and not found.name.endswith(("_test", "test_utils")):
                try:
                    ecosystem.load(f"{package}.{found.name}")
                except ImportError as error:
                    yield f"{package}.{found.name}", error.name or str(error)
