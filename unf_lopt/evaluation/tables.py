"""The rows of every table: HTML, Markdown and terminal show the same ones."""

from __future__ import annotations

from typing import Any, NamedTuple

from unf_lopt.evaluation.contestants import LEARNED
from unf_lopt.evaluation.results import BEST
from unf_lopt.evaluation.verdict import shown

Summary = dict[str, Any]


class Table(NamedTuple):
    """A table of texts.

    Attributes:
      title: what it shows.
      columns: their heads; the first is of the rows' names.
      rows: the cells.
      marked: which rows are of learned optimizers.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    marked: list[bool]


def at_a_glance(summary: Summary) -> Table:
    """The first table: of the only task, or over all tasks."""
    if len(summary["tasks"]) == 1:
        return of_task(summary, next(iter(summary["tasks"])))
    return over_tasks(summary)


def of_task(summary: Summary, task: str) -> Table:
    """All contestants on a task, to the loss that its best baseline ends with."""
    own, timing = summary["tasks"][task], summary["timing"]["tasks"][task]
    rows, horizon = [], summary["protocol"]["horizon"]
    for name, entry in own["contestants"].items():
        target, cost = entry["to_target"], timing[name]
        time = cost["to_target"]
        rows.append(
            (
                _title(summary, name, entry.get("setting"), best=name == own["best_baseline"]),
                shown(entry["train"]),
                shown(entry["test"]),
                _steps(target, horizon),
                "–" if target is None else _ratio(target["speedup"], target["speedup_interval"]),
                "–" if time is None or time["seconds"] is None else f"{time['seconds']:.2f}",
                "–" if time is None else _ratio(time["speedup"], time["speedup_interval"]),
                f"{1000 * cost['seconds_per_step']:.2f}",
                str(entry["diverged"]),
            )
        )
    columns = (
        "optimizer",
        "train loss",
        "test loss",
        "steps to target",
        "speed-up in steps",
        "seconds to target",
        "speed-up in time",
        "ms/step",
        "diverged",
    )
    title = f"{task}, after {horizon:,} inner steps"
    return Table(title, columns, rows, _marks(summary))


# Of a contestant over all tasks, against another one.
_LOWER_AND_FASTER = (
    "tasks with lower train loss",
    "tasks with lower test loss",
    "speed-up in steps",
    "speed-up in time",
)


def _lower_and_faster(found: Summary, time: Summary) -> tuple[str, ...]:
    """The cells of those columns."""
    return (
        f"{found['tasks_lower_in_training_loss']} of {found['tasks']}",
        f"{found['tasks_lower_in_test_loss']} of {found['tasks']}",
        _ratio(found["speedup_in_steps"], found["speedup_in_steps_interval"]),
        _ratio(time["speedup_in_time"], time["speedup_in_time_interval"]),
    )


def over_tasks(summary: Summary) -> Table:
    """All contestants over all tasks, against the best tuned baseline of each."""
    rows = []
    for name, against in summary["over_all_tasks"].items():
        found, time = against[BEST], summary["timing"]["over_all_tasks"][name][BEST]
        rows.append(
            (
                _title(summary, name),
                *_lower_and_faster(found, time),
                f"{found['runs_that_reach_it'] / found['runs']:.0%}",
                f"{time['time_of_a_step']:.2f}×",
                f"{found['diverged']} of {found['runs']}",
            )
        )
    columns = (
        "optimizer",
        *_LOWER_AND_FASTER,
        "runs that reach the target",
        "time of a step",
        "diverged",
    )
    title = f"{len(summary['tasks'])} tasks, against the best tuned baseline of each"
    return Table(title, columns, rows, _marks(summary))


def against_each(summary: Summary, name: str) -> Table:
    """One contestant over all tasks, against every baseline."""
    times = summary["timing"]["over_all_tasks"][name]
    rows = [
        (
            other if other == BEST else summary["contestants"][other]["title"],
            *_lower_and_faster(found, times[other]),
        )
        for other, found in summary["over_all_tasks"][name].items()
    ]
    columns = ("against", *_LOWER_AND_FASTER)
    title = f"{summary['contestants'][name]['title']} against every baseline"
    return Table(title, columns, rows, [False] * len(rows))


def cost_of_a_step(summary: Summary, task: str) -> Table:
    """Time and memory of a training step on a task, and relative to the first baseline's."""
    timing = summary["timing"]["tasks"][task]
    baseline = next(n for n, c in summary["contestants"].items() if c["kind"] != LEARNED)
    unit = timing[baseline]["seconds_per_step"]
    rows = [
        (
            _title(summary, name),
            f"{1000 * cost['seconds_per_step']:.3f}",
            f"{cost['seconds_per_step'] / unit:.2f}×",
            _kilobytes(cost["state_bytes"]),
            _kilobytes(cost["temporary_bytes"]),
        )
        for name, cost in timing.items()
    ]
    of = summary["contestants"][baseline]["title"]
    columns = ("optimizer", "ms/step", f"relative to {of}", "state, kB", "temporaries, kB")
    return Table(f"Cost of a training step on {task}", columns, rows, _marks(summary))


def _marks(summary: Summary) -> list[bool]:
    return [own["kind"] == LEARNED for own in summary["contestants"].values()]


def _title(summary: Summary, name: str, setting: str | None = None, *, best: bool = False) -> str:
    """A contestant with its learning rate or its outer steps; the best baseline has a star."""
    own = summary["contestants"][name]
    title, steps = own["title"] + (" ★" if best else ""), own.get("outer_steps")
    if steps is not None:
        return f"{title} ({steps:,} outer steps)"
    return title if setting is None else f"{title} (lr {setting})"


def _steps(target: dict[str, Any] | None, horizon: int) -> str:
    if target is None:
        return "–"
    beyond = f"more than {horizon:,}"
    steps, bounds = target["steps"], target["steps_interval"]
    text = beyond if steps is None else f"{steps:,}"
    if bounds is None or (steps is None and bounds[0] is None):
        return text
    low, high = (f">{horizon:,}" if end is None else f"{end:,.0f}" for end in bounds)
    return f"{text} ({low}–{high})"


def _ratio(ratio: float, bounds: list[float] | None) -> str:
    if not ratio and not (bounds and bounds[1]):
        return "not reached"
    text = f"{ratio:.2f}×" if ratio else "not reached"
    return f"{text} ({bounds[0]:.2f}–{bounds[1]:.2f})" if bounds else text


def _kilobytes(count: int | None) -> str:
    return "–" if count is None else f"{count / 1000:,.1f}"
