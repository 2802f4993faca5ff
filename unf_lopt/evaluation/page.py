"""`report.html`: one file that needs no network, for a reader of any kind."""

from __future__ import annotations

import html
import importlib.resources
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from unf_lopt.evaluation import charts, tables, verdict
from unf_lopt.evaluation.outcome import TRAIN, VALID, Outcome, TaskOutcome
from unf_lopt.evaluation.results import BEST, LOSSES

Summary = dict[str, Any]

# The browser itself refuses whatever would leave the file.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
_LEARNED = ' class="learned"'


def page(outcome: Outcome, summary: Summary) -> str:
    """The report as HTML.

    Args:
      outcome: whose curves are drawn.
      summary: what `results.json` has, whose numbers are shown.
    """
    first = f"{verdict.verdict(summary)}."
    several = len(summary["tasks"]) > 1
    sections = [
        _tiles(summary),
        _table(tables.at_a_glance(summary)),
        _note(summary),
        _cautions(summary),
        *([_over_tasks(summary)] if several else []),
        *([_tasks(outcome, summary)] if several else [_only_task(outcome, summary)]),
        _method(summary),
        _again(summary),
    ]
    protocol = summary["protocol"]
    tasks = f"{len(summary['tasks'])} tasks" if several else next(iter(summary["tasks"]))
    what = (
        f"{len(summary['contestants'])} optimizers on {tasks}, {protocol['seeds']} held-out seeds, "
        f"{protocol['horizon']:,} inner steps"
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{html.escape(summary["contestants"][summary["main"]]["title"])}: evaluation</title>
<style>{_asset("report.css")}</style>
</head>
<body>
<main>
<p class="eyebrow">Evaluation of optimizers · {html.escape(what)}</p>
<h1>{html.escape(first)}</h1>
{"".join(sections)}
</main>
<script>{_asset("report.js")}</script>
</body>
</html>
"""


def _tiles(summary: Summary) -> str:
    """The main contestant's figures, large."""
    name = summary["main"]
    found, tasks = summary["over_all_tasks"][name][BEST], len(summary["tasks"])
    time = summary["timing"]["over_all_tasks"][name][BEST]
    if tasks > 1:
        tiles = [
            (f"{found['tasks_lower_in_training_loss']} of {tasks}", "tasks: lower train loss"),
            (f"{found['tasks_lower_in_test_loss']} of {tasks}", "tasks: lower test loss"),
            (f"{found['speedup_in_steps']:.2f}×", "speed in steps"),
            (f"{time['speedup_in_time']:.2f}×", "speed in time"),
        ]
    else:
        (task,) = summary["tasks"]
        own = tables.of_task(summary, task)
        cells = own.rows[list(summary["contestants"]).index(name)]
        row = dict(zip(own.columns, cells, strict=True))
        tiles = [
            (row["speed-up in steps"].split(" (")[0], "speed in steps"),
            (row["speed-up in time"].split(" (")[0], "speed in time"),
            (row["train loss"].split(" ±")[0], "train loss at the end"),
            (row["test loss"].split(" ±")[0], "test loss at the end"),
        ]
    shown = "".join(
        f"<li><b>{html.escape(value)}</b><span>{html.escape(what)}</span></li>"
        for value, what in tiles
    )
    return f'<ul class="tiles">{shown}</ul>'


def _note(summary: Summary) -> str:
    """What the first table's columns mean."""
    horizon, loss = f"{summary['protocol']['horizon']:,}", verdict.target_loss(summary)
    shared = (
        "Baselines are tuned on other seeds: for training loss by training loss, for test loss by "
        f"validation loss, for steps and times as for {loss}. In brackets 95% intervals over "
        "seeds; below 1× is slower."
    )
    if len(summary["tasks"]) > 1:
        text = (
            f"The target of a task is the {loss} that its best tuned baseline ends with "
            f"after {horizon} steps. Speed-ups are interquartile means over all runs. {shared}"
        )
    else:
        text = (
            f"★ is the best tuned baseline; the target is the {loss} that it ends with "
            f"after {horizon} steps. {shared}"
        )
    return f'<p class="soft">{html.escape(text)}</p>'


def _cautions(summary: Summary) -> str:
    found = verdict.cautions(summary)
    if not found:
        return ""
    first, rest = found[:6], found[6:]
    more = f"<details><summary>{len(rest)} more</summary>{_bullets(rest)}</details>" if rest else ""
    return (
        f'<aside class="cautions" aria-label="What this leaves open"><strong>What this leaves open'
        f"</strong>{_bullets(first)}{more}</aside>"
    )


def _over_tasks(summary: Summary) -> str:
    """Aggregates over tasks, the profile and the dots of every task."""
    learned = [name for name, own in summary["contestants"].items() if not own["settings"]]
    shown = learned or [summary["main"]]
    rows = {
        task: [_dot(own["contestants"][name], _colour(summary, name)) for name in shown]
        for task, own in summary["tasks"].items()
    }
    forest = _dots(rows, summary, shown)
    each = "".join(_table(tables.against_each(summary, name)) for name in shown)
    return (
        f'<h2>Over all tasks</h2><div class="pair">{_profile(summary)}{forest}</div>'
        f"<h2>Against every baseline</h2>{each}"
    )


def _profile(summary: Summary) -> str:
    """Shares of runs by speed-up, of every contestant."""
    found = {
        name: own[BEST]["performance_profile"] for name, own in summary["over_all_tasks"].items()
    }
    series = [
        charts.Series(
            summary["contestants"][name]["title"],
            np.array(own["share_of_runs"]),
            *np.array(own["band"]),
            dashed=bool(summary["contestants"][name]["settings"]),
            colour=_colour(summary, name),
        )
        for name, own in found.items()
    ]
    return charts.lines(
        np.array(found[summary["main"]]["speedup_at_least"]),
        series,
        title="Performance profile",
        note="share of runs that are at least so many times as fast as the best tuned baseline, "
        "with 95% bands",
        unit="speed-up in steps, at least",
        log_x=True,
        log_y=False,
    )


def _dots(rows: dict[str, list[charts.Dot]], summary: Summary, shown: Sequence[str]) -> str:
    return charts.dots(
        rows,
        title="Speed-up in steps",
        note=f"to the final {verdict.target_loss(summary)} of the best tuned baseline, with 95% "
        "intervals; an empty dot: not reached",
        colours={summary["contestants"][name]["title"]: _colour(summary, name) for name in shown},
    )


def _dot(entry: dict[str, Any], colour: int) -> charts.Dot:
    target = entry["to_target"] or {"speedup": 0.0, "speedup_interval": None}
    return charts.Dot(target["speedup"], target["speedup_interval"], colour)


def _colour(summary: Summary, name: str) -> int:
    return list(summary["contestants"]).index(name)


def _only_task(outcome: Outcome, summary: Summary) -> str:
    ((task, own),) = outcome.tasks.items()
    return (
        f"<h2>Learning curves</h2>{_curves(own, summary, task)}"
        f"<h2>Speed against every baseline</h2>{_speed(summary, task)}"
        f"<h2>Cost of a training step</h2>{_table(tables.cost_of_a_step(summary, task))}"
        f"<h2>Tuning</h2>{_tuning(own, summary)}"
    )


def _tasks(outcome: Outcome, summary: Summary) -> str:
    """All tasks, folded up."""
    said = dict(zip(summary["tasks"], verdict.on_tasks(summary), strict=True))
    parts = [
        f"<details{' open' if number == 0 else ''}><summary>{html.escape(task)} <span>"
        f"{html.escape(said[task].removeprefix(f'{task}: '))}</span></summary>"
        f"{_table(tables.of_task(summary, task))}{_curves(own, summary, task)}"
        f"{_table(tables.cost_of_a_step(summary, task))}{_tuning(own, summary)}</details>"
        for number, (task, own) in enumerate(outcome.tasks.items())
    ]
    return f"<h2>Every task</h2>{''.join(parts)}"


def _curves(own: TaskOutcome, summary: Summary, task: str) -> str:
    figures = []
    for split, loss in LOSSES.items():
        start = max(curves.loss[split][:, 0].max() for curves in own.curves.values())
        figures.append(
            charts.lines(
                next(iter(own.curves.values())).steps,
                [_series(own, summary, one.name, split) for one in own.contestants],
                title=_capital(loss),
                note="mean over seeds; band: lowest to highest seed",
                unit="inner step",
                ceiling=1.5 * float(start),
            )
        )
    return f'<div class="pair">{"".join(figures)}</div>'


def _series(own: TaskOutcome, summary: Summary, name: str, split: str) -> charts.Series:
    losses, setting = own.of(name, split).loss[split], own.setting(name, split)
    title = summary["contestants"][name]["title"]
    return charts.Series(
        f"{title} (lr {setting})" if setting else title,
        losses.mean(axis=0),
        losses.min(axis=0),
        losses.max(axis=0),
        dashed=bool(setting),
        colour=_colour(summary, name),
    )


def _speed(summary: Summary, task: str) -> str:
    rows = {
        verdict.label(summary, task, name): [_dot(entry, _colour(summary, name))]
        for name, entry in summary["tasks"][task]["contestants"].items()
    }
    sentences = _bullets(verdict.against_baselines(summary, task))
    return f'<div class="pair">{_dots(rows, summary, ())}<div>{sentences}</div></div>'


def _tuning(own: TaskOutcome, summary: Summary) -> str:
    """Final losses over the grids, on the seeds that settings are chosen on."""
    figures = []
    for split, title in ((TRAIN, "training loss"), (VALID, "validation loss")):
        tuned = [one for one in own.contestants if one.is_tuned]
        places = sorted({float(name) for one in tuned for name in one.settings})
        if len(places) < 2:
            return ""
        series = []
        for one in tuned:
            by_rate = {float(n): c.final(split).mean() for n, c in own.sweeps[one.name].items()}
            series.append(
                charts.Series(
                    one.title,
                    np.array([by_rate.get(place, np.nan) for place in places]),
                    colour=_colour(summary, one.name),
                )
            )
        start = max(c.loss[split][:, 0].mean() for s in own.sweeps.values() for c in s.values())
        figures.append(
            charts.lines(
                np.array(places),
                series,
                title=f"Final {title} by learning rate",
                note="mean over the tuning seeds, which are not reported",
                unit="learning rate",
                log_x=True,
                ceiling=1.5 * float(start),
                at_rest="lowest",
            )
        )
    return f'<div class="pair">{"".join(figures)}</div>'


def _method(summary: Summary) -> str:
    rows = "".join(
        f"<dt>{html.escape(_capital(name.replace('_', ' ')))}</dt><dd>{html.escape(text)}.</dd>"
        for name, text in summary["method"].items()
    )
    return f"<h2>How to read this</h2><dl>{rows}</dl>"


def _again(summary: Summary) -> str:
    """What was run, and how to run it again."""
    protocol, versions = summary["protocol"], summary["versions"]
    said = {
        "Seeds": f"{protocol['seeds']} reported, {protocol['tuning_seeds']} others for tuning, "
        f"chosen by seed {protocol['seed']}",
        "Evaluations": f"every {protocol['eval_every']} steps on {protocol['eval_batches']} "
        f"batches of each split, the last on {protocol['final_eval_batches']}",
        "Device": summary["device"],
        "Versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "Data": "; ".join(
            f"{task}: {own['data_source']}"
            for task, own in summary["tasks"].items()
            if own["data_source"]
        ),
        **{own["title"]: _origin(own) for own in summary["contestants"].values()},
    }
    rows = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>"
        for name, text in said.items()
        if text
    )
    command = (
        f'<pre tabindex="0"><code>{html.escape(summary["command"])}</code></pre>'
        if summary["command"]
        else ""
    )
    configuration = (
        f'<details><summary>Configuration (gin)</summary><pre tabindex="0"><code>'
        f"{html.escape(summary['configuration'])}</code></pre></details>"
        if summary["configuration"]
        else ""
    )
    return (
        f"<h2>What was run, and how to run it again</h2>{command}<dl>{rows}</dl>{configuration}"
        '<p class="soft">All figures are in results.json, all curves in curves.csv, beside this '
        "file.</p>"
    )


def _origin(own: dict[str, Any]) -> str:
    if own["settings"]:
        rates = own["settings"]
        return f"{own['options']}; {len(rates)} learning rates from {rates[0]} to {rates[-1]}"
    return f"{own['checkpoint']}, after {own['outer_steps']:,} outer steps; not tuned"


def _table(own: tables.Table) -> str:
    heads = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in own.columns)
    rows = "".join(
        f"<tr{_LEARNED if marked else ''}>"
        f'<th scope="row">{_cell(row[0]).replace("_", "_<wbr>")}</th>{_cells(row[1:])}</tr>'
        for row, marked in zip(own.rows, own.marked, strict=True)
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{html.escape(own.title)}">'
        f"<table><caption>{html.escape(own.title)}</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _cells(texts: Sequence[str]) -> str:
    return "".join(f"<td>{_cell(text)}</td>" for text in texts)


def _cell(text: str) -> str:
    """What is in brackets, and what comes after ±, smaller in a line of its own."""
    for sign in (" (", " ±"):
        before, found, after = text.partition(sign)
        if found:
            return f"{html.escape(before)}<small>{html.escape(found + after)}</small>"
    return html.escape(text)


def _bullets(sentences: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{html.escape(own)}</li>' for own in sentences)}</ul>"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _asset(name: str) -> str:
    return (
        importlib.resources.files("unf_lopt.evaluation").joinpath("assets", name).read_text("utf-8")
    )
