"""Files that are there whole or not at all, and that can be told from damaged ones."""

from __future__ import annotations

import hashlib
import json
import pathlib
from typing import Any

from unf_lopt._files import write_whole
from unf_lopt.runs.errors import RunError

__all__ = ["checksum", "read_file", "read_json", "write_whole"]


def checksum(data: bytes) -> str:
    """The SHA-256 of some bytes, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """What a file of JSON says by name.

    Raises:
      RunError: as :func:`read_file`, or it is no such file.
    """
    try:
        found = json.loads(read_file(path))
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is damaged: it is no JSON text.") from error
    if not isinstance(found, dict):
        raise RunError(f"{path} is damaged: it says nothing by name.")
    return found


def read_file(path: pathlib.Path) -> bytes:
    """What a file has.

    Raises:
      RunError: there is no such file, or it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}.") from error
