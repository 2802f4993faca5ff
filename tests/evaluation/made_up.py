"""Outcomes of made-up curves, for what is written of them."""

import numpy as np

from unf_lopt.evaluation.contestants import Trained, hand_designed
from unf_lopt.evaluation.curves import Curves
from unf_lopt.evaluation.outcome import Outcome, TaskOutcome
from unf_lopt.evaluation.protocol import SPLITS, TUNING_SPLITS, Protocol
from unf_lopt.evaluation.speed import Cost
from unf_lopt.tasks.image_mlp import digits_mlp_family

PROTOCOL = Protocol(num_seeds=5, horizon=200)
ADAM = {0.01: 0.002, 0.1: 0.02, 1.0: 0.001}  # how fast losses fall, by rate


def decay(rate, splits=SPLITS, seeds=5):
    spread = 1 + np.linspace(-0.1, 0.1, seeds)[:, None]
    steps = np.asarray(PROTOCOL.steps)
    loss = 2.3 * spread * np.exp(-rate * steps)
    other = loss + 0.1 * (1 - np.exp(-rate * steps))
    return Curves(steps, dict(zip(splits, (loss, other), strict=True)))


def tried(rate):
    """Of a setting on the seeds that settings are chosen on."""
    return decay(rate, TUNING_SPLITS, 3)


def task_outcome(learned, baselines, family=None):
    """Curves of learned optimizers by name, and of baselines how fast they fall by name and rate.

    A step of a learned optimizer takes twice as long as one of a baseline.
    """
    trained = [Trained(name, None, np.zeros(2), 300, f"run/{name}/params_300") for name in learned]
    hand = [hand_designed(name, rates) for name, rates in baselines.items()]
    found = TaskOutcome(
        family or digits_mlp_family(), PROTOCOL, [*(own.contestant() for own in trained), *hand]
    )
    for name, curves in learned.items():
        found.curves[name, ""] = curves
        found.costs[name] = Cost(0.002, 2000, 4000)
    for name, by_rate in baselines.items():
        found.sweeps[name] = {f"{rate:g}": tried(by_rate[rate]) for rate in sorted(by_rate)}
        found.curves |= {(name, f"{rate:g}"): decay(fall) for rate, fall in by_rate.items()}
        found.costs[name] = Cost(0.001, 1000, None)
    return found


def outcome(*falls, task="task", names=("unf",), **baselines):
    """An outcome of as many tasks as there are rates at which losses of what is learned fall."""
    baselines = {"adam": ADAM, **baselines}
    tasks = {}
    for number, fall in enumerate(falls):
        name = task if len(falls) == 1 else f"{task} {number}"
        curves = fall if isinstance(fall, Curves) else decay(fall)
        tasks[name] = task_outcome(dict.fromkeys(names, curves), baselines)
    return Outcome(tasks, "python -m unf_lopt.evaluate", "evaluate.horizon = 200\n")
