"""What a run of outer training keeps on disk, in the ecosystem's formats, and how it goes on.

``params_N`` is the ecosystem's ``ParameterCheckpoint`` (theta, for using the optimizer),
``checkpoint_N`` its ``OptCheckpoint`` (meta-optimizer state), ``unroll_N`` what the ecosystem
does not save and a run needs to go on as if it had never stopped, ``theta_N.safetensors`` the theta
that is handed on. N is the outer step.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import flax.serialization
import gin
import jax
import jax.numpy as jnp

from unf_lopt import ecosystem, runs
from unf_lopt.optimizers import LearnedOptimizer, theta_data, theta_identity

PyTree = Any

RUN = "run.json"


@dataclasses.dataclass
class TrainingState:
    """Everything that an outer-training run needs to go on.

    Attributes:
      learner_state: the ecosystem's ``GradientLearnerState``: theta and meta-optimizer.
      unroll_states: one an estimator: inner runs in progress and PES's accumulators.
      outer_step: outer steps taken, skipped ones included.
      positions: for each estimator, how far each split of its data has been read; None where
        the data cannot be positioned.
      average: the running average of theta; None where there is none.
      skipped: outer steps whose meta-gradient was not finite.
      seconds: time spent, over all starts of the run.
    """

    learner_state: Any
    unroll_states: list[Any]
    outer_step: int
    positions: list[dict[str, int] | None]
    average: PyTree = None
    skipped: int = 0
    seconds: float = 0.0

    def record(self) -> dict[str, Any]:
        """What ``unroll_N`` holds, as a tree for Flax's serialization."""
        return {
            "unroll_states": self.unroll_states,
            "positions": [positions or {} for positions in self.positions],
            "average": self.average,
            "skipped": self.skipped,
        }

    def checkpoint(self) -> Any:
        """What ``checkpoint_N`` holds, as the ecosystem's own loop writes it."""
        return ecosystem.OptCheckpoint(
            gradient_learner_state=self.learner_state,
            elapsed_time=jnp.float32(self.seconds),
            total_inner_steps=0,
        )


class SavedRun:
    """One run's folder: refused if it is not a run of ours; not made before it is needed.

    Args:
      path: the folder.

    Raises:
      RunError: it has checkpoints that no run of this version wrote, or another process trains in
        it.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = pathlib.Path(path)
        if self.path.is_dir():
            _require_ours(self.path)
            if (self.path / runs.LOCK).exists():
                with runs.only_trainer(self.path):
                    pass  # said before anything is built

    @contextlib.contextmanager
    def only_trainer(self) -> Iterator[None]:
        """Makes the folder, holds its lock, and ends what a killed process was writing.

        Raises:
          RunError: the folder cannot be made, or another process trains in it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise runs.RunError(
                f"{self.path} cannot be a run's folder: {error.strerror}."
            ) from error
        with runs.only_trainer(self.path):
            runs.settle_pending(self.path)
            yield

    def has_checkpoints(self) -> bool:
        """Whether there is anything to go on from."""
        return bool(runs.complete_steps(self.path))

    def save(
        self, state: TrainingState, theta: PyTree, lopt: Any, training: Mapping[str, Any]
    ) -> pathlib.Path:
        """Writes a state; afterwards removes all but the newest few checkpoints.

        Args:
          state: the state.
          theta: the meta-parameters in it.
          lopt: the learned optimizer that they belong to.
          training: what is worth knowing of the training, plain data.

        Returns:
          The path of ``params_N``, which evaluation reads. These are all kept.
        """
        step, pure = state.outer_step, getattr(lopt, "maker", lopt)
        parts = {}
        if isinstance(pure, LearnedOptimizer):
            parts[runs.THETA] = theta_data(theta, pure, step, training)
        parts[runs.UNROLLS] = flax.serialization.to_bytes(state.record())
        parts[runs.PARAMS] = flax.serialization.to_bytes(
            ecosystem.ParameterCheckpoint(
                params=theta, gen_id=theta_identity(pure, training), step=step
            )
        )
        parts[runs.LEARNER] = flax.serialization.to_bytes(state.checkpoint())
        runs.write_checkpoint(self.path, step, parts)
        return self.path / runs.file_name(runs.PARAMS, step)

    def restore(self, fresh: TrainingState) -> TrainingState:
        """The newest saved state that is whole; damaged ones are set apart, which is printed.

        Args:
          fresh: a state of the same configuration, for the structure.

        Raises:
          RunError: none is whole, or what is saved has another structure.
        """
        damage = []
        for step in reversed(runs.complete_steps(self.path)):
            try:
                parts = runs.read_checkpoint(self.path, step)
            except runs.DamagedCheckpoint as error:
                damage.append((step, error))
                continue
            for damaged, error in damage:
                apart = runs.set_damaged_apart(self.path, damaged)
                print(f"{error} The checkpoint of outer step {damaged} is in {apart} now.")
            return self._state(step, parts, fresh)
        raise runs.RunError(
            f"no checkpoint in {self.path} is whole. {damage[0][1]} Choose another "
            "--train_log_dir; a theta that is left starts a new run: --gin_bindings="
            "'train.init_theta_from=\"FILE\"'."
        )

    def write_config(self, description: Mapping[str, Any]) -> None:
        """Writes the configuration, or checks that it is the one that the run had.

        The number of outer steps may differ, so that a run can be taken further.

        Args:
          description: what the run is, plain data, beside gin's configuration.

        Raises:
          RunError: the folder has a run of another configuration; names the differences.
        """
        texts = {
            runs.CONFIG: _configuration(),
            RUN: json.dumps(description, indent=1, sort_keys=True) + "\n",
        }
        if self.has_checkpoints():
            changes = [
                change
                for name, text in texts.items()
                for change in runs.differences(_text(self.path / name), text)
            ]
            if changes:
                raise runs.RunError(
                    f"{self.path} has a run of another configuration, which cannot be resumed "
                    "with this one. Choose another --train_log_dir, or undo:\n" + "\n".join(changes)
                )
        for name, text in texts.items():
            runs.write_whole(self.path / name, text.encode())

    def write_operative_config(self, data_sources: Sequence[str] = ()) -> None:
        """Writes the part of the configuration that was used, with every default.

        Args:
          data_sources: what identifies the data, as comments.
        """
        comments = "".join(f"# Data: {source}\n" for source in data_sources)
        text = comments + gin.operative_config_str()
        runs.write_whole(self.path / runs.OPERATIVE_CONFIG, text.encode())

    def _state(self, step: int, parts: Mapping[str, bytes], fresh: TrainingState) -> TrainingState:
        optimizer = self._read(step, runs.LEARNER, parts, fresh.checkpoint())
        record = self._read(step, runs.UNROLLS, parts, fresh.record())
        positions = [
            {split: int(value) for split, value in saved.items()} if current is not None else None
            for saved, current in zip(record["positions"], fresh.positions, strict=True)
        ]
        return TrainingState(
            learner_state=_on_device(optimizer.gradient_learner_state),
            unroll_states=_on_device(record["unroll_states"]),
            outer_step=step,
            positions=positions,
            average=None if fresh.average is None else _on_device(record["average"]),
            skipped=int(record["skipped"]),
            seconds=float(optimizer.elapsed_time),
        )

    def _read(self, step: int, kind: str, parts: Mapping[str, bytes], target: Any) -> Any:
        try:
            return flax.serialization.from_bytes(target, parts[kind])
        except (ValueError, KeyError) as error:
            raise runs.RunError(
                f"{self.path / runs.file_name(kind, step)} does not fit the configured optimizer "
                f"and task ({error}). It was written with another configuration: choose another "
                "--train_log_dir."
            ) from error


def _require_ours(folder: pathlib.Path) -> None:
    """Refuses a folder with checkpoints that no run of this version wrote."""
    there = {
        kind: runs.steps(folder, kind)
        for kind in (runs.MANIFEST, runs.PENDING, runs.THETA, runs.UNROLLS)
    }
    foreign = [*runs.steps(folder, runs.LEARNER), *runs.steps(folder, runs.PARAMS)]
    if there[runs.MANIFEST] or there[runs.PENDING] or not (foreign or there[runs.UNROLLS]):
        return
    if there[runs.THETA] or there[runs.UNROLLS]:
        reason = (
            "has checkpoints without a manifest, which tells whether they are whole: it was "
            "removed, or an older version wrote them"
        )
    else:
        reason = (
            "was written by the ecosystem's own loop, which does not save what going on bit for "
            "bit needs; run_train goes on in it"
        )
    raise runs.RunError(
        f"{folder} {reason}. Choose another --train_log_dir; its theta starts a new run: "
        f"--gin_bindings='train.init_theta_from=\"{folder}\"'."
    )


def _configuration() -> str:
    """Gin's configuration with every binding on one line, which is how the ecosystem reads it."""
    text = gin.config_str(max_line_length=100_000)
    return re.sub(r"^# =+$", f"# {'=' * 78}", text, flags=re.MULTILINE)


def _text(path: pathlib.Path) -> str:
    return path.read_text() if path.exists() else ""


def _on_device(tree: PyTree) -> PyTree:
    return jax.tree.map(jnp.asarray, tree)
