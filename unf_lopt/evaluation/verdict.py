"""Who won, and by how much: the sentences that a report begins with.

All of them are made of what `results.json` has, so that a reader of either finds the same.
"""

from __future__ import annotations

from typing import Any

Summary = dict[str, Any]


def verdict(summary: Summary) -> str:
    """The main optimizer against every baseline, and the first in steps and in time."""
    name = summary["optimizer"]
    in_steps, in_time = _leaders(summary, timed=False), _leaders(summary, timed=True)
    return (
        f"{name} after {summary['outer_steps']:,} outer steps: {speedups(summary, name)}. "
        f"Fewest inner steps: {in_steps}; least time: {in_time}"
    )


def speedups(summary: Summary, name: str) -> str:
    """A learned optimizer against every baseline at its best rate, in steps and in time."""
    clauses = []
    for baseline, against in summary["optimizers"][name]["against"].items():
        in_steps = against["speedup_in_steps"]
        in_time = summary["timing"]["speedup_in_time"][name][baseline]
        best = best_of(summary, baseline)
        if in_steps is None or in_time is None:
            clauses.append(f"no speed-up against the {best}: one of the two got nowhere")
        else:
            steps = _compared(in_steps, "fewer inner steps", "more inner steps")
            time = _compared(in_time, "less time", "more time")
            clauses.append(f"{steps} and {time} than the {best}")
    return "; ".join(clauses)


def best_of(summary: Summary, baseline: str) -> str:
    """What a reader calls a baseline at its best rate."""
    entry = summary["baselines"][baseline]
    return f"best {entry['title']} (lr {entry['best_learning_rate']:g})"


def relative_to_main(summary: Summary) -> dict[str, tuple[float | None, float | None]]:
    """Speed-ups in steps and in time over the main baseline, of all that a table has."""
    main, found = summary["main_baseline"], {}
    for name, entry in summary["optimizers"].items():
        if against := entry.get("against"):
            in_time = summary["timing"]["speedup_in_time"][name][main]
            found[name] = against[main]["speedup_in_steps"], in_time
    return found


def label(summary: Summary, name: str) -> str:
    """What a reader calls one of the optimizers that a table has."""
    entry = summary["optimizers"][name]
    return name if entry["kind"] == "learned" else best_of(summary, entry["baseline"])


def cautions(summary: Summary) -> list[str]:
    """What the baselines' sweeps leave open, a sentence each."""
    found = []
    for entry in summary["baselines"].values():
        title, best, edge = entry["title"], entry["best_learning_rate"], entry["grid_edge"]
        if edge == "only":
            found.append(f"{title} ran at one learning rate only ({best:g}): it is not tuned.")
        elif edge:
            found.append(
                f"The best learning rate of {title}, {best:g}, is the {edge} of its grid: one "
                "beyond may be better."
            )
    return found


def test_losses(summary: Summary) -> list[str]:
    """Test losses: of the learned optimizer, and of baselines tuned for it, a sentence each."""
    name = summary["optimizer"]
    ours = _shown(summary["optimizers"][name]["test"]["final_mean"])
    found = [f"Final test loss of {name}: {ours}."]
    for entry in summary["baselines"].values():
        tuned, best = entry["best_by_validation_loss"], summary["optimizers"][entry["best"]]
        found.append(
            f"Final test loss of {entry['title']}: {_shown(tuned['final_test_mean'])} at the rate "
            f"with the lowest validation loss (lr {tuned['learning_rate']:g}), "
            f"{_shown(best['test']['final_mean'])} at that with the lowest training loss (lr "
            f"{entry['best_learning_rate']:g})."
        )
    return found


def _shown(value: float | None) -> str:
    return "diverged" if value is None else f"{value:.3g}"


def _leaders(summary: Summary, *, timed: bool) -> str:
    """Those whose speed-up over the main baseline is the highest, to the digits shown."""
    ratios = {
        name: round(ratio, 2)
        for name, both in relative_to_main(summary).items()
        if (ratio := both[timed]) is not None
    }
    if not ratios:
        return "none can be told"
    highest = max(ratios.values())
    return " and ".join(label(summary, name) for name, ratio in ratios.items() if ratio == highest)


def _compared(ratio: float, better: str, worse: str) -> str:
    """A speed-up in words; above 1 is better."""
    if f"{ratio:.2f}" == "1.00":
        return f"no {better}"
    return f"{ratio:.2f} times {better}" if ratio > 1 else f"{1 / ratio:.2f} times {worse}"
