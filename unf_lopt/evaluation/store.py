"""Finished runs on disk, so that a killed evaluation goes on and baselines run once."""

from __future__ import annotations

import io
import pathlib
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from unf_lopt.evaluation.curves import Curves
from unf_lopt.runs import checksum, write_whole

# What NumPy and what it reads with raise for a file that is damaged, whatever part of it is.
_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    RuntimeError,  # NotImplementedError is one: a compression that there is not
    zipfile.BadZipFile,
    zlib.error,
)


class Store:
    """A folder of finished runs, each in a file whose name has a digest of all that it depends on.

    The settings of one file ran as one program. A file is there whole or not at all, and one that
    cannot be read, or is of something else, is as none.

    Args:
      folder: it is made with the first file.
    """

    def __init__(self, folder: pathlib.Path):
        self._folder = folder

    def curves(
        self, name: str, key: str, settings: Sequence[str], make: Callable[[], list[Curves]]
    ) -> list[Curves]:
        """The curves of some settings: read, or made and kept.

        Args:
          name: of the file, before its digest, for a person.
          key: all that they depend on.
          settings: whose they are, in order.
          make: makes them.
        """
        found = self._read(name, key)
        if found is None or not _has_curves(found, len(settings)):
            curves = make()
            arrays = {"steps": curves[0].steps}
            for number, own in enumerate(curves):
                arrays |= {f"{number}/{split}": loss for split, loss in own.loss.items()}
            self._write(name, key, arrays)
            return curves
        return [_curves(found, number) for number in range(len(settings))]

    def numbers(
        self, name: str, key: str, make: Callable[[], dict[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        """Arrays by name: read, or made and kept; see :meth:`curves`."""
        found = self._read(name, key)
        if found is None:
            found = make()
            self._write(name, key, found)
        return found

    def has(self, name: str, key: str) -> bool:
        """Whether something is there."""
        return self._read(name, key) is not None

    def _path(self, name: str, key: str) -> pathlib.Path:
        plain = "".join(char if char.isalnum() or char in "-_." else "_" for char in name)
        return self._folder / f"{plain[:100]}-{checksum(key.encode())[:16]}.npz"

    def _read(self, name: str, key: str) -> dict[str, np.ndarray] | None:
        try:
            with np.load(self._path(name, key), allow_pickle=False) as file:
                found = dict(file)
        except _UNREADABLE:
            return None
        return found if str(found.pop("key", "")) == key else None

    def _write(self, name: str, key: str, arrays: dict[str, Any]) -> None:
        buffer = io.BytesIO()
        np.savez(buffer, key=np.array(key), **arrays)
        self._folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._path(name, key), buffer.getvalue())


def _has_curves(arrays: dict[str, np.ndarray], settings: int) -> bool:
    own = {name.partition("/")[0] for name in arrays}
    return {"steps", *map(str, range(settings))} <= own


def _curves(arrays: dict[str, np.ndarray], number: int) -> Curves:
    prefix = f"{number}/"
    losses = {name.removeprefix(prefix): x for name, x in arrays.items() if name.startswith(prefix)}
    return Curves(arrays["steps"], losses)
