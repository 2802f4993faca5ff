"""Theta on disk: the ecosystem's ``params_N``, ours and its own alike.

Ours are single files, which the ecosystem's ``load_state`` reads. With the Flax of today the
ecosystem's own loop writes ``params_N`` as a folder (Orbax); both are read here. The weight space
that theta belongs to stands in the ecosystem's ``gen_id``, a text that its own loop uses to tell
runs apart: so it is wherever the file goes, and both versions of the ecosystem can read the file.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
from flax.training import checkpoints

from unf_lopt import ecosystem
from unf_lopt.symmetry import PermutationSpec

PyTree = Any

CONFIG = "config.gin"  # the whole configuration of a run, beside its params_N


def write_whole(path: pathlib.Path, data: bytes) -> None:
    """Writes a file so that at any moment it is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.partial")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def parameter_checkpoint(theta: PyTree, step: int, lopt: Any) -> Any:
    """The ecosystem's ``ParameterCheckpoint`` of theta, with the weight space that it is for.

    Args:
      theta: the meta-parameters.
      step: the outer steps that made it.
      lopt: the learned optimizer that it belongs to.
    """
    spec = getattr(lopt, "theta_spec", None)
    identity = "" if spec is None else json.dumps({"spec": spec.to_json()})
    return ecosystem.ParameterCheckpoint(params=theta, gen_id=identity, step=step)


def saved_spec(source: str | os.PathLike[str]) -> PermutationSpec | None:
    """The weight space that a ``params_N``, or the newest in a run's folder, was written for.

    Returns:
      The spec, or None where the file does not say: the optimizer needs none, its theta is for
      every weight space, or the ecosystem's own loop wrote the file.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is no ``params_N``.
    """
    return _spec_in(_read(params_file(source)))


def check_spec(source: str | os.PathLike[str], lopt: Any) -> None:
    """Refuses a theta that was written for another weight space than an optimizer's.

    A theta that is for every weight space (``unf_universal``'s) names none and is not refused.

    Raises:
      ValueError: naming the differences.
    """
    saved, bound = saved_spec(source), getattr(lopt, "theta_spec", None)
    if saved is None or bound is None:
        return
    difference = saved.canonical().difference(bound.canonical())
    if difference:
        raise ValueError(
            f"{params_file(source)} was written for another weight space than that of this "
            f"{optimizer_name(lopt)}. Spaces numbered in order, saved against bound:\n{difference}"
        )


def _read(path: pathlib.Path) -> dict[str, Any]:
    try:
        saved = checkpoints.restore_checkpoint(str(path.resolve()), target=None)
        saved["params"], saved["step"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a params_N of the ecosystem: {error}") from error
    return saved


def _spec_in(saved: dict[str, Any]) -> PermutationSpec | None:
    identity = saved.get("gen_id")
    if not isinstance(identity, str) or not identity.startswith("{"):
        return None
    return PermutationSpec.from_json(json.loads(identity)["spec"])


def newest_params(folder: str | os.PathLike[str]) -> pathlib.Path:
    """The ``params_N`` with the largest N in a run's folder.

    Raises:
      FileNotFoundError: there is none.
    """
    found = [path for path in pathlib.Path(folder).glob("params_*") if _number(path) is not None]
    if not found:
        raise FileNotFoundError(
            f"no params_N in {folder}: it is not the folder of an outer-training run. "
            "Train one with python -m unf_lopt.train --train_log_dir=FOLDER."
        )
    return max(found, key=_number)


def params_file(source: str | os.PathLike[str]) -> pathlib.Path:
    """A ``params_N`` given by itself or by the run's folder that has it.

    Raises:
      FileNotFoundError: there is no such file.
    """
    path = pathlib.Path(source)
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}; give a params_N or a run's folder.")
    return newest_params(path) if path.is_dir() and _number(path) is None else path


def load_theta(source: str | os.PathLike[str], lopt: Any) -> tuple[PyTree, int]:
    """Theta of a ``params_N``, or of the newest one in a run's folder.

    Args:
      source: the ``params_N`` or the folder.
      lopt: the learned optimizer that it belongs to.

    Returns:
      Theta and the number of outer steps that made it.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it was written for another optimizer or another weight space.
    """
    path = params_file(source)
    check_spec(path, lopt)
    theta = lopt.init(jax.random.PRNGKey(0))
    target = ecosystem.ParameterCheckpoint(params=theta, gen_id="", step=0)
    saved = _read(path)
    # Flax would leave out what the file has too much.
    if different := shape_differences(saved["params"], theta):
        raise ValueError(
            f"{path} was not written by this {optimizer_name(lopt)} on this weight space: "
            f"{different}"
        )
    saved = flax.serialization.from_state_dict(target, saved)
    return jax.tree.map(jnp.asarray, saved.params), int(np.asarray(saved.step))


def shape_differences(theta: PyTree, expected: PyTree) -> str:
    """Where the shapes of a theta are not the expected ones; empty where all are."""
    found, wanted = (_shapes(flax.serialization.to_state_dict(tree)) for tree in (theta, expected))
    return "; ".join(
        f"theta{name} is {found.get(name)}, expected {wanted.get(name)}"
        for name in sorted(wanted.keys() | found.keys())
        if found.get(name) != wanted.get(name)
    )


def optimizer_name(lopt: Any) -> str:
    """What messages and reports call a learned optimizer, ours or the ecosystem's."""
    return getattr(lopt, "name", None) or type(lopt).__name__


def _shapes(tree: PyTree) -> dict[str, tuple[int, ...]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path): tuple(np.shape(leaf)) for path, leaf in leaves}


def _number(path: pathlib.Path) -> int | None:
    match = re.fullmatch(r"params_(\d+)", path.name)
    return int(match[1]) if match else None
