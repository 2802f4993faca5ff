"""How much estimates of one meta-gradient scatter: persistent evolution strategies and noise reuse.

Theta stays as it is, so every estimate is of one and the same gradient. Inner runs are as long as
they are outside outer training, and estimates are made of short truncations of them; what is
lowered is the mean logarithm of the loss. The variance is the sum over theta's numbers; that of the
mean of many estimates is as many times smaller, so a ratio of variances is a ratio of outer steps.

    python -m benchmarks.estimators --horizons 100 500 2000

Prints a table with intervals from blocks of consecutive estimates, and writes JSON.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import time
from typing import Any

import jax
import numpy as np
import scipy.stats
from jax.flatten_util import ravel_pytree
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.outer_step import FAMILIES
from unf_lopt import ecosystem
from unf_lopt.estimators import NoiseReuseES, horizons, with_objective
from unf_lopt.optimizers import mixed_step
from unf_lopt.outer_training import norm_clipped_adam
from unf_lopt.runs import write_whole

LOPT = mixed_step()
STD = 0.01
BLOCK = 20  # estimates whose squares are averaged before intervals are taken


def main() -> None:
    """Measures, prints and writes."""
    args = _arguments()
    table = Table("horizon", "estimator", "variance", "ratio to noise reuse (95 %)", "ms")
    rows = []
    for horizon in args.horizons:
        made = estimators(args, horizon)
        found = {name: estimates(own, args) for name, own in made.items()}
        reused = _variances(found["NoiseReuseES"][0])
        for name, (gradients, seconds) in found.items():
            own = _variances(gradients)
            ratio = _ratio(own, reused)
            rows.append(
                {
                    "horizon": horizon,
                    "estimator": name,
                    "variance": float(own.mean()),
                    "ratio": ratio,
                    "seconds": seconds,
                }
            )
            interval = "{mean:.2f} ({low:.2f} to {high:.2f})".format_map(ratio)
            table.add_row(str(horizon), name, f"{own.mean():.3g}", interval, f"{1e3 * seconds:.0f}")
    Console().print(table)
    about = {"arguments": {k: str(v) for k, v in vars(args).items()}, "rows": rows}
    write_whole(args.output, json.dumps(about, indent=1).encode())


def estimators(args: argparse.Namespace, horizon: int) -> dict[str, Any]:
    """The same inner training under each estimator: as many pairs, truncation and perturbation."""
    family = FAMILIES[args.task]()
    lopt = ecosystem.learned_optimizer(LOPT, family)
    return {
        "TruncatedPES": ecosystem.truncated_pes(
            with_objective(family),
            lopt,
            ecosystem.ConstantTruncationSchedule(horizon),
            num_tasks=args.pairs,
            trunc_length=args.trunc_length,
            std=STD,
            steps_per_jit=args.trunc_length,
            random_initial_iteration_offset=horizon,
            stack_antithetic_samples=True,
        ),
        "NoiseReuseES": NoiseReuseES(
            family,
            lopt,
            horizons(horizon, horizon),
            num_pairs=args.pairs,
            trunc_length=args.trunc_length,
            std=STD,
        ),
    }


def estimates(estimator: Any, args: argparse.Namespace) -> tuple[np.ndarray, float]:
    """Consecutive estimates, ``[estimates, theta]``, once runs are staggered; seconds of one."""
    learner = ecosystem.make_learner(LOPT, theta_opt=norm_clipped_adam(0.0))
    key = jax.random.PRNGKey(args.seed)
    weights = learner.get_state_for_worker(learner.init(key))
    state, gradients, seconds = estimator.init_worker_state(weights, key), [], []
    first = args.warm_up
    for number in track(range(first + args.estimates), type(estimator).__name__, transient=True):
        started = time.perf_counter()
        found, _ = estimator.compute_gradient_estimate(
            weights, jax.random.fold_in(key, number), state
        )
        state = found.unroll_state
        if number >= first:
            gradients.append(np.asarray(ravel_pytree(found.grad)[0]))
            seconds.append(time.perf_counter() - started)
    return np.stack(gradients), float(np.median(seconds))


def _variances(gradients: np.ndarray) -> np.ndarray:
    """The summed variance of estimates, of every block of them."""
    scatter = np.square(gradients - gradients.mean(axis=0)).sum(axis=1)
    return scatter[: len(scatter) // BLOCK * BLOCK].reshape(-1, BLOCK).mean(axis=1)


def _ratio(own: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """The ratio of two means, with the interval of its bootstrap over blocks."""
    if own is reference:
        return {"mean": 1.0, "low": 1.0, "high": 1.0}
    found = scipy.stats.bootstrap(
        (own, reference),
        lambda x, y, axis: x.mean(axis=axis) / y.mean(axis=axis),
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    low, high = found.confidence_interval
    return {"mean": float(own.mean() / reference.mean()), "low": float(low), "high": float(high)}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--task", choices=FAMILIES, default="digits_mlp")
    parser.add_argument("--horizons", type=int, nargs="+", default=[100, 500, 2000])
    parser.add_argument("--trunc_length", type=int, default=50)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--estimates", type=int, default=400)
    parser.add_argument("--warm_up", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/estimators.json"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
