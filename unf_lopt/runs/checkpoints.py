"""The checkpoints of a run: several files each, complete once their manifest is there.

A manifest has the SHA-256 of every part and of itself and is written last, so what is missing, cut,
swapped or changed in a single bit is noticed before anything of it is used.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Collection, Mapping

from unf_lopt.runs.errors import DamagedCheckpoint, RunError
from unf_lopt.runs.files import checksum, read_file, write_whole
from unf_lopt.runs.names import MANIFEST, PARAMS, PENDING, THETA, file_name, kind_of, steps

KEPT = 2  # complete checkpoints; thetas are all kept
_FORMAT = "unf_lopt.checkpoint/1"


def write_checkpoint(folder: pathlib.Path, step: int, parts: Mapping[str, bytes]) -> None:
    """Writes the parts, then their manifest; then removes all but the last ``KEPT`` before.

    The manifest is written under another name first and gets its own when all parts are there.

    Args:
      folder: the run's folder.
      step: outer steps taken.
      parts: what each part's file has, by its kind.
    """
    begin_checkpoint(folder, step, checksums(step, parts))
    write_parts(folder, step, parts)
    finish_checkpoint(folder, step)


def checksums(step: int, parts: Mapping[str, bytes]) -> dict[str, str]:
    """The SHA-256 of the parts by the names of their files."""
    return {file_name(kind, step): checksum(data) for kind, data in parts.items()}


def begin_checkpoint(folder: pathlib.Path, step: int, files: Mapping[str, str]) -> None:
    """Says which parts are about to be written, by whichever processes.

    Args:
      folder: the run's folder.
      step: outer steps taken.
      files: the checksums of all parts, from :func:`checksums`.
    """
    content = {"format": _FORMAT, "step": step, "files": dict(files)}
    write_whole(folder / file_name(PENDING, step), _signed(content))


def write_parts(folder: pathlib.Path, step: int, parts: Mapping[str, bytes]) -> None:
    """Writes some or all of the parts of a checkpoint that has begun."""
    for kind, data in parts.items():
        write_whole(folder / file_name(kind, step), data)


def finish_checkpoint(folder: pathlib.Path, step: int) -> None:
    """Makes a checkpoint count whose parts are all there; removes those before the last ``KEPT``.

    Args:
      folder: the run's folder.
      step: outer steps taken.
    """
    (folder / file_name(PENDING, step)).replace(folder / file_name(MANIFEST, step))
    for old in steps(folder, MANIFEST)[:-KEPT]:
        for path, kind in _files(folder, old):
            if kind not in (PARAMS, THETA):
                path.unlink(missing_ok=True)


def settle_pending(folder: pathlib.Path) -> None:
    """Ends what was being written when a process was killed: complete, or as if never begun."""
    for step in steps(folder, PENDING):
        pending = folder / file_name(PENDING, step)
        try:
            _read(folder, step, pending, None)
        except DamagedCheckpoint:
            pending.unlink()
            for path, _ in _files(folder, step):
                path.unlink(missing_ok=True)
        else:
            pending.replace(folder / file_name(MANIFEST, step))


def read_checkpoint(
    folder: pathlib.Path, step: int, kinds: Collection[str] | None = None
) -> dict[str, bytes]:
    """The parts of a checkpoint by their kinds, every one as it was written.

    Args:
      folder: the run's folder.
      step: outer steps taken.
      kinds: the parts that are read, and have to be there; None for all.

    Raises:
      DamagedCheckpoint: the manifest or a part is missing or is not what was written.
    """
    return _read(folder, step, folder / file_name(MANIFEST, step), kinds)


def parts_of(folder: pathlib.Path, step: int) -> list[str]:
    """The kinds of a checkpoint's parts, from its manifest.

    Raises:
      DamagedCheckpoint: the manifest is missing or is not what was written.
    """
    names = _read_manifest(folder / file_name(MANIFEST, step), step)
    return [kind for name in names if (kind := kind_of(name, step)) is not None]


def complete_steps(folder: pathlib.Path) -> list[int]:
    """The outer steps of which there is a manifest, rising."""
    return steps(folder, MANIFEST)


def set_damaged_apart(folder: pathlib.Path, step: int) -> pathlib.Path:
    """Moves what is left of a damaged checkpoint to a folder of its own, ``damaged_N``."""
    apart = folder / f"damaged_{step}"
    apart.mkdir(exist_ok=True)
    manifest = folder / file_name(MANIFEST, step)
    for path in [manifest, *(path for path, _ in _files(folder, step))]:  # it counts: it is first
        if path.exists():
            path.replace(apart / path.name)
    return apart


def _files(folder: pathlib.Path, step: int) -> list[tuple[pathlib.Path, str]]:
    """The files of a checkpoint, and what kind they are of."""
    found = ((path, kind_of(path.name, step)) for path in sorted(folder.iterdir()))
    return [(path, kind) for path, kind in found if kind is not None]


def _read(
    folder: pathlib.Path, step: int, manifest: pathlib.Path, kinds: Collection[str] | None
) -> dict[str, bytes]:
    parts = {}
    for name, digits in _read_manifest(manifest, step).items():
        kind = kind_of(name, step)
        if kind is None or (kinds is not None and kind not in kinds):
            continue
        try:
            data = read_file(folder / name)
        except RunError as error:
            raise DamagedCheckpoint(str(error)) from error
        if checksum(data) != digits:
            raise DamagedCheckpoint(f"{folder / name} is damaged: its checksum is another.")
        parts[kind] = data
    if missing := sorted(set(kinds or ()) - parts.keys()):
        raise DamagedCheckpoint(f"{manifest} has no {', '.join(missing)}.")
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
