"""What a controller gains by seeing all tensors: pooling over the weight space, on against off.

Both controllers have the same parameters, outer steps, perturbations and inner runs; without
pooling a tensor sees itself where the mean over all would be. Each is trained on one task from
several outer seeds, and measured on inner runs with other initial parameters and batches: on its
own task, and on tasks of the held-out suite, which it was not trained on.

    python -m benchmarks.pooling digits_mlp digits_cnn

Prints the paired differences with their intervals, and writes JSON. What was trained is kept, so
that a killed run goes on.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.comparison import paired_difference
from benchmarks.outer_step import FAMILIES
from unf_lopt import ecosystem
from unf_lopt._types import PyTree
from unf_lopt.estimators import HorizonES, Objective, horizons
from unf_lopt.estimators.inner_run import InnerRun
from unf_lopt.optimizers import read_theta, unf_controller
from unf_lopt.outer_training import norm_clipped_adam, train
from unf_lopt.runs import PARAMS, file_name, write_whole
from unf_lopt.tasks.suite import suite_family

POOLING = (True, False)
OUTER_SEEDS = range(5)
INNER_SEEDS = 8
HORIZON = 200
# Lowered in training from a fifth of the run on, measured in its second half.
TRAINED, MEASURED = Objective("log", start=0.2), Objective("log", start=0.5)
STD = {"scalars": 0.1, "controller": 0.03}
RATES = {"scalars": 0.03, "controller": 0.01}
TRANSFER = (
    "digits_mlp_layernorm",
    "digits_conv_residual",
    "digits_patches_2heads",
    "bytes_gru_32",
)
MEASURING_KEY = 271828  # no key of outer training


def main() -> None:
    """Trains what is not there yet, measures all, and prints the differences."""
    args = _arguments()
    rows = {task: differences(task, args) for task in args.tasks}
    write_whole(args.output, json.dumps(rows, indent=1).encode())
    table = Table(title="mean log loss of the second half: pooled less unpooled (95% interval)")
    for column in ("trained on", "measured on", "pooled", "unpooled", "difference"):
        table.add_column(column)
    for task, other in ((task, other) for task, own in rows.items() for other in own):
        row = rows[task][other]
        interval = "{mean:+.3f} ({low:+.3f} to {high:+.3f})".format_map(row["difference"])
        table.add_row(task, other, f"{row['pooled']:.3f}", f"{row['unpooled']:.3f}", interval)
    Console().print(table)


def differences(task: str, args: argparse.Namespace) -> dict[str, Any]:
    """By what is measured on: the means of both, and the paired difference over outer seeds."""
    runs = {
        (pooling, seed): trained(task, pooling, seed, args)
        for seed, pooling in itertools.product(OUTER_SEEDS, POOLING)
    }
    found = {}
    for other in (task, *TRANSFER):
        family = FAMILIES[other]() if other in FAMILIES else suite_family(other)
        pooled, unpooled = (
            measured(
                family,
                controller(pooling, family),
                [runs[pooling, seed] for seed in OUTER_SEEDS],
                MEASURED,
            )
            for pooling in POOLING
        )
        found[other] = {
            "pooled": float(pooled.mean()),
            "unpooled": float(unpooled.mean()),
            "difference": paired_difference(pooled.tolist(), unpooled.tolist()),
        }
    return found


def controller(pooling: bool, family: Any) -> Any:
    """The learned optimizer of a task family."""
    made = unf_controller(
        directions=("adam", "orthogonalized"),
        newton_schulz_steps=3,
        pooling=pooling,
        hypergradient=True,
    )
    return ecosystem.learned_optimizer(made, family)


def trained(task: str, pooling: bool, seed: int, args: argparse.Namespace) -> PyTree:
    """Theta after outer training on one task."""
    folder = args.folder / task / f"{'pooled' if pooling else 'unpooled'}_{seed}"
    family = FAMILIES[task]()
    lopt = controller(pooling, family)
    learner = ecosystem.make_learner(
        lopt,
        theta_opt=norm_clipped_adam(RATES, decay="linear", num_steps=args.outer_steps),
        num_steps=args.outer_steps,
    )
    estimator = functools.partial(
        HorizonES,
        horizons=horizons(HORIZON, HORIZON // 2),
        objective=TRAINED,
        num_pairs=args.pairs,
        std=STD,
        standardize=True,
    )
    last = train(
        str(folder),
        lopt,
        args.outer_steps,
        task_families=[family],
        seed=seed,
        estimator_fn=estimator,
        learner=learner,
    )
    if last.name != file_name(PARAMS, args.outer_steps):
        raise SystemExit(f"{folder}: stopped; the same command goes on.")
    return read_theta(folder).for_optimizer(lopt)


def measured(family: Any, lopt: Any, thetas: list[PyTree], objective: Objective) -> np.ndarray:
    """The meta-loss, ``[thetas, inner seeds]``, on runs that all thetas share."""
    run = InnerRun(family, lopt, objective)

    def meta_loss(theta: PyTree, key: jax.Array) -> jax.Array:
        state = run.start(theta, key, jnp.float32(HORIZON))

        def step(state: Any, place: jax.Array) -> tuple[Any, Any]:
            return run.step(theta, state, place, None)

        _, losses = jax.lax.scan(step, state, run.places(state, HORIZON))
        return jnp.sum(losses.total) / jnp.sum(losses.counted)

    keys = jax.random.split(jax.random.PRNGKey(MEASURING_KEY), INNER_SEEDS)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *thetas)
    return np.asarray(jax.jit(jax.vmap(jax.vmap(meta_loss, (None, 0)), (0, None)))(stacked, keys))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("tasks", nargs="+", choices=FAMILIES)
    parser.add_argument("--outer_steps", type=int, default=60)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs/pooling"))
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/pooling.json"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
