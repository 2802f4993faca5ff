"""The gin configuration of a run's folder, for evaluating what was trained there."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import gin

from unf_lopt.optimizers import CONFIG

# What evaluation takes from the macros of a training config, where the config does not say more.
_FROM_MACROS = {"lopt": "LOPT", "task_family": "TASK_FAMILY", "horizon": "HORIZON"}


def parse_run_config(folder: str | os.PathLike[str]) -> None:
    """Makes the configuration that a run was trained with the current one, not yet locked.

    Parameters of `evaluate` that it does not set come from its macros: `evaluate.lopt = %LOPT`,
    and so on, so that setting a macro afterwards sets them too.

    Args:
      folder: the run's folder (`--train_log_dir`), which has `config.gin`.

    Raises:
      FileNotFoundError: the folder has no `config.gin`.
      ValueError: the configuration names something that is not registered.
    """
    path = pathlib.Path(folder) / CONFIG
    if not path.is_file():
        raise FileNotFoundError(
            f"no {CONFIG} in {folder}: it is not the folder of an outer-training run. Train one "
            f"with python -m unf_lopt.train --train_log_dir={folder}."
        )
    gin.clear_config()
    try:
        gin.parse_config(path.read_text())
    except ValueError as error:
        raise ValueError(
            f"{path}: {error}\nIf the run used a plugin, name its module with --gin_import=MODULE."
        ) from error
    bound = gin.get_bindings("evaluate", resolve_references=False)
    gin.parse_config(
        [
            f"evaluate.{parameter} = %{macro}"
            for parameter, macro in _FROM_MACROS.items()
            if parameter not in bound
        ]
    )


def configured_optimizer(folder: str | os.PathLike[str]) -> Any:
    """The learned optimizer of a run; replaces the current gin configuration by the run's.

    Args:
      folder: the run's folder.

    Raises:
      FileNotFoundError: the folder has no `config.gin`.
      ValueError: the configuration names something that is not registered or not defined.
    """
    parse_run_config(folder)
    return gin.get_bindings("evaluate")["lopt"]
