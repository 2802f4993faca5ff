"""What a person reads: the table, the closing line, `report.md`; and the files together."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import rich.box
from rich.table import Table

from unf_lopt.evaluation import plot, results, verdict
from unf_lopt.evaluation.outcome import Outcome
from unf_lopt.runs import write_whole

COLUMNS = (
    "optimizer",
    "outer steps",
    "train loss",
    "test loss",
    "speed-up in steps",
    "ms/step",
    "speed-up in time",
)
_ONE_OUTER_SEED = (
    "Each learned optimizer is of one run of outer training, with one outer seed. The ± is over "
    "inner seeds only: how losses vary from one outer seed to the next is not seen here, and the "
    "ranking of learned optimizers can turn with another outer seed."
)


def write(outcome: Outcome, folder: pathlib.Path) -> dict[str, Any]:
    """Writes `results.json`, `curves.csv`, `curves.png` and `report.md`, each whole or not at all.

    Returns:
      What `results.json` has.
    """
    folder.mkdir(parents=True, exist_ok=True)
    summary = results.summary(outcome)
    text = json.dumps(summary, indent=2, allow_nan=False) + "\n"
    write_whole(folder / "curves.csv", results.curves_csv(outcome).encode())
    write_whole(folder / "curves.png", plot.png(outcome))
    write_whole(folder / "report.md", markdown(summary).encode())
    write_whole(folder / "results.json", text.encode())
    return summary


def table(summary: dict[str, Any]) -> Table:
    """The learned optimizers and every baseline at its best rate, for a terminal."""
    title = f"{summary['task']}, after {summary['horizon']:,} inner steps"
    shown = Table(title=title, box=rich.box.SIMPLE_HEAD)
    for column in COLUMNS:
        justify = "left" if column == COLUMNS[0] else "right"
        shown.add_column(column.replace(" in ", "\nin "), justify=justify, no_wrap=True)
    for row in _rows(summary):
        shown.add_row(*row)
    return shown


def closing_line(summary: dict[str, Any], folder: pathlib.Path) -> str:
    """Who won and what was reached, in one line, with what it does not show."""
    reached, file = _reached(summary), folder / "report.md"
    return f"{verdict.verdict(summary)}; {reached}; {_scale(summary)}; report: {file}"


def markdown(summary: dict[str, Any]) -> str:
    """`report.md`; its first line says who won."""
    name, method = summary["optimizer"], summary["method"]
    main = summary["baselines"][summary["main_baseline"]]["title"]
    rows = "\n".join(f"| {' | '.join(row)} |" for row in _rows(summary))
    rules = "|".join(["---", *["---:"] * (len(COLUMNS) - 1)])
    learned = [key for key, own in summary["optimizers"].items() if own["kind"] == "learned"]
    checkpoints = _bullets(
        f"{key}: `{summary['optimizers'][key]['checkpoint']}`" for key in learned
    )
    speedups = _bullets(f"{key}: {verdict.speedups(summary, key)}." for key in learned)
    open_ends = _bullets([*verdict.cautions(summary), _ONE_OUTER_SEED])
    versions = ", ".join(f"{key} {value}" for key, value in summary["versions"].items())
    data = f"\n- Data: {source}." if (source := summary["data_source"]) else ""
    return f"""\
# {verdict.verdict(summary)}

{name} on {summary["task"]}: {_reached(summary)}. This is {_scale(summary)}.

![loss curves](curves.png)

| {" | ".join(COLUMNS)} |
|{rules}|
{rows}

Speed-ups of the table are relative to the best {main}. Against every baseline:

{speedups}

{_steps_sentences(summary)}

{_bullets(verdict.test_losses(summary))}

Checkpoints:

{checkpoints}

## What this leaves open

{open_ends}

## How to read this

- Losses are means ± {method["std"]} ({summary["seeds"]}) after \
{summary["horizon"]:,} inner steps, each over {summary["final_eval_batches"]} batches.
- {_pairing(summary)} Held out: {method["held_out"]}.
{_bullets(_grids(summary))}
- Best rate: {method["best_rate"]} ({summary["tuning_seeds"]} of them).
- Speed-up in steps: {method["speedup_in_steps"]}. Evaluated every {summary["eval_every"]} steps.
- Intervals: {method["interval"]}.
- ms/step: {method["seconds_per_inner_step"]}.
- Speed-up in time: {method["speedup_in_time"]}; below 1 is slower than the baseline.
- Device: {summary["device"]}. Versions: {versions}.{data}

All figures are in `results.json`, all curves in `curves.csv`.
"""


def _rows(summary: dict[str, Any]) -> list[list[str]]:
    rows = []
    for name, (in_steps, in_time) in verdict.relative_to_main(summary).items():
        entry = summary["optimizers"][name]
        rows.append(
            [
                verdict.label(summary, name),
                f"{entry['outer_steps']:,}" if entry["kind"] == "learned" else "–",
                _loss(entry["train"]),
                _loss(entry["test"]),
                _times(in_steps),
                f"{1000 * summary['timing']['seconds_per_inner_step'][name]:.2f}",
                _times(in_time),
            ]
        )
    return rows


def _reached(summary: dict[str, Any]) -> str:
    optimizers = summary["optimizers"]
    own = _loss(optimizers[summary["optimizer"]]["train"])
    others = ", ".join(
        f"{verdict.best_of(summary, name)}: {_loss(optimizers[entry['best']]['train'])}"
        for name, entry in summary["baselines"].items()
    )
    return f"train loss {own} at inner step {summary['horizon']:,}, {others}"


def _scale(summary: dict[str, Any]) -> str:
    """How far the run is from the paper's, so that nobody takes a demo for a result."""
    outer, horizon = summary["outer_steps"], summary["horizon"]
    kind = "a short demo" if outer < summary["paper_outer_steps"] / 10 else "a run"
    outer_part = f"{kind}: {outer:,} outer steps (the paper uses {summary['paper_outer_steps']:,})"
    if horizon == summary["paper_horizon"]:
        return f"{outer_part}, the paper's inner horizon of {horizon:,}"
    return f"{outer_part}, inner horizon {horizon:,} (the paper's is {summary['paper_horizon']:,})"


def _pairing(summary: dict[str, Any]) -> str:
    if summary["same_seeds_and_batches"]:
        return "All optimizers start from the same parameters and see the same batches."
    return (
        "The optimizers do not see the same batches: the task's data readers cannot be started "
        "anew, so differences between them are noisier than the seeds show."
    )


def _steps_sentences(summary: dict[str, Any]) -> str:
    name = summary["optimizer"]

    def steps(count: int | None) -> str:
        return f"more than {summary['horizon']:,}" if count is None else f"{count:,}"

    return _bullets(
        f"{_interval(against)}To {name}'s final loss the best "
        f"{summary['baselines'][baseline]['title']} needs "
        f"{steps(against['baselines_steps_to_our_final_loss'])} inner steps; to that one's final "
        f"loss {name} needs {steps(against['our_steps_to_baselines_final_loss'])}."
        for baseline, against in summary["optimizers"][name]["against"].items()
    )


def _interval(against: dict[str, Any]) -> str:
    """The interval of a speed-up in steps, in words."""
    found = against["speedup_in_steps_interval"]
    if found is None:
        return ""
    ratio = _times(against["speedup_in_steps"])
    return f"Speed-up in steps {ratio} ({found[0]:.2f} to {found[1]:.2f}). "


def _grids(summary: dict[str, Any]) -> Iterator[str]:
    for entry in summary["baselines"].values():
        rates = entry["learning_rates"]
        yield f"{entry['title']}: {len(rates)} learning rates from {rates[0]:g} to {rates[-1]:g}."


def _bullets(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _loss(statistics: dict[str, Any]) -> str:
    mean, std = statistics["final_mean"], statistics["final_std"]
    if mean is None:
        return "diverged"
    return f"{mean:.3g}" if std is None else f"{mean:.3g} ± {std:.2g}"


def _times(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}×"
