"""Outer steps of our optimizers and, on GitHub main, of the authors', interleaved in one run.

Every optimizer gets the same task, PES settings, meta-optimizer, perturbation seeds and data.
Prints a table and writes JSON: the median time of an outer step, its ratio to Deep Sets, the
time to the first step (tracing and compiling), and the mean meta-loss of the last steps.

    python benchmarks/outer_step.py --task=docs_transformer --only unf learned_sgdm

The authors' optimizer is in GitHub main's `research/univ_nfn` only: put a checkout on PYTHONPATH.
"""

import argparse
import functools
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from unf_lopt import ecosystem
from unf_lopt.outer_training import norm_clipped_adam
from unf_lopt.register import deep_sets, learned_sgdm, nfn, unf, unf_universal
from unf_lopt.tasks.image_cnn import digits_cnn_family
from unf_lopt.tasks.image_mlp import digits_mlp, digits_mlp_family
from unf_lopt.tasks.rnn_lm import docs_rnn_family
from unf_lopt.tasks.transformer_lm import docs_transformer_family

FAMILIES: dict[str, Callable[[], Any]] = {
    "digits_mlp": digits_mlp_family,
    "digits_cnn": digits_cnn_family,
    "docs_rnn": docs_rnn_family,
    "docs_transformer": docs_transformer_family,
}


class Contestant:
    """One optimizer in outer training."""

    def __init__(self, lopt: Any, args: argparse.Namespace):
        schedule = ecosystem.ConstantTruncationSchedule(args.horizon)
        self._estimators = [
            ecosystem.truncated_pes(
                FAMILIES[args.task](),
                lopt,
                schedule,
                num_tasks=args.num_tasks,
                trunc_length=args.trunc_length,
                std=0.01,
                steps_per_jit=args.trunc_length,
                random_initial_iteration_offset=args.horizon,
                stack_antithetic_samples=True,
            )
        ]
        self._learner = ecosystem.make_learner(
            lopt, theta_opt=norm_clipped_adam(args.outer_learning_rate)
        )
        self._state = self._learner.init(jax.random.PRNGKey(args.seed))
        self.parameters = sum(
            leaf.size for leaf in jax.tree.leaves(ecosystem.theta_of(self._learner, self._state))
        )
        weights = self._learner.get_state_for_worker(self._state)
        self._unrolls = ecosystem.init_unroll_states(
            weights, self._estimators, jax.random.PRNGKey(args.seed)
        )
        self.losses: list[float] = []
        self.seconds: list[float] = []

    def step(self, key: jax.Array) -> None:
        """One outer step, timed to its end."""
        started = time.perf_counter()
        weights = self._learner.get_state_for_worker(self._state)
        gradient = ecosystem.compute_gradient(weights, self._estimators, self._unrolls, key)
        self._unrolls = gradient.unroll_states
        if gradient.finite:
            self._state, _ = ecosystem.apply_gradient(self._learner, self._state, gradient, key)
        jax.block_until_ready(self._state)
        self.seconds.append(time.perf_counter() - started)
        self.losses.append(gradient.mean_loss)


def contestants(task: str) -> dict[str, Callable[[], Any]]:
    """Makers of the optimizers that this installation has for a task."""
    task_family = FAMILIES[task]()
    makers = {
        "unf": functools.partial(unf, task_family),
        "unf, released mode": functools.partial(unf, task_family, mode="released"),
        "unf_universal": functools.partial(unf_universal, task_family),
        "deep_sets": deep_sets,
        "learned_sgdm": learned_sgdm,
    }
    if task in ("digits_mlp", "digits_cnn"):
        makers["nfn"] = functools.partial(nfn, task_family)
    if ecosystem.version() == "main" and task == "digits_mlp":
        theirs = ecosystem.load("research.univ_nfn.learned_opt.learned_opts")
        makers["authors' ResidualOptNFN (hybrid)"] = lambda: theirs.ResidualOptNFN(
            digits_mlp(), hybrid=True
        )
        makers["authors' ResidualOptNFN"] = lambda: theirs.ResidualOptNFN(digits_mlp())
    return makers


def summary(contestant: Contestant, reference: Contestant, last: int) -> dict[str, Any]:
    """The figures of one optimizer."""
    ratios = np.array(contestant.seconds[1:]) / np.array(reference.seconds[1:])
    return {
        "parameters": contestant.parameters,
        "first_step_seconds": contestant.seconds[0],
        "median_step_seconds": float(np.median(contestant.seconds[1:])),
        "median_ratio_to_deep_sets": float(np.median(ratios)),
        "mean_meta_loss_of_last_steps": float(np.mean(contestant.losses[-last:])),
        "meta_losses": contestant.losses,
    }


def main() -> None:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", choices=FAMILIES, default="digits_mlp")
    parser.add_argument("--outer_steps", type=int, default=100)
    parser.add_argument("--num_tasks", type=int, default=8)
    parser.add_argument("--trunc_length", type=int, default=50)
    parser.add_argument("--horizon", type=int, default=500)
    parser.add_argument("--outer_learning_rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", help="names of the optimizers to run")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/outer_step.json"))
    args = parser.parse_args()
    makers = contestants(args.task)
    chosen = [*dict.fromkeys([*(args.only or makers), "deep_sets"])]
    running = {name: Contestant(makers[name](), args) for name in chosen}
    for step in range(args.outer_steps):
        for contestant in running.values():
            contestant.step(jax.random.PRNGKey(step))
    last = max(args.outer_steps // 4, 1)
    results = {
        name: summary(contestant, running["deep_sets"], last)
        for name, contestant in running.items()
    }
    table = Table(
        "optimizer", "parameters", "first step", "step", "ratio", f"meta-loss, last {last}"
    )
    for name, figures in results.items():
        table.add_row(
            name,
            f"{figures['parameters']:,}",
            f"{figures['first_step_seconds']:.1f} s",
            f"{figures['median_step_seconds'] * 1e3:.0f} ms",
            f"{figures['median_ratio_to_deep_sets']:.2f}",
            f"{figures['mean_meta_loss_of_last_steps']:.4f}",
        )
    Console().print(table)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "arguments": {name: str(value) for name, value in vars(args).items()},
        "ecosystem": ecosystem.describe(),
        "device": str(jax.devices()[0]),
        "results": results,
    }
    args.output.write_text(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
