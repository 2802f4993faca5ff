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
from unf_lopt.optimizers import LearnedOptimizer, optimizer_name
from unf_lopt.outer_training.metrics import MetricsLog, Progress
from unf_lopt.outer_training.run import Run
from unf_lopt.outer_training.saved_run import SavedRun
from unf_lopt.outer_training.workers import share_out
from unf_lopt.processes import Group

# What a process may ask for in an outer step; the largest holds for all, after the step.
_GO_ON, _SAVE, _STOP = 0, 1, 2


@configurable()
def train(
    train_log_dir: str,
    lopt: Any = REQUIRED,
    num_steps: int = REQUIRED,
    *,
    task_families: Sequence[Any] = (),
    num_estimators: int = 1,
    num_workers: int = 1,
    seed: int = 0,
    init_theta_from: str | None = None,
    save_every_seconds: float = 60.0,
    estimator_fn: Callable[..., Any] | None = None,
    theta_averaging: float | None = None,
    estimators: Sequence[Any] | None = None,
    learner: Any = None,
    group: Group | None = None,
) -> pathlib.Path:
    """Meta-trains a learned optimizer; resumes the run that the folder has.

    In each outer step every worker takes a meta-gradient of one truncation from every gradient
    estimator, and the mean of all goes to the ecosystem's ``GradientLearner``. Both come from gin
    (``build_gradient_estimators``, ``GradientLearner``), unless they are given. Randomness is a
    function of ``seed``, the outer step and the worker's number alone. A run that was killed and
    resumed ends bit for bit where an uninterrupted one ends, on the same machine and number of
    cores, with whatever number of processes, if the task's data can be positioned (this project's
    can; the ecosystem's TFDS readers cannot). A meta-gradient that is not finite is not applied:
    the step counts as skipped and the inner runs start anew.

    Args:
      train_log_dir: the run's folder; one process trains in it at a time.
      lopt: the learned optimizer.
      num_steps: outer steps in all.
      task_families: task families to train on together with one theta, the optimizer bound to
        each, or lists of them; none for the one that gin's ``build_gradient_estimators`` has.
      num_estimators: how many gradient estimators a worker averages, of each family.
      num_workers: how many workers take part, each with perturbations, inner runs and data of its
        own; processes and devices share them out.
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
      group: the processes of the run, where there is not one alone; all have the same arguments.

    Returns:
      The path of the last ``params_`` file.

    Raises:
      RunError: the folder has a run of another configuration or of another program, another
        process trains in it, or what is saved in it is damaged.
      ValueError: ``num_steps`` is not positive; the families' weight spaces differ and the
        optimizer has one theta for each; the workers cannot be shared out equally.
      ProcessError: another process of the run ended, or does not answer.
      TrainingError: the first outer steps had no finite meta-gradient.
      FileNotFoundError: ``init_theta_from`` is not there.
      TypeError: what is to be trained, or trained on, is something else.
    """
    if num_steps < 1:
        raise ValueError(f"train(num_steps={num_steps}): at least one outer step is needed.")
    task_families = _checked(lopt, task_families)
    group = group or Group()
    saved = SavedRun(train_log_dir, group)
    workers = share_out(num_workers)
    if group.leads:
        device = jax.devices()[0]
        print(f"{ecosystem.describe()}, on {device.device_kind} ({device})")
        print(_weight_space(lopt, task_families))
        print(workers.describe())
    # Whatever cannot be built is known before anything is written.
    run = Run(lopt, workers, group, seed, init_theta_from, learner, theta_averaging)
    run.build(
        estimators
        or ecosystem.make_gradient_estimators(
            lopt, run.build_key, num_estimators, task_families, estimator_fn
        )
    )
    with saved.only_trainer():
        saved.write_config(_description(lopt, task_families, num_estimators, num_workers, seed))
        run.resume(saved)
        return _train(run, group, num_steps, save_every_seconds)


def _train(run: Run, group: Group, num_steps: int, save_every_seconds: float) -> pathlib.Path:
    sources = run.data_sources()
    run.saved.write_operative_config(sources)
    with contextlib.ExitStack() as open_, _stop_signals() as stopped:
        logs: list[MetricsLog | Progress] = []
        if group.leads:
            for source in sources:
                print(f"data: {source}")
            if group.number > 1 and not run.data_can_be_positioned():
                print(
                    "the task's data readers cannot be positioned: the processes may read the same "
                    "batches, unless their readers are seeded apart"
                )
            logs = [MetricsLog(run.saved.path, run.outer_step), Progress(run.outer_step, num_steps)]
            for log in logs:
                open_.enter_context(contextlib.closing(log))
        saved_at, agreed = time.monotonic(), _STOP if stopped else _GO_ON
        while run.outer_step < num_steps and agreed != _STOP:
            due = group.leads and time.monotonic() - saved_at > save_every_seconds
            row = run.step(_STOP if stopped else _SAVE if due else _GO_ON)
            for log in logs:
                log.write(row)
            run.require_some_gradient(num_steps)
            agreed = row["request"]
            if agreed == _SAVE:
                run.save()
                saved_at = time.monotonic()
        path = run.save()
    if group.leads:
        _report(run, num_steps, path)
    return path


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
    lopt: Any, task_families: Sequence[Any], num_estimators: int, num_workers: int, seed: int
) -> dict[str, Any]:
    """What a run is, as data: what a resumed one must have in common with it."""
    pure = ecosystem.maker_of(lopt)
    described = isinstance(pure, LearnedOptimizer)
    spec = getattr(lopt, "theta_spec", None)
    return {
        "optimizer": pure.description() if described else optimizer_name(lopt),
        "weight_space": None if spec is None else spec.canonical().to_json(),
        "task_families": [family.name for family in task_families],
        "num_estimators": num_estimators,
        "num_workers": num_workers,
        "seed": seed,
    }


def _checked(lopt: Any, task_families: Any) -> tuple[Any, ...]:
    """The task families as one row; lists among them, such as those of a suite, are taken apart.

    Raises:
      TypeError: something is no optimizer, task family or task.
    """
    if not isinstance(lopt, ecosystem.LearnedOptimizer):
        raise TypeError(
            f"train(lopt={type(lopt).__name__}): not a learned optimizer, such as LOPT=@unf()."
        )
    families = tuple(jax.tree.leaves(task_families, is_leaf=lambda value: value is None))
    for family in families:
        if not isinstance(family, ecosystem.Task | ecosystem.TaskFamily):
            raise TypeError(
                f"train(task_families): {type(family).__name__} is neither a task family nor a "
                "task, such as @digits_mlp_family()."
            )
    return families


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


def _report(run: Run, num_steps: int, path: pathlib.Path) -> None:
    skipped = f", {run.skipped} skipped (meta-gradient not finite)" if run.skipped else ""
    done = "done" if run.outer_step >= num_steps else f"stopped, {num_steps} were asked for"
    print(f"{run.outer_step} outer steps{skipped}: {done}; checkpoint: {path}")
