"""Networks that other programs wrote, for a zoo of one's own."""

from __future__ import annotations

import io
import pathlib
import zipfile

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from unf_lopt._types import PyTree
from unf_lopt.runs import RunError, read_file

_FILES = (".safetensors", ".npz")


def read_network(path: str | pathlib.Path) -> PyTree:
    """The arrays of a checkpoint.

    A file gives them by name. A spec takes such a dictionary in place of the tree that it was
    inferred for, if names are its paths: those of ``flax.traverse_util.flatten_dict(params,
    sep="/")``, for example.

    Args:
      path: a ``.safetensors`` or ``.npz`` file, or the folder of a checkpoint of Orbax.

    Returns:
      A dictionary of a file's arrays, or the tree that Orbax saved.

    Raises:
      ValueError: it is a file of another kind.
      RunError: it is not there, or not what its name says.
      ImportError: it is a folder, and Orbax is not installed.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        return _of_orbax(path)
    if path.suffix not in _FILES:
        raise ValueError(f"{path}: a file of {_FILES}, or a folder of Orbax, is needed.")
    data = read_file(path)
    try:
        if path.suffix == ".safetensors":
            return load(data)
        with np.load(io.BytesIO(data)) as arrays:  # refuses what is pickled
            return dict(arrays)
    except (SafetensorError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise RunError(f"{path} cannot be read as {path.suffix}: {_first_line(error)}.") from error


def _of_orbax(path: pathlib.Path) -> PyTree:
    try:
        import orbax.checkpoint as orbax
    except ImportError as error:
        raise ImportError(
            f"{path} is a folder, which Orbax reads: pip install orbax-checkpoint."
        ) from error
    try:
        with orbax.StandardCheckpointer() as checkpointer:
            return checkpointer.restore(path.absolute())
    except (FileNotFoundError, ValueError, KeyError) as error:
        raise RunError(f"{path} is no checkpoint of Orbax: {_first_line(error)}.") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")
