"""What a person reads, and the files together."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterable
from typing import Any

import rich.box
import rich.table

from unf_lopt.evaluation import plot, results, tables, verdict
from unf_lopt.evaluation.outcome import Outcome
from unf_lopt.evaluation.page import page
from unf_lopt.runs import write_whole

HTML = "report.html"


def write(outcome: Outcome, folder: pathlib.Path) -> dict[str, Any]:
    """Writes the files of a report, each whole or not at all.

    `report.html` is what to read. `results.json` and `curves.csv` have the numbers; `report.md` and
    `curves.png` are for places that show no HTML.

    Returns:
      What `results.json` has.
    """
    folder.mkdir(parents=True, exist_ok=True)
    summary = results.summary(outcome)
    text = json.dumps(summary, indent=2, allow_nan=False) + "\n"
    write_whole(folder / "curves.csv", results.curves_csv(outcome).encode())
    write_whole(folder / "curves.png", plot.png(outcome))
    write_whole(folder / "report.md", markdown(summary).encode())
    write_whole(folder / HTML, page(outcome, summary).encode())
    write_whole(folder / "results.json", text.encode())
    return summary


def table(summary: dict[str, Any]) -> rich.table.Table:
    """The first table, for a terminal."""
    own = tables.at_a_glance(summary)
    shown = rich.table.Table(title=own.title, box=rich.box.SIMPLE_HEAD)
    for number, column in enumerate(own.columns):
        justify = "right" if number else "left"
        # A head of several words is two lines, so that ten columns fit a terminal.
        shown.add_column(column.replace(" ", "\n", 1), justify=justify)
    for row in own.rows:
        shown.add_row(*(cell.replace(" (", "\n(").replace(" ±", "\n±") for cell in row))
    return shown


def closing_lines(summary: dict[str, Any], folder: pathlib.Path) -> list[str]:
    """Who won, and last where the report is."""
    return [f"{verdict.verdict(summary)}.", f"report: {folder / HTML}"]


def markdown(summary: dict[str, Any]) -> str:
    """`report.md`; its first line says who won."""
    several = len(summary["tasks"]) > 1
    sections = [f"# {verdict.verdict(summary)}", "![learning curves](curves.png)"]
    sections.append(markdown_table(tables.at_a_glance(summary)))
    if several:
        sections += [markdown_table(tables.of_task(summary, task)) for task in summary["tasks"]]
    sections.append("## What this leaves open\n\n" + _bullets(verdict.cautions(summary)))
    for task in summary["tasks"]:
        sections.append(_bullets(verdict.against_baselines(summary, task)))
        sections.append(markdown_table(tables.cost_of_a_step(summary, task)))
    read = _bullets(
        f"{name.replace('_', ' ')}: {text}." for name, text in summary["method"].items()
    )
    sections.append(f"## How to read this\n\n{read}")
    versions = ", ".join(f"{name} {version}" for name, version in summary["versions"].items())
    sections.append(f"Device: {summary['device']}. Versions: {versions}.")
    if summary["command"]:
        sections.append(f"```bash\n{summary['command']}\n```")
    sections.append("All figures are in `results.json`, all curves in `curves.csv`.")
    return "\n\n".join(filter(None, sections)) + "\n"


def markdown_table(own: tables.Table) -> str:
    """A table in Markdown, its title in bold."""
    rules = "|".join(["---", *["---:"] * (len(own.columns) - 1)])
    rows = "\n".join(f"| {' | '.join(row)} |" for row in own.rows)
    return f"**{own.title}**\n\n| {' | '.join(own.columns)} |\n|{rules}|\n{rows}"


def _bullets(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)
