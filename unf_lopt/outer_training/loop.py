"""The outer loop: gradient estimators and a learner, in a run that can be resumed."""

from __future__ import annotations

import contextlib
import pathlib
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

from unf_lopt import ecosystem
from unf_lopt.ecosystem.gin_decorator import REQUIRED, configurable
from unf_lopt.optimizers import LearnedOptimizer, load_theta, optimizer_name
from unf_lopt.outer_training.diagnosis import TrainingError, why_not_finite
from unf_lopt.outer_training.metrics import MetricsLog, Progress
from unf_lopt.outer_training.saved_run import SavedRun, TrainingState

# A run whose first outer steps are all skipped will not get better by itself.
_STEPS_WITHOUT_GRADIENT = 5


@configurable()
def train(
    train_log_dir: str,
    lopt: Any = REQUIRED,
    num_steps: int = REQUIRED,
    *,
    task_families: Sequence[Any] = (),
    num_estimators: int = 1,
    seed: int = 0,
    init_theta_from: str | None = None,
    save_every_seconds: float = 60.0,
    estimator_fn: Callable[..., Any] | None = None,
    theta_averaging: float | None = None,
    estimators: Sequence[Any] | None = None,
    learner: Any = None,
) -> pathlib.Path:
    """Meta-trains a learned optimizer; resumes the run that the folder has.

    Each outer step asks every gradient estimator for a meta-gradient of one truncation and gives
    their mean to the ecosystem's ``GradientLearner``. Both come from gin
    (``build_gradient_estimators``, ``GradientLearner``), unless they are given. Randomness is a
    function of ``seed`` and the outer step alone. A run that was killed and resumed ends bit for
    bit where an uninterrupted one ends, on the same machine and number of cores, if the task's
    data can be positioned (this project's can; the ecosystem's TFDS readers cannot). A
    meta-gradient that is not finite is not applied: the step counts as skipped and the inner runs
    start anew.

    Args:
      train_log_dir: the run's folder; one process trains in it at a time.
      lopt: the learned optimizer.
      num_steps: outer steps in all.
      task_families: task families to train on together with one theta, the optimizer bound to
        each; none for the one that gin's ``build_gradient_estimators`` has.
      num_estimators: how many gradient estimators are averaged, of each family.
      seed: of theta, perturbations and inner problems.
      init_theta_from: a theta file or a run's folder to take the first theta from.
      save_every_seconds: time between checkpoints; one is always written at the end, on Ctrl-C
        and on SIGTERM.
      estimator_fn: makes a gradient estimator of ``task_family`` and ``learned_opt``, such as
        ``unf_lopt.estimators.HorizonES``, in place of gin's ``build_gradient_estimators``.
      theta_averaging: decay of a running average of theta over outer steps, which is then what is
        saved as theta; training itself goes on without it.
      estimators: gradient estimators of the ecosystem, in place of gin's; see
        ``unf_lopt.ecosystem.gradient_estimator``.
      learner: a ``GradientLearner`` for ``lopt``, in place of gin's; see
        ``unf_lopt.ecosystem.make_learner``.

    Returns:
      The path of the last ``params_`` file.

    Raises:
      RunError: the folder has a run of another configuration or of another program, another
        process trains in it, or what is saved in it is damaged.
      ValueError: ``num_steps`` is not positive; the families' weight spaces differ and the
        optimizer has one theta for each.
      TrainingError: the first outer steps had no finite meta-gradient.
      FileNotFoundError: ``init_theta_from`` is not there.
      TypeError: what is to be trained, or trained on, is something else.
    """
    if num_steps < 1:
        raise ValueError(f"train(num_steps={num_steps}): at least one outer step is needed.")
    _check_kinds(lopt, task_families)
    saved = SavedRun(train_log_dir)
    device = jax.devices()[0]
    print(f"{ecosystem.describe()}, on {device.device_kind} ({device})")
    print(_weight_space(lopt, task_families))
    # Whatever cannot be built is known before anything is written.
    run = _Run(lopt, seed, init_theta_from, learner, theta_averaging)
    run.build(
        estimators
        or ecosystem.make_gradient_estimators(
            lopt, run.build_key, num_estimators, task_families, estimator_fn
        )
    )
    with saved.only_trainer():
        saved.write_config(_description(lopt, task_families, num_estimators, seed))
        run.resume(saved)
        return _train(run, num_steps, save_every_seconds)


def _train(run: _Run, num_steps: int, save_every_seconds: float) -> pathlib.Path:
    sources = run.data_sources()
    for source in sources:
        print(f"data: {source}")
    run.saved.write_operative_config(sources)
    log = MetricsLog(run.saved.path, run.state.outer_step)
    progress = Progress(run.state.outer_step, num_steps)
    with contextlib.closing(log), contextlib.closing(progress), _stop_signals() as stopped:
        saved_at = time.monotonic()
        while run.state.outer_step < num_steps and not stopped:
            row = run.step()
            log.write(row)
            progress.update(run.state.outer_step, row["meta_loss"])
            run.require_some_gradient(num_steps)
            if time.monotonic() - saved_at > save_every_seconds:
                run.save()
                saved_at = time.monotonic()
        path = run.save()
    _report(run.state, num_steps, path)
    return path


class _WarmStart:
    """Gives the learner, which only initializes, a theta that was trained before.

    The ecosystem's own ``init_theta_from_path`` cannot read the folders that it now writes.
    """

    def __init__(self, theta: Any):
        self._theta = theta

    def init(self, key: jax.Array) -> Any:
        return self._theta


class _Run:
    """Learner, estimators and state of one run."""

    def __init__(
        self,
        lopt: Any,
        seed: int,
        init_theta_from: str | None,
        learner: Any,
        theta_averaging: float | None,
    ):
        if theta_averaging is not None and not 0 < theta_averaging < 1:
            raise ValueError(
                f"train(theta_averaging={theta_averaging}): must be between 0 and 1, or None."
            )
        self._averaging = theta_averaging
        self._lopt = lopt
        self._key = jax.random.PRNGKey(seed)
        self._init_key, self.build_key, self._unroll_key = jax.random.split(self._step_key(0), 3)
        theta = load_theta(init_theta_from, lopt)[0] if init_theta_from else None
        if learner is not None and theta is not None:
            raise ValueError("train: a learner that is given has a theta; leave init_theta_from.")
        self._learner = learner or ecosystem.make_learner(
            lopt if theta is None else _WarmStart(theta)
        )

    def build(self, estimators: Sequence[Any]) -> None:
        """Makes the state before the first outer step."""
        self._estimators = list(estimators)
        learner_state = self._learner.init(self._init_key)
        weights = self._learner.get_state_for_worker(learner_state)
        unrolls = ecosystem.init_unroll_states(weights, self._estimators, self._unroll_key)
        average = None if self._averaging is None else self._theta(learner_state)
        self.state = TrainingState(learner_state, unrolls, 0, self._positions(), average)

    def resume(self, saved: SavedRun) -> None:
        """Takes a folder to save to, and the state that it has, if it has one."""
        self.saved = saved
        if saved.has_checkpoints():
            self.state = saved.restore(self.state)
            self._move_data()
            print(f"resumed {self.saved.path} at outer step {self.state.outer_step}")

    def step(self) -> dict[str, float]:
        """One outer step; returns its row of metrics."""
        started = time.monotonic()
        state = self.state
        key = self._step_key(state.outer_step + 1)
        gradient_key, update_key, restart_key = jax.random.split(key, 3)
        weights = self._learner.get_state_for_worker(state.learner_state)
        gradient = ecosystem.compute_gradient(
            weights, self._estimators, state.unroll_states, gradient_key
        )
        state.outer_step += 1
        norm = float("nan")
        if gradient.finite:
            state.unroll_states = gradient.unroll_states
            state.learner_state, metrics = ecosystem.apply_gradient(
                self._learner, state.learner_state, gradient, update_key, with_metrics=True
            )
            norm = metrics["theta_grad_norm"]
            if self._averaging is not None:
                state.average = _averaged(
                    state.average, self._theta(state.learner_state), self._averaging
                )
        else:
            state.skipped += 1
            self._not_finite = gradient
            state.unroll_states = ecosystem.init_unroll_states(
                weights, self._estimators, restart_key
            )
        state.positions = self._positions()
        state.seconds += time.monotonic() - started
        return {
            "outer_step": state.outer_step,
            "meta_loss": gradient.mean_loss,
            "meta_gradient_norm": norm,
            "skipped": state.skipped,
            "seconds": state.seconds,
        }

    def require_some_gradient(self, num_steps: int) -> None:
        """Ends a run whose first steps were all skipped: nothing would come of it.

        Raises:
          TrainingError: saying which task and what of it is not finite.
        """
        steps = self.state.outer_step
        if self.state.skipped == steps >= min(num_steps, _STEPS_WITHOUT_GRADIENT):
            raise TrainingError(
                f"none of the first {steps} outer steps had a finite meta-gradient. "
                f"{why_not_finite(self._families(), self._not_finite)}"
            )

    def save(self) -> pathlib.Path:
        """Writes a checkpoint; returns the path of theta."""
        theta = self.state.average
        if theta is None:
            theta = self._theta(self.state.learner_state)
        training = {"task_families": sorted({family.name for family in self._families()})}
        return self.saved.save(self.state, theta, self._lopt, training)

    def data_sources(self) -> list[str]:
        """What identifies the data of the tasks, where they say it."""
        sources = map(ecosystem.data_source, self._datasets())
        return sorted({source for source in sources if source})

    def _theta(self, learner_state: Any) -> Any:
        return ecosystem.theta_of(self._learner, learner_state)

    def _step_key(self, step: int) -> jax.Array:
        return jax.random.fold_in(self._key, step)

    def _families(self) -> list[Any]:
        return [ecosystem.task_family_of(estimator) for estimator in self._estimators]

    def _datasets(self) -> list[Any]:
        return [family.datasets for family in self._families()]

    def _positions(self) -> list[dict[str, int] | None]:
        return [ecosystem.positions(datasets) for datasets in self._datasets()]

    def _move_data(self) -> None:
        for datasets, position in zip(self._datasets(), self.state.positions, strict=True):
            if position is None:
                print(
                    "the task's data readers cannot be positioned: the data of this resumed run "
                    "start anew, so it will not end bit for bit where an uninterrupted one does"
                )
            else:
                ecosystem.set_positions(datasets, position)


@jax.jit
def _averaged(average: Any, theta: Any, decay: float) -> Any:
    return jax.tree.map(
        lambda old, new: (decay * old + (1 - decay) * new).astype(old.dtype), average, theta
    )


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM end the loop after the step in progress; a second one ends it at once."""
    received: list[int] = []

    def stop(number: int, frame: Any) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        print("\nstopping after this outer step; the checkpoint is written then", flush=True)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _description(
    lopt: Any, task_families: Sequence[Any], num_estimators: int, seed: int
) -> dict[str, Any]:
    """What a run is, as data: what a resumed one must have in common with it."""
    pure = getattr(lopt, "maker", lopt)
    described = isinstance(pure, LearnedOptimizer)
    spec = getattr(lopt, "theta_spec", None)
    return {
        "optimizer": pure.description() if described else optimizer_name(lopt),
        "weight_space": None if spec is None else spec.canonical().to_json(),
        "task_families": [family.name for family in task_families],
        "num_estimators": num_estimators,
        "seed": seed,
    }


def _check_kinds(lopt: Any, task_families: Sequence[Any]) -> None:
    if not isinstance(lopt, ecosystem.LearnedOptimizer):
        raise TypeError(
            f"train(lopt={type(lopt).__name__}): not a learned optimizer, such as LOPT=@unf()."
        )
    for family in task_families:
        if not isinstance(family, ecosystem.Task | ecosystem.TaskFamily):
            raise TypeError(
                f"train(task_families): {type(family).__name__} is neither a task family nor a "
                "task, such as @digits_mlp_family()."
            )


def _weight_space(lopt: Any, task_families: Sequence[Any]) -> str:
    """One line: what an optimizer knows of the symmetry of its task or tasks."""
    if task_families:
        names = ", ".join(family.name for family in task_families)
        return f"{optimizer_name(lopt)}: one theta for {len(task_families)} task families: {names}"
    spec = getattr(lopt, "spec", None)
    if spec is None:
        return f"{optimizer_name(lopt)}: uses no permutation symmetry of the task"
    groups = [f"{name} ({size})" for name, size in spec.groups.items()]
    shown = ", ".join(groups[:4]) + (f" and {len(groups) - 4} more" if len(groups) > 4 else "")
    found = "written by hand" if spec.provenance is None else "found from its loss"
    return (
        f"{optimizer_name(lopt)}: symmetry of the task {found}, {len(groups)} permutable "
        f"space(s) in {len(spec.paths)} parameters: {shown or 'none'}"
    )


def _report(state: TrainingState, num_steps: int, path: pathlib.Path) -> None:
    skipped = f", {state.skipped} skipped (meta-gradient not finite)" if state.skipped else ""
    done = "done" if state.outer_step >= num_steps else f"stopped, {num_steps} were asked for"
    print(f"{state.outer_step} outer steps{skipped}: {done}; checkpoint: {path}")
