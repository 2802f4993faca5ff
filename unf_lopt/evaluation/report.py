"""What a person reads: the table, the closing line, `report.md`; and the files together."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import rich.box
from rich.table import Table

from unf_lopt.evaluation import plot, results
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
    """The learned optimizers and the best Adam, for a terminal."""
    title = f"{summary['task']}, after {summary['horizon']:,} inner steps"
    shown = Table(title=title, box=rich.box.SIMPLE_HEAD)
    for column in COLUMNS:
        justify = "left" if column == COLUMNS[0] else "right"
        shown.add_column(column.replace(" in ", "\nin "), justify=justify, no_wrap=True)
    for row in _rows(summary):
        shown.add_row(*row)
    return shown


def closing_line(summary: dict[str, Any], folder: pathlib.Path) -> str:
    """What was reached, in one line, with what it does not show."""
    return f"{_reached(summary)}; {_scale(summary)}; report: {folder / 'report.md'}"


def markdown(summary: dict[str, Any]) -> str:
    """`report.md`."""
    name, method = summary["optimizer"], summary["method"]
    rows = "\n".join(f"| {' | '.join(row)} |" for row in _rows(summary))
    rules = "|".join(["---", *["---:"] * (len(COLUMNS) - 1)])
    checkpoints = "\n".join(
        f"- {trained}: `{entry['checkpoint']}`"
        for trained, entry in summary["optimizers"].items()
        if entry["kind"] == "learned"
    )
    rates = [e["learning_rate"] for e in summary["optimizers"].values() if e["kind"] == "adam"]
    versions = ", ".join(f"{key} {value}" for key, value in summary["versions"].items())
    data = f"\n- Data: {source}." if (source := summary["data_source"]) else ""
    return f"""\
# {name} on {summary["task"]}

{_reached(summary)}. This is {_scale(summary)}.

![loss curves](curves.png)

| {" | ".join(COLUMNS)} |
|{rules}|
{rows}

{_steps_sentence(summary)}

Checkpoints:

{checkpoints}

## How to read this

- Losses are means ± {method["std"]} ({summary["seeds"]}) after \
{summary["horizon"]:,} inner steps, each over {summary["final_eval_batches"]} batches.
- {_pairing(summary)} Held out: {method["held_out"]}.
- Best Adam: {method["best_adam"]}, of {len(rates)} learning rates from {min(rates):g} to \
{max(rates):g}.
- Speed-up in steps: {method["speedup_in_steps"]}. Evaluated every {summary["eval_every"]} steps.
- ms/step: {method["seconds_per_inner_step"]}.
- Speed-up in time: {method["speedup_in_time"]}; below 1 is slower than Adam.
- Device: {summary["device"]}. Versions: {versions}.{data}

All figures are in `results.json`, all curves in `curves.csv`.
"""


def _rows(summary: dict[str, Any]) -> list[list[str]]:
    timing, best = summary["timing"], summary["best_adam"]
    rows = []
    for name, entry in summary["optimizers"].items():
        if entry["kind"] != "learned" and name != best:
            continue
        learned = entry["kind"] == "learned"
        in_steps = entry["against_best_adam"]["speedup_in_steps"] if learned else 1.0
        in_time = timing["speedup_in_time"][name] if learned else 1.0
        rows.append(
            [
                name if learned else f"best Adam (lr {entry['learning_rate']:g})",
                f"{entry['outer_steps']:,}" if learned else "–",
                _loss(entry["train"]),
                _loss(entry["test"]),
                _times(in_steps),
                f"{1000 * timing['seconds_per_inner_step'][name]:.2f}",
                _times(in_time),
            ]
        )
    return rows


def _reached(summary: dict[str, Any]) -> str:
    main = summary["optimizers"][summary["optimizer"]]
    adam = summary["optimizers"][summary["best_adam"]]
    return (
        f"{summary['optimizer']} after {main['outer_steps']:,} outer steps: train loss "
        f"{_loss(main['train'])} at inner step {summary['horizon']:,}; best Adam "
        f"(lr {adam['learning_rate']:g}): {_loss(adam['train'])}"
    )


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


def _steps_sentence(summary: dict[str, Any]) -> str:
    name = summary["optimizer"]
    against = summary["optimizers"][name]["against_best_adam"]

    def steps(count: int | None) -> str:
        return f"more than {summary['horizon']:,}" if count is None else f"{count:,}"

    return (
        f"To {name}'s final loss the best Adam needs "
        f"{steps(against['adams_steps_to_our_final_loss'])} inner steps; to the best Adam's final "
        f"loss {name} needs {steps(against['our_steps_to_adams_final_loss'])}."
    )


def _loss(statistics: dict[str, Any]) -> str:
    mean, std = statistics["final_mean"], statistics["final_std"]
    if mean is None:
        return "diverged"
    return f"{mean:.3g}" if std is None else f"{mean:.3g} ± {std:.2g}"


def _times(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}×"
