"""What a run of outer training keeps on disk, in the ecosystem's formats, and how it goes on.

``params_N`` is the ecosystem's ``ParameterCheckpoint`` (theta, for using the optimizer),
``checkpoint_N`` its ``OptCheckpoint`` (meta-optimizer state), ``unroll_N`` and ``unroll_N.K`` what
the ecosystem does not save and a run needs to go on as if it had never stopped, the latter the
inner runs of worker K, ``theta_N.safetensors`` the theta that is handed on. N is the outer step.
Every process writes the parts of its workers, and the first one all others.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import flax.serialization
import gin
import jax.numpy as jnp

from unf_lopt import ecosystem, runs
from unf_lopt._types import PyTree
from unf_lopt.optimizers import LearnedOptimizer, theta_data, theta_identity
from unf_lopt.processes import Group


@dataclasses.dataclass
class TrainingState:
    """Everything that an outer-training run needs to go on.

    Attributes:
      learner_state: the ecosystem's ``GradientLearnerState``: theta and meta-optimizer.
      unroll_states: of every worker of this process, by its number, for each estimator the
        inner runs in progress and PES's accumulators.
      outer_step: outer steps taken, skipped ones included.
      average: the running average of theta; None where there is none.
      skipped: outer steps whose meta-gradient was not finite.
      seconds: time spent, over all starts of the run.
    """

    learner_state: Any
    unroll_states: dict[int, list[Any]]
    outer_step: int
    average: PyTree = None
    skipped: int = 0
    seconds: float = 0.0

    def record(self) -> dict[str, Any]:
        """What ``unroll_N`` holds, as a tree for Flax's serialization."""
        return {"average": self.average, "skipped": self.skipped}

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
      path: the folder, the same for all processes of a run.
      group: those processes.

    Raises:
      RunError: it has checkpoints that no run of this version wrote, or another run trains in it.
    """

    def __init__(self, path: str | os.PathLike[str], group: Group):
        self.path, self._group = pathlib.Path(path), group
        if self.leads and self.path.is_dir():
            _require_ours(self.path)
            if (self.path / runs.LOCK).exists():
                with runs.only_trainer(self.path):
                    pass  # said before anything is built

    @property
    def leads(self) -> bool:
        """Whether this process writes what all share."""
        return self._group.leads

    @contextlib.contextmanager
    def only_trainer(self) -> Iterator[None]:
        """Makes the folder, holds its lock, and ends what a killed process was writing.

        Raises:
          RunError: the folder cannot be made, or another process trains in it.
        """
        with contextlib.ExitStack() as held:
            if self.leads:
                try:
                    self.path.mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    raise runs.RunError(
                        f"{self.path} cannot be a run's folder: {error.strerror}."
                    ) from error
                held.enter_context(runs.only_trainer(self.path))
                runs.settle_pending(self.path)
            self._group.gather("the run's folder", None)
            if not self.path.is_dir():
                raise runs.RunError(
                    f"{self.path} of the first process is not there for process "
                    f"{self._group.own}: all have to see the same folder."
                )
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
        step = state.outer_step
        parts = {
            runs.of_worker(worker): flax.serialization.to_bytes(own)
            for worker, own in state.unroll_states.items()
        }
        if self.leads:
            parts |= self._shared_parts(state, theta, lopt, training)
        # Nothing is written before the first process has said what will be, and the whole counts
        # once all have written.
        told = self._group.gather(f"checkpoint {step}", runs.checksums(step, parts))
        if self.leads:
            files = {name: digits for own in told for name, digits in own.items()}
            runs.begin_checkpoint(self.path, step, files)
        self._group.gather(f"beginning of checkpoint {step}", None)
        runs.write_parts(self.path, step, parts)
        self._group.gather(f"end of checkpoint {step}", None)
        if self.leads:
            runs.finish_checkpoint(self.path, step)
        return self.path / runs.file_name(runs.PARAMS, step)

    def _shared_parts(
        self, state: TrainingState, theta: PyTree, lopt: Any, training: Mapping[str, Any]
    ) -> dict[str, bytes]:
        """What the first process writes, by kind."""
        step, pure = state.outer_step, ecosystem.maker_of(lopt)
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
        return parts

    def restore(self, fresh: TrainingState) -> TrainingState:
        """The newest saved state that is whole; damaged ones are set apart, which is printed.

        Args:
          fresh: a state of the same configuration, for the structure.

        Raises:
          RunError: none is whole, or what is saved has another structure.
        """
        damage: list[tuple[int, str]] = []
        for step in self._complete_steps():
            parts, error = self._parts(step, fresh.unroll_states)
            errors = [told for told in self._group.gather(f"checkpoint {step}", error) if told]
            if errors:
                damage.append((step, errors[0]))
                continue
            if self.leads:
                for damaged, reason in damage:
                    apart = runs.set_damaged_apart(self.path, damaged)
                    print(f"{reason} The checkpoint of outer step {damaged} is in {apart} now.")
            return self._state(step, parts, fresh)
        raise runs.RunError(
            f"no checkpoint in {self.path} is whole. {damage[0][1]} Choose another "
            "--train_log_dir; a theta that is left starts a new run: --gin_bindings="
            "'train.init_theta_from=\"FILE\"'."
        )

    def _complete_steps(self) -> list[int]:
        """Falling, as the first process sees them: it may be removing some."""
        found = list(reversed(runs.complete_steps(self.path)))
        return self._group.gather("checkpoints", found)[0]

    def _parts(self, step: int, workers: Collection[int]) -> tuple[dict[str, bytes], str]:
        """What this process needs of a checkpoint, or what is wrong with it.

        The first process looks at all parts but the inner runs of the others' workers.
        """
        try:
            own = {runs.of_worker(worker) for worker in workers}
            shared = {runs.LEARNER, runs.UNROLLS}
            if self.leads:
                kinds = runs.parts_of(self.path, step)
                shared |= {kind for kind in kinds if not kind.startswith(f"{runs.UNROLLS}.")}
            return runs.read_checkpoint(self.path, step, own | shared), ""
        except runs.DamagedCheckpoint as error:
            return {}, str(error)

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
            runs.RUN: json.dumps(description, indent=1, sort_keys=True) + "\n",
        }
        if not self.leads:
            return
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
        if not self.leads:
            return
        comments = "".join(f"# Data: {source}\n" for source in data_sources)
        text = comments + gin.operative_config_str()
        runs.write_whole(self.path / runs.OPERATIVE_CONFIG, text.encode())

    def _state(self, step: int, parts: Mapping[str, bytes], fresh: TrainingState) -> TrainingState:
        optimizer = self._read(step, runs.LEARNER, parts, fresh.checkpoint())
        record = self._read(step, runs.UNROLLS, parts, fresh.record())
        return TrainingState(
            learner_state=optimizer.gradient_learner_state,
            unroll_states={
                worker: self._read(step, runs.of_worker(worker), parts, own)
                for worker, own in fresh.unroll_states.items()
            },
            outer_step=step,
            average=record["average"],
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
