"""What an evaluation takes from a run's folder: its task and its horizon, and nothing else.

The folder may be a stranger's, so its configuration is read as data (:mod:`unf_lopt.runs`), and of
what it names only tasks are made, and optimizers of the ecosystem where theta does not say its own.
"""

from __future__ import annotations

import inspect
import os
import pathlib
from collections.abc import Collection
from typing import Any

import gin

from unf_lopt import ecosystem, runs
from unf_lopt.optimizers import OPTIMIZERS, read_theta

# What evaluation takes from the macros of a training config, where the config does not say more.
_FROM_MACROS = {"task_family": "TASK_FAMILY", "horizon": "HORIZON"}
_LOPT = {"lopt": "LOPT"}
# Of literal parameters those that say how it is measured; none that names a file or a folder.
_LITERALS = (
    "baselines",
    "eval_batches",
    "eval_every",
    "horizon",
    "learning_rates",
    "num_seeds",
    "num_tuning_seeds",
    "seed",
    "target",
)
# What an optimizer of ours takes its options from.
_OF_OPTIMIZERS = ("step_options", "weight_space")
# Functions in these modules make tasks and data, and do nothing else.
_TASK_MODULES = ("unf_lopt.tasks", "learned_optimization.tasks")
# Elsewhere these do: specs, and families of tasks.
_OF_TASKS = (
    "unf_lopt.ecosystem.task_spec.spec_from_names",
    "unf_lopt.estimators.objective.with_objective",
)


def bind_run(
    folder: str | os.PathLike[str],
    plugins: Collection[str] = (),
    checkpoint: str | os.PathLike[str] | None = None,
) -> None:
    """Binds task and horizon of a run in gin, in place of the current configuration.

    Macros stay macros (``evaluate.horizon = %HORIZON``), so that setting one afterwards sets them
    too. Numbers and names that the run's configuration has for `evaluate` are bound as well; files,
    folders and other tasks are not.

    Args:
      folder: the run's folder, which has `config.gin`.
      plugins: modules that the user imported; what they register may be made.
      checkpoint: the theta that is evaluated, where it is not the folder's newest.

    Raises:
      FileNotFoundError: the folder has no `config.gin`, or no theta.
      RunError: its configuration is damaged, does more than bind values, or names what is not a
        task; the message names the line or the name.
    """
    path = pathlib.Path(folder) / runs.CONFIG
    if not path.is_file():
        raise FileNotFoundError(
            f"no {runs.CONFIG} in {folder}: it is not the folder of an outer-training run. Train "
            f"one with python -m unf_lopt.train --train_log_dir={folder}."
        )
    configuration = runs.read_configuration(path, plugins)
    macros = dict(_FROM_MACROS)
    if read_theta(checkpoint or folder).optimizer is None:
        macros |= _LOPT
    own = dict(configuration.parameters.get("evaluate", {}))
    wanted = {name: own.pop(name, runs.Macro(macro)) for name, macro in macros.items()}
    wanted |= {
        name: own[name] for name in _LITERALS if name in own and not any(_references(own[name]))
    }
    statements = [f"evaluate.{name} = {value!r}" for name, value in wanted.items()]
    for value in wanted.values():
        statements += _closure(configuration, value, plugins)
    gin.clear_config()
    gin.parse_config(list(dict.fromkeys(statements)))


def bind_training_config() -> None:
    """Binds task and horizon of a training's configuration that gin has read.

    Only where it has the macros, and binds no task or horizon of the evaluation itself.
    """
    bound = gin.get_bindings("evaluate", resolve_references=False)
    for name, macro in _FROM_MACROS.items():
        own = ("task_family", "tasks") if name == "task_family" else (name,)
        if not any(other in bound for other in own) and _has_macro(macro):
            with gin.unlock_config():
                gin.parse_config(f"evaluate.{name} = %{macro}")


def _has_macro(name: str) -> bool:
    try:
        gin.query_parameter(f"%{name}")
    except ValueError:
        return False
    return True


def undescribed_optimizer(folder: str | os.PathLike[str], plugins: Collection[str] = ()) -> Any:
    """The learned optimizer of a run whose theta does not say it, as its configuration has it.

    The ecosystem's own loop writes such thetas. Clears the current gin configuration.

    Args:
      folder: the run's folder, or a theta file.
      plugins: modules that the user imported; what they register may be made.

    Returns:
      The ecosystem's `LearnedOptimizer`; None where theta says its own.

    Raises:
      FileNotFoundError: there is no such run.
      RunError: see :func:`bind_run`.
    """
    if read_theta(folder).optimizer is not None:
        return None
    bind_run(folder, plugins)
    lopt = gin.get_bindings("evaluate")["lopt"]
    gin.clear_config()  # its task and horizon are not what is evaluated
    return lopt


def _closure(
    configuration: runs.Configuration, value: Any, plugins: Collection[str], depth: int = 0
) -> list[str]:
    """The bindings that a value stands on, each as a line."""
    if depth > 50:
        raise runs.RunError(f"{configuration.path}: {value!r} stands on itself.")
    statements = []
    for part in _references(value):
        if isinstance(part, runs.Macro):
            found = {part.name: configuration.value(part)}
        else:
            _require_maker(configuration, part, plugins)
            names = [part.name, *(_OF_OPTIMIZERS if _is_own_optimizer(part.name) else ())]
            found = {
                f"{selector}.{name}": bound
                for selector, bindings in configuration.parameters.items()
                if any(_names(own, selector) for own in names)
                for name, bound in bindings.items()
            }
        for name, bound in found.items():
            statements.append(f"{name} = {bound!r}")
            statements += _closure(configuration, bound, plugins, depth + 1)
    return statements


def _require_maker(
    configuration: runs.Configuration, reference: runs.Reference, plugins: Collection[str]
) -> None:
    """Refuses a reference to anything but a maker of tasks, data or optimizers."""
    name = reference.name.rpartition("/")[2]
    try:
        made = _configurable(name)
    except ValueError as error:
        raise runs.RunError(
            f"{configuration.path}: @{reference.name} is not registered. If the run used a plugin, "
            "name its module with --gin_import=MODULE."
        ) from error
    module = getattr(made, "__module__", "") or ""
    makers = ecosystem.Task, ecosystem.TaskFamily, ecosystem.LearnedOptimizer, ecosystem.Optimizer
    if (inspect.isclass(made) and issubclass(made, makers)) or _is_own_optimizer(name):
        return
    if f"{module}.{_last(name)}" in _OF_TASKS:
        return
    if any(module == own or module.startswith(f"{own}.") for own in (*_TASK_MODULES, *plugins)):
        return
    raise runs.RunError(
        f"{configuration.path}: @{reference.name} is no task (it is {module}.{name}). A run's "
        "folder is read as data, and only tasks are made of it; if you know the run, pass its "
        "configuration yourself: --config_file=FILE."
    )


def _configurable(name: str) -> Any:
    try:
        return gin.get_configurable(name)
    except ValueError:
        ecosystem.load_task_modules()
        return gin.get_configurable(name)


def _is_own_optimizer(name: str) -> bool:
    return _last(name) in OPTIMIZERS


def _names(reference: str, selector: str) -> bool:
    """Whether a binding's selector is that of a reference, scopes and modules apart."""
    return _last(reference) == _last(selector)


def _last(selector: str) -> str:
    return selector.rpartition("/")[2].rpartition(".")[2]


def _references(value: Any) -> list[runs.Reference | runs.Macro]:
    """All references and macros in a value."""
    return [part for part in runs.parts(value) if isinstance(part, runs.Reference | runs.Macro)]
