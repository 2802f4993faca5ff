"""The folder of a run: checkpoints in the ecosystem's format, written whole or not at all.

``params_N`` is the ecosystem's ``ParameterCheckpoint`` (theta, for using the optimizer),
``checkpoint_N`` its ``OptCheckpoint`` (meta-optimizer state), ``unroll_N`` what the ecosystem
does not save and a run needs to go on as if it had never stopped. N is the outer step. A step
counts as saved once its ``checkpoint_N`` is there, which is written last.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import flax
import gin
import jax
import jax.numpy as jnp

from unf_lopt import ecosystem
from unf_lopt.optimizers import CONFIG, check_spec, parameter_checkpoint, write_whole

PyTree = Any

OPERATIVE_CONFIG = "operative_config.gin"
_KEPT_CHECKPOINTS = 3


@dataclasses.dataclass
class TrainingState:
    """Everything that an outer-training run needs to go on.

    Attributes:
      learner_state: the ecosystem's ``GradientLearnerState``: theta and meta-optimizer.
      unroll_states: one an estimator: inner runs in progress and PES's accumulators.
      outer_step: outer steps taken, skipped ones included.
      positions: for each estimator, how far each split of its data has been read; None where
        the data cannot be positioned.
      skipped: outer steps whose meta-gradient was not finite.
      seconds: time spent, over all starts of the run.
    """

    learner_state: Any
    unroll_states: list[Any]
    outer_step: int
    positions: list[dict[str, int] | None]
    skipped: int = 0
    seconds: float = 0.0

    def record(self) -> dict[str, Any]:
        """What ``unroll_N`` holds, as a tree for Flax's serialization."""
        return {
            "unroll_states": self.unroll_states,
            "positions": [positions or {} for positions in self.positions],
            "skipped": self.skipped,
        }


class RunFolder:
    """Reads and writes one run's folder.

    Args:
      path: the folder; made if it is not there.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = pathlib.Path(path)
        self.path.mkdir(parents=True, exist_ok=True)

    def saved_step(self) -> int | None:
        """The newest outer step that is saved completely, or None."""
        steps = [
            step
            for step in _steps(self.path, "checkpoint_")
            if (self.path / f"unroll_{step}").exists() and (self.path / f"params_{step}").exists()
        ]
        return max(steps, default=None)

    def save(self, state: TrainingState, theta: PyTree, lopt: Any) -> pathlib.Path:
        """Writes a state; afterwards removes all but the newest few checkpoints.

        Args:
          state: the state.
          theta: the meta-parameters in it.
          lopt: the learned optimizer that they belong to.

        Returns:
          The path of ``params_N``, which evaluation reads. These are all kept.
        """
        step = state.outer_step
        self._write(f"params_{step}", parameter_checkpoint(theta, step, lopt))
        self._write(f"unroll_{step}", state.record())
        self._write(
            f"checkpoint_{step}",
            ecosystem.OptCheckpoint(
                gradient_learner_state=state.learner_state,
                elapsed_time=jnp.float32(state.seconds),
                total_inner_steps=0,  # as the ecosystem's own loop writes it
            ),
        )
        for prefix in ("checkpoint_", "unroll_"):
            for old in sorted(_steps(self.path, prefix))[:-_KEPT_CHECKPOINTS]:
                (self.path / f"{prefix}{old}").unlink()
        return self.path / f"params_{step}"

    def restore(self, fresh: TrainingState, lopt: Any) -> TrainingState:
        """The newest saved state.

        Args:
          fresh: a state of the same configuration, for the structure.
          lopt: the learned optimizer that is trained.

        Raises:
          ValueError: what is saved has another structure, or is for another weight space.
        """
        step = self.saved_step()
        check_spec(self.path / f"params_{step}", lopt)
        optimizer = ecosystem.OptCheckpoint(
            gradient_learner_state=fresh.learner_state,
            elapsed_time=jnp.float32(0.0),
            total_inner_steps=0,
        )
        optimizer = self._read(f"checkpoint_{step}", optimizer)
        record = self._read(f"unroll_{step}", fresh.record())
        positions = [
            {split: int(value) for split, value in saved.items()} if current is not None else None
            for saved, current in zip(record["positions"], fresh.positions, strict=True)
        ]
        return TrainingState(
            learner_state=_on_device(optimizer.gradient_learner_state),
            unroll_states=_on_device(record["unroll_states"]),
            outer_step=step,
            positions=positions,
            skipped=int(record["skipped"]),
            seconds=float(optimizer.elapsed_time),
        )

    def write_config(self) -> None:
        """Writes the whole gin configuration, or checks that it is the one that the run had.

        The number of outer steps may differ, so that a run can be taken further.

        Raises:
          ValueError: the folder has a run of another configuration; names the differences.
        """
        path, text = self.path / CONFIG, gin.config_str()
        if path.exists() and self.saved_step() is not None:
            changes = _differences(path.read_text(), text)
            if changes:
                raise ValueError(
                    f"{self.path} has a run of another configuration, which cannot be resumed "
                    "with this one. Choose another --train_log_dir, or undo:\n" + "\n".join(changes)
                )
        write_whole(path, text.encode())

    def write_operative_config(self, data_sources: Sequence[str] = ()) -> None:
        """Writes the part of the configuration that was used, with every default.

        Args:
          data_sources: what identifies the data, as comments.
        """
        comments = "".join(f"# Data: {source}\n" for source in data_sources)
        text = comments + gin.operative_config_str()
        write_whole(self.path / OPERATIVE_CONFIG, text.encode())

    def _write(self, name: str, value: Any) -> None:
        write_whole(self.path / name, flax.serialization.to_bytes(value))

    def _read(self, name: str, target: Any) -> Any:
        path = self.path / name
        try:
            return flax.serialization.from_bytes(target, path.read_bytes())
        except (ValueError, KeyError) as error:
            raise ValueError(
                f"{path} does not fit the configured optimizer and task ({error}). It was "
                "written with another configuration: choose another --train_log_dir."
            ) from error


def _on_device(tree: PyTree) -> PyTree:
    return jax.tree.map(jnp.asarray, tree)


def _steps(folder: pathlib.Path, prefix: str) -> list[int]:
    found = (re.fullmatch(rf"{prefix}(\d+)", path.name) for path in folder.iterdir())
    return [int(match[1]) for match in found if match]


def _differences(before: str, after: str) -> list[str]:
    """Lines of two configurations that differ, but for the number of outer steps."""

    def lines(text: str) -> list[str]:
        bindings = (line for line in text.splitlines() if line and not line.startswith("#"))
        return [line for line in bindings if not re.match(r"OUTER_STEPS|[\w.]*num_steps ", line)]

    return [
        line
        for line in difflib.unified_diff(lines(before), lines(after), n=0, lineterm="")
        if not line.startswith(("---", "+++", "@@"))
    ]
