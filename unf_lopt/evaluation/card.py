"""The card of a trained optimizer: Markdown with the front matter of a Hugging Face model card."""

from __future__ import annotations

import csv
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import unf_lopt
from unf_lopt import runs
from unf_lopt.evaluation import report, tables, verdict
from unf_lopt.evaluation.results import FORMAT
from unf_lopt.optimizers import SavedTheta, read_theta

LICENSE = "apache-2.0"
CARD, MODEL = "README.md", "model.safetensors"  # as the hub names them
_LIMITS = (
    "Trained from one outer seed unless the facts above say otherwise.",
    "Symmetries are those that infer_spec finds; parameters without any are treated as their own.",
    "If its step depends on the horizon, num_steps has to be what training really takes.",
    "What is not in the table of results has not been measured.",
)


def write(
    folder: pathlib.Path,
    name: str,
    source: str,
    results: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    **facts: str,
) -> list[pathlib.Path]:
    """Writes the folder of a trained optimizer as the hub expects it: its card and its theta.

    Args:
      folder: is made where it is not there.
      name: what users load it by.
      source: a theta file in safetensors, or a run's folder for its newest.
      results: what `results.json` of an evaluation has in which it took part under this name.
      notes: further limits, a sentence each.
      **facts: of the training, by what they are, such as ``cpu_hours="1.5"``.

    Returns:
      The two files: the card, and theta.

    Raises:
      FileNotFoundError: there is no theta.
      ValueError: it is not in safetensors, or took no part in the results.
    """
    saved = read_theta(source)
    if saved.path.suffix != ".safetensors":
        raise ValueError(f"{saved.path}: a card is of a theta in safetensors, theta_N.safetensors.")
    run = pathlib.Path(source)
    text = text_of(name, saved, run if run.is_dir() else None, results, notes, facts)
    folder.mkdir(parents=True, exist_ok=True)
    runs.write_whole(folder / MODEL, saved.path.read_bytes())
    runs.write_whole(folder / CARD, text.encode())
    return [folder / CARD, folder / MODEL]


def text_of(
    name: str,
    saved: SavedTheta,
    run: pathlib.Path | None,
    results: Mapping[str, Any] | None,
    notes: Sequence[str],
    facts: Mapping[str, str],
) -> str:
    """The card; see :func:`write`."""
    optimizer = dict(saved.optimizer or {})
    count = sum(array.size for array in saved.tensors.values())
    about = {
        "optimizer": str(optimizer.get("optimizer", "")),
        "parameters": f"{count:,}",
        "outer steps": f"{saved.outer_steps:,}",
        **{str(key): _shown(value) for key, value in saved.training.items()},
        **_of_run(run),
        **{key.replace("_", " "): value for key, value in facts.items()},
        "weight space": "one only" if saved.spec is not None else "any",
        "written by": f"unf_lopt {saved.version}",
        "licence": LICENSE,
    }
    rows = "\n".join(f"| {key} | {value} |" for key, value in about.items() if value)
    limits = "\n".join(f"- {sentence}" for sentence in (*_LIMITS, *notes))
    config = "" if run is None else _configuration(run)
    return f"""{_front_matter(name, results)}
# {name}

A learned optimizer of the package `unf_lopt`: a theta of
`{optimizer.get("optimizer", "")}`, as an optax transformation for a loss of yours.

```python
import unf_lopt

optimizer = unf_lopt.to_optax("{name}", loss_fn, params, batch, num_steps=1000)
```

In place of the name there can be the path of `{MODEL}`. Nothing in it is executed.

## Training

| | |
|---|---|
{rows}

## Results

{_results(name, results)}

## Limits

{limits}
{config}"""


def _front_matter(name: str, results: Mapping[str, Any] | None) -> str:
    lines = [
        "---",
        f"license: {LICENSE}",
        "library_name: unf_lopt",
        "tags:",
        *(f"- {tag}" for tag in ("learned-optimizer", "meta-learning", "optimization", "jax")),
        *(["datasets: []"] if results is None else _model_index(name, results)),
        "---",
    ]
    return "\n".join(lines)


def _model_index(name: str, results: Mapping[str, Any]) -> list[str]:
    """The results as the hub lists them: the speed-up in steps over the best tuned baseline."""
    own = _require_part(name, results)
    lines = ["model-index:", f"- name: {name}", "  results:"]
    for task, entry in own.items():
        target = entry["to_target"]
        if target is None:
            continue
        lines += [
            f"  - task: {{type: optimization, name: {json.dumps(task)}}}",
            f"    dataset: {{type: {json.dumps(task)}, name: {json.dumps(task)}}}",
            "    metrics:",
            "    - {type: speedup_in_steps, name: speed-up in steps over the best tuned baseline, "
            f"value: {target['speedup']:.3f}}}",
        ]
    return lines


def _results(name: str, results: Mapping[str, Any] | None) -> str:
    if results is None:
        return "None yet: `python -m unf_lopt.evaluate` makes them."
    _require_part(name, results)
    summary = {**results, "main": name}
    shown = [f"{verdict.verdict(summary)}.", report.markdown_table(tables.at_a_glance(summary))]
    if len(results["tasks"]) > 1:
        shown += [report.markdown_table(tables.of_task(summary, own)) for own in results["tasks"]]
    if results["command"]:
        shown.append(f"```bash\n{results['command']}\n```")
    shown.append(f"{results['device']}; unf_lopt {results['versions']['unf_lopt']}.")
    return "\n\n".join(shown)


def _require_part(name: str, results: Mapping[str, Any]) -> dict[str, Any]:
    """What a contestant did on each task."""
    if results.get("format") != FORMAT:
        raise ValueError(
            f"--results: the form is {results.get('format')!r}, not {FORMAT!r}: give the "
            "results.json of an evaluation by this version."
        )
    try:
        contestants, tasks = results["contestants"], results["tasks"]
        if name in contestants:
            return {task: own["contestants"][name] for task, own in tasks.items()}
        known = ", ".join(contestants) or "none"
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"--results: the file is damaged; it lacks {error}.") from error
    raise ValueError(
        f"the results have no {name!r} ({known}); evaluate it under its name: "
        f"python -m unf_lopt.evaluate --compare={name}=THETA."
    )


def _of_run(run: pathlib.Path | None) -> dict[str, str]:
    """What the run's folder says of its seed and of the time that it took."""
    found: dict[str, str] = {}
    if run is None:
        return found
    if (run / runs.RUN).exists():
        found["outer seed"] = str(runs.read_json(run / runs.RUN).get("seed", ""))
    if (run / runs.METRICS).exists():
        text = runs.read_file(run / runs.METRICS).decode("utf-8", "replace")
        whole = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
        rows = list(csv.DictReader(whole))  # the last line may be in the making
        try:
            for last in rows[-1:]:
                found["hours by the clock"] = f"{float(last['seconds']) / 3600:.2f}"
                found["outer steps skipped"] = last["skipped"]
        except (KeyError, TypeError, ValueError) as error:
            raise runs.RunError(f"{run / runs.METRICS} is damaged: no {error}.") from error
    return found


def _configuration(run: pathlib.Path) -> str:
    path = run / runs.OPERATIVE_CONFIG
    if not path.exists():
        path = run / runs.CONFIG
    text = runs.read_file(path).decode("utf-8", "replace").strip()
    return (
        "\n## How to make it again\n\nSave this as `config.gin` and run `python -m unf_lopt.train "
        f"--config_file=config.gin --train_log_dir=runs/again` (unf_lopt "
        f"{unf_lopt.__version__}):\n\n```gin\n{text}\n```\n"
    )


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)
