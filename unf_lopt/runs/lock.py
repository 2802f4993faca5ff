"""One process trains in a folder at a time."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator

import filelock

from unf_lopt.runs.errors import RunError
from unf_lopt.runs.names import LOCK


@contextlib.contextmanager
def only_trainer(folder: pathlib.Path) -> Iterator[None]:
    """Holds the folder's lock, which ends with the process, however that ends.

    Raises:
      RunError: another process holds it.
    """
    lock = filelock.FileLock(folder / LOCK, blocking=False)
    try:
        with lock:
            yield
    except filelock.Timeout as error:
        raise RunError(
            f"another process trains in {folder}. Wait for it, stop it, or choose another "
            "--train_log_dir; several processes of one run are not started by hand."
        ) from error
