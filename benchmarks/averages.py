"""The average of two trained thetas, and how much of either does best on the training suite.

Two trainings that start from one theta may end in one valley, where their weighted means are as
good as both or better (Wortsman et al., "Model soups", arXiv 2203.05482). Of one theta that is good
at some tasks and one that is good at others, a mean serves more. The weight is the one whose mean
meta-loss over the tasks of ``@training_suite()`` is lowest: no held-out task takes part.

    python -m benchmarks.averages runs/first runs/second --output=runs/average.safetensors

Prints the meta-loss of every weight on every task, and writes the average as a theta file. More
than two, such as those that one training wrote one after the other, are averaged as they are: what
its last steps have in common without their noise (Polyak and Juditsky, 1992).
"""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.pooling import TRAINED, measured
from unf_lopt import ecosystem
from unf_lopt.optimizers import SavedTheta, read_theta, theta_data
from unf_lopt.runs import write_whole
from unf_lopt.tasks.suite import training_suite

WEIGHTS = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 1.0)


def main() -> None:
    """Measures all weights, prints the table, and writes the best average."""
    args = _arguments()
    if len(args.thetas) > 2:
        _write_mean([read_theta(path) for path in args.thetas], args.output)
        return
    first, second = (read_theta(path) for path in args.thetas)
    lopt = first.make_optimizer()
    thetas = [
        optax.incremental_update(second.for_optimizer(lopt), first.for_optimizer(lopt), weight)
        for weight in WEIGHTS
    ]
    print(f"{'of the second':20}" + "".join(f"{weight:8g}" for weight in WEIGHTS))
    rows = []
    for family in training_suite(args.only):
        bound = ecosystem.learned_optimizer(lopt, family)
        rows.append(measured(family, bound, thetas, TRAINED).mean(axis=1))
        print(f"{family.name:20}" + "".join(f"{loss:8.2f}" for loss in rows[-1]), flush=True)
    means = np.mean(rows, axis=0)
    print(f"{'mean':20}" + "".join(f"{loss:8.3f}" for loss in means))
    best = int(np.argmin(means))
    training = of_both(first, second, WEIGHTS[best])
    steps = first.outer_steps + second.outer_steps
    write_whole(args.output, theta_data(thetas[best], lopt, steps, training))
    print(f"{WEIGHTS[best]:g} of the second: {args.output}")


def _write_mean(saved: Sequence[SavedTheta], output: pathlib.Path) -> None:
    """Writes the plain mean of some thetas of one training."""
    lopt, last = saved[0].make_optimizer(), max(saved, key=lambda own: own.outer_steps)
    thetas = [own.for_optimizer(lopt) for own in saved]
    mean = jax.tree.map(lambda *leaves: jnp.mean(jnp.stack(leaves), axis=0), *thetas)
    steps = ", ".join(str(own.outer_steps) for own in sorted(saved, key=lambda x: x.outer_steps))
    training = {**last.training, "averaged": f"the thetas after {steps} outer steps"}
    write_whole(output, theta_data(mean, lopt, last.outer_steps, training))
    print(f"the mean of {len(saved)}: {output}")


def of_both(first: SavedTheta, second: SavedTheta, weight: float) -> dict[str, object]:
    """What a theta file says of the training of an average."""
    trained_on = [set(own.training.get("task_families", ())) for own in (first, second)]
    return {
        "task_families": sorted(set.union(*trained_on)),
        "averaged": f"{1 - weight:g} of {first.outer_steps} outer steps, "
        f"{weight:g} of {second.outer_steps} others",
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("thetas", nargs="+", help="two theta files or runs' folders, or more")
    parser.add_argument("--only", nargs="*", default=("*",), help="tasks of the training suite")
    parser.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path("runs/average.safetensors")
    )
    args = parser.parse_args()
    if len(args.thetas) < 2:
        parser.error("two thetas or more are averaged.")
    return args


if __name__ == "__main__":
    main()
