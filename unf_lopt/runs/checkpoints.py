"""The checkpoints of a run: several files each, complete once their manifest is there.

A manifest has the SHA-256 of every part and of itself and is written last, so what is missing, cut,
swapped or changed in a single bit is noticed before anything of it is used.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping

from unf_lopt.runs.errors import DamagedCheckpoint, RunError
from unf_lopt.runs.files import checksum, read_file, write_whole
from unf_lopt.runs.names import (
    LEARNER,
    MANIFEST,
    PARAMS,
    PENDING,
    THETA,
    UNROLLS,
    file_name,
    steps,
)

KEPT = 2  # complete checkpoints; thetas are all kept
_REMOVED = (LEARNER, UNROLLS, MANIFEST)
_FORMAT = "unf_lopt.checkpoint/1"


def write_checkpoint(folder: pathlib.Path, step: int, parts: Mapping[str, bytes]) -> None:
    """Writes the parts, then their manifest; then removes all but the last ``KEPT`` before.

    The manifest is written under another name first and gets its own when all parts are there.

    Args:
      folder: the run's folder.
      step: outer steps taken.
      parts: what each part's file has, by its kind.
    """
    files = {file_name(kind, step): checksum(data) for kind, data in parts.items()}
    content = {"format": _FORMAT, "step": step, "files": files}
    write_whole(folder / file_name(PENDING, step), _signed(content))
    for kind, data in parts.items():
        write_whole(folder / file_name(kind, step), data)
    (folder / file_name(PENDING, step)).replace(folder / file_name(MANIFEST, step))
    for old in steps(folder, MANIFEST)[:-KEPT]:
        for kind in _REMOVED:
            (folder / file_name(kind, old)).unlink(missing_ok=True)


def settle_pending(folder: pathlib.Path) -> None:
    """Ends what was being written when a process was killed: complete, or as if never begun."""
    for step in steps(folder, PENDING):
        pending = folder / file_name(PENDING, step)
        try:
            _read(folder, step, pending)
        except DamagedCheckpoint:
            pending.unlink()
            for kind in (LEARNER, PARAMS, UNROLLS, THETA):
                (folder / file_name(kind, step)).unlink(missing_ok=True)
        else:
            pending.replace(folder / file_name(MANIFEST, step))


def read_checkpoint(folder: pathlib.Path, step: int) -> dict[str, bytes]:
    """The parts of a checkpoint by their kinds, every one as it was written.

    Raises:
      DamagedCheckpoint: the manifest or a part is missing or is not what was written.
    """
    return _read(folder, step, folder / file_name(MANIFEST, step))


def complete_steps(folder: pathlib.Path) -> list[int]:
    """The outer steps of which there is a manifest, rising."""
    return steps(folder, MANIFEST)


def set_damaged_apart(folder: pathlib.Path, step: int) -> pathlib.Path:
    """Moves what is left of a damaged checkpoint to a folder of its own, ``damaged_N``."""
    apart = folder / f"damaged_{step}"
    apart.mkdir(exist_ok=True)
    for kind in (MANIFEST, PARAMS, THETA, LEARNER, UNROLLS):  # the manifest first: it counts
        path = folder / file_name(kind, step)
        if path.exists():
            path.replace(apart / path.name)
    return apart


def _read(folder: pathlib.Path, step: int, manifest: pathlib.Path) -> dict[str, bytes]:
    kinds = {file_name(kind, step): kind for kind in (PARAMS, THETA, LEARNER, UNROLLS)}
    parts = {}
    for name, digits in _read_manifest(manifest, step).items():
        try:
            data = read_file(folder / name)
        except RunError as error:
            raise DamagedCheckpoint(str(error)) from error
        if checksum(data) != digits:
            raise DamagedCheckpoint(f"{folder / name} is damaged: its checksum is another.")
        parts[kinds[name]] = data
    return parts


def _read_manifest(path: pathlib.Path, step: int) -> dict[str, str]:
    """The checksums of the parts' files by name."""
    try:
        data = read_file(path)
        content = json.loads(data)
        whole = _signed({key: content[key] for key in ("format", "step", "files")}) == data
    except (RunError, KeyError, TypeError, ValueError) as error:
        raise DamagedCheckpoint(f"{path} is damaged: {error}") from error
    if not whole or content["step"] != step or content["format"] != _FORMAT:
        raise DamagedCheckpoint(f"{path} is damaged: its checksum is another.")
    return content["files"]


def _signed(content: Mapping[str, object]) -> bytes:
    text = json.dumps(content, indent=1, sort_keys=True)
    return json.dumps({**content, "sha256": checksum(text.encode())}, indent=1).encode()
