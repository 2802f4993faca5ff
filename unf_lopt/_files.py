"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import pathlib


def write_whole(path: pathlib.Path, data: bytes) -> None:
    """Writes a file so that at any moment it is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.partial")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
