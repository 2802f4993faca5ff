"""Files that are there whole or not at all, and that can be told from damaged ones."""

from __future__ import annotations

import hashlib
import os
import pathlib

from unf_lopt.runs.errors import RunError


def write_whole(path: pathlib.Path, data: bytes) -> None:
    """Writes a file so that at any moment it is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.partial")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def checksum(data: bytes) -> str:
    """The SHA-256 of some bytes, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def read_file(path: pathlib.Path) -> bytes:
    """What a file has.

    Raises:
      RunError: there is no such file, or it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}.") from error
