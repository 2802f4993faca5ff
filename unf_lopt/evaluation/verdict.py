"""Who won, and by how much: the sentences that a report begins with.

All of them are made of what `results.json` has, so that a reader of either finds the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from unf_lopt.evaluation.contestants import LEARNED
from unf_lopt.evaluation.results import BEST, LOSSES

Summary = dict[str, Any]

# Zhou et al., arXiv 2402.05232, section 4.2: so that nobody takes a demo for a result.
PAPER_OUTER_STEPS = 50_000


def target_loss(summary: Summary) -> str:
    """Which loss is to be reached soon, as a reader calls it."""
    return LOSSES[summary["protocol"]["target"]]


def verdict(summary: Summary) -> str:
    """The first sentence: the main contestant against the best tuned baseline."""
    if len(summary["tasks"]) > 1:
        return _over_tasks(summary, summary["main"])
    (task,) = summary["tasks"]
    return _on_task(summary, task, summary["main"])


def on_tasks(summary: Summary) -> Iterator[str]:
    """Of each task, where there are several, the main contestant in a sentence."""
    for task in summary["tasks"]:
        yield f"{task}: {_on_task(summary, task, summary['main'])}"


def against_baselines(summary: Summary, task: str) -> Iterator[str]:
    """Each learned optimizer against every baseline, a sentence each."""
    own, timing = summary["tasks"][task]["contestants"], summary["timing"]["tasks"][task]
    for name, entry in own.items():
        if summary["contestants"][name]["kind"] != LEARNED:
            continue
        for other, against in entry["against"].items():
            steps = against["speedup_in_steps"]
            in_time = timing[name]["speedup_in_time"][other]
            if steps is None or in_time is None:
                yield f"{name} and {label(summary, task, other)}: one of the two got nowhere."
                continue
            bounds = against["speedup_in_steps_interval"]
            interval = f" ({bounds[0]:.2f} to {bounds[1]:.2f})" if bounds else ""
            yield (
                f"{name} takes {compared(steps, 'fewer inner steps', 'more inner steps')}{interval}"
                f" and {compared(in_time, 'less time', 'more time')} than "
                f"{label(summary, task, other)}, to the loss that both end at or below."
            )


def label(summary: Summary, task: str, name: str) -> str:
    """What a reader calls a contestant on a task, with its setting."""
    title = summary["contestants"][name]["title"]
    setting = summary["tasks"][task]["contestants"][name].get("setting")
    return f"{title} (lr {setting})" if setting else title


def cautions(summary: Summary) -> list[str]:
    """What the tuning and the runs leave open, a sentence each, what weighs most first."""
    found = []
    for task, own in summary["tasks"].items():
        place = f" on {task}" if len(summary["tasks"]) > 1 else ""
        for name, entry in own["contestants"].items():
            title, edge = summary["contestants"][name]["title"], entry.get("grid_edge")
            if edge == "only":
                found.append(f"{title} ran at one setting only: it is not tuned{place}.")
            elif edge:
                found.append(
                    f"Tuning failed: the best learning rate of {title}{place}, "
                    f"{entry['setting']}, is the {edge} of its grid; one beyond may be better."
                )
            if entry["diverged"]:
                runs = summary["protocol"]["seeds"]
                found.append(f"{entry['diverged']} of {runs} runs of {title}{place} diverged.")
        if not own["same_seeds_and_batches"]:
            found.append(
                f"The optimizers did not see the same batches{place}: the task's readers cannot be "
                "started anew, so differences are noisier than the intervals show."
            )
    learned = [own for own in summary["contestants"].values() if own["kind"] == LEARNED]
    found += [
        f"A short training: {own['title']} is of {own['outer_steps']:,} outer steps, the "
        f"paper's of {PAPER_OUTER_STEPS:,}."
        for own in learned
        if own["outer_steps"] < PAPER_OUTER_STEPS / 10
    ]
    if learned:
        found.append(
            "Each learned optimizer is of one run of outer training. Intervals are over inner "
            "seeds; how another outer seed would do is not seen here."
        )
    return found


def compared(ratio: float, better: str, worse: str) -> str:
    """A speed-up in words; above 1 is better."""
    if f"{ratio:.2f}" == "1.00":
        return f"no {better}"
    return f"{ratio:.2f} times {better}" if ratio > 1 else f"{1 / ratio:.2f} times {worse}"


def _on_task(summary: Summary, task: str, name: str) -> str:
    own, timing = summary["tasks"][task], summary["timing"]["tasks"][task]
    best, entry, title = own["best_baseline"], own["contestants"][name], label(summary, task, name)
    other = f"the best tuned baseline, {label(summary, task, best)}"
    if name == best:
        return f"{title} is the best tuned baseline on {task}"
    target = entry["to_target"]
    if target is None:
        return f"{title} is not compared: {other}, ends no lower than it began"
    horizon, split = f"{summary['protocol']['horizon']:,}", summary["protocol"]["target"]
    loss = target_loss(summary)
    if target["steps"] is None:
        return (
            f"{title} does not reach the {loss} of {other}, in {horizon} inner steps: "
            f"{shown(entry[split])} against {shown(own['contestants'][best][split])}"
        )
    steps = compared(target["speedup"], "fewer inner steps", "more inner steps")
    time = compared(timing[name]["to_target"]["speedup"], "less time", "more time")
    bounds = target["speedup_interval"]
    interval = f" (95% interval {bounds[0]:.2f} to {bounds[1]:.2f})" if bounds else ""
    return f"{title} takes {steps}{interval} and {time} to the {loss} of {other}"


def _over_tasks(summary: Summary, name: str) -> str:
    found = summary["over_all_tasks"][name][BEST]
    in_time = summary["timing"]["over_all_tasks"][name][BEST]["speedup_in_time"]
    bounds = found["speedup_in_steps_interval"]
    interval = f" (95% interval {bounds[0]:.2f} to {bounds[1]:.2f})" if bounds else ""
    return (
        f"{summary['contestants'][name]['title']} ends lower than the best tuned baseline on "
        f"{found['tasks_lower_in_training_loss']} of {found['tasks']} tasks (test loss: "
        f"{found['tasks_lower_in_test_loss']}); to that baseline's {target_loss(summary)} it is "
        f"{found['speedup_in_steps']:.2f} times as fast in steps{interval} and {in_time:.2f} times "
        "as fast in time"
    )


def shown(statistics: dict[str, Any]) -> str:
    """A final loss, with its standard deviation over seeds."""
    mean, std = statistics["final_mean"], statistics["final_std"]
    if mean is None:
        return "diverged"
    return f"{mean:.3g}" if std is None else f"{mean:.3g} ± {std:.2g}"
