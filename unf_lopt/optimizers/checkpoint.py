"""Theta on disk: the ecosystem's ``params_`` files, ours and its own alike."""

from __future__ import annotations

import os
import pathlib
import re
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np

from unf_lopt import ecosystem

PyTree = Any


def newest_params(folder: str | os.PathLike[str]) -> pathlib.Path:
    """The ``params_N`` file with the largest N in a run's folder.

    Raises:
      FileNotFoundError: there is none.
    """
    found = [path for path in pathlib.Path(folder).glob("params_*") if _number(path) is not None]
    if not found:
        raise FileNotFoundError(
            f"no params_N file in {folder}: it is not the folder of an outer-training run. "
            "Train one with python -m unf_lopt.train --train_log_dir=FOLDER."
        )
    return max(found, key=_number)


def params_file(source: str | os.PathLike[str]) -> pathlib.Path:
    """A ``params_N`` file given by itself or by the run's folder that has it.

    Raises:
      FileNotFoundError: there is no such file.
    """
    path = pathlib.Path(source)
    if path.is_dir():
        return newest_params(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; give a params_N file or a run's folder.")
    return path


def load_theta(source: str | os.PathLike[str], lopt: Any) -> tuple[PyTree, int]:
    """Theta of a ``params_N`` file, or of the newest one in a run's folder.

    Args:
      source: the file or the folder.
      lopt: the learned optimizer that it belongs to.

    Returns:
      Theta and the number of outer steps that made it.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it was written for another optimizer or another weight space.
    """
    path = params_file(source)
    theta = lopt.init(jax.random.PRNGKey(0))
    target = ecosystem.ParameterCheckpoint(params=theta, gen_id="", step=0)
    try:
        saved = flax.serialization.from_bytes(target, path.read_bytes())
    except (ValueError, KeyError) as error:
        raise ValueError(f"{_misfit(path, lopt)}: {error}") from error
    expected, found = (_shapes(tree) for tree in (theta, saved.params))
    if expected != found:
        different = sorted(
            f"{name} is {found.get(name)}, expected {expected.get(name)}"
            for name in expected.keys() | found.keys()
            if found.get(name) != expected.get(name)
        )
        raise ValueError(f"{_misfit(path, lopt)}: {'; '.join(different)}")
    return jax.tree.map(jnp.asarray, saved.params), int(np.asarray(saved.step))


def _misfit(path: pathlib.Path, lopt: Any) -> str:
    name = getattr(lopt, "name", None) or type(lopt).__name__
    return f"{path} was not written by this {name} on this weight space"


def _shapes(tree: PyTree) -> dict[str, tuple[int, ...]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path): tuple(np.shape(leaf)) for path, leaf in leaves}


def _number(path: pathlib.Path) -> int | None:
    match = re.fullmatch(r"params_(\d+)", path.name)
    return int(match[1]) if match else None
