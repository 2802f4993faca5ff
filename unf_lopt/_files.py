"""Files that are there whole or not at all, and what the code in files is."""

from __future__ import annotations

import functools
import hashlib
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


@functools.cache
def digest_of_code(places: tuple[str, ...]) -> str:
    """The SHA-256 of the package's code in some of its files and folders."""
    root, digest = pathlib.Path(__file__).parent, hashlib.sha256()
    for place in places:
        path = root / place
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()
