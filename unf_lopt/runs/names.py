"""The files of a run's folder, by name. N is the number of outer steps taken."""

from __future__ import annotations

import os
import pathlib
import re

CONFIG = "config.gin"  # the whole configuration
OPERATIVE_CONFIG = "operative_config.gin"  # the part of it that was used, with every default
RUN = "run.json"  # what the run is beside gin's configuration
METRICS = "metrics.csv"
LOCK = ".lock"  # held by the process that trains

PARAMS = "params"  # theta, as the ecosystem's tools read it
THETA = "theta"  # the same in safetensors, with all that a reader has to know
LEARNER = "checkpoint"  # theta and the meta-optimizer, as the ecosystem's tools read it
UNROLLS = "unroll"  # what else goes on; with a worker's number its inner runs in progress
MANIFEST = "manifest"  # the checksums of the others, written last

PENDING = ".manifest"  # a manifest while its parts are being written

_SUFFIX = {THETA: ".safetensors", MANIFEST: ".json", PENDING: ".json"}


def of_worker(worker: int) -> str:
    """The kind of the part that has a worker's inner runs."""
    return f"{UNROLLS}.{worker}"


def file_name(kind: str, step: int) -> str:
    """The name of a checkpoint's part, such as ``params_300``, or ``unroll_300.2`` of a worker."""
    if kind.startswith(f"{UNROLLS}."):
        return f"{UNROLLS}_{step}.{kind.removeprefix(f'{UNROLLS}.')}"
    return f"{kind}_{step}{_SUFFIX.get(kind, '')}"


def kind_of(name: str, step: int) -> str | None:
    """The kind of a checkpoint's part, of which :func:`file_name` gives this name."""
    for kind in (PARAMS, THETA, LEARNER, UNROLLS, MANIFEST, PENDING):
        if name == file_name(kind, step):
            return kind
    match = re.fullmatch(rf"{UNROLLS}_{step}\.(\d+)", name)
    return of_worker(int(match[1])) if match else None


def step_of(path: pathlib.Path, kind: str) -> int | None:
    """N, or None where the path is not of this kind, or not named by :func:`file_name`."""
    suffix = re.escape(_SUFFIX.get(kind, ""))
    match = re.fullmatch(rf"{re.escape(kind)}_(0|[1-9]\d*){suffix}", path.name, re.ASCII)
    return int(match[1]) if match else None


def steps(folder: str | os.PathLike[str], kind: str) -> list[int]:
    """The N of all files of a kind in a folder, rising."""
    found = (step_of(path, kind) for path in pathlib.Path(folder).iterdir())
    return sorted(step for step in found if step is not None)


def theta_file(source: str | os.PathLike[str]) -> pathlib.Path:
    """A file with a theta, given by itself or by the run's folder that has it.

    Of a folder it is the one of the most outer steps, in safetensors where that is there.

    Raises:
      FileNotFoundError: there is no such file.
    """
    path = pathlib.Path(source)
    if not path.exists():
        raise FileNotFoundError(
            f"there is no {path}; give a theta file (safetensors or params_N) or a run's folder."
        )
    if not path.is_dir() or step_of(path, PARAMS) is not None:  # the ecosystem writes folders
        return path
    found = [
        (step, kind == THETA, path / file_name(kind, step))
        for kind in (PARAMS, THETA)
        for step in steps(path, kind)
    ]
    if not found:
        raise FileNotFoundError(
            f"no params_N in {path}: it is not the folder of an outer-training run. "
            "Train one with python -m unf_lopt.train --train_log_dir=FOLDER."
        )
    return max(found)[-1]
