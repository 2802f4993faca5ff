"""Outer steps of our optimizers and, on GitHub main, of the authors', interleaved in one run.

Every optimizer gets the same task, PES settings, meta-optimizer and perturbation seeds. Prints a
table and writes JSON: the median time of an outer step, its CPU time, inner steps a second, the
ratio to Deep Sets, the time to the first step (tracing and compiling), and the mean meta-loss of
the last steps. With ``--calls`` every optimizer takes part twice: with an outer step compiled, as
outer training has it, and with the estimator's own calls, which draw batches on the host in
between.

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
from unf_lopt.outer_training.outer_step import Keys, Learning, OuterStep
from unf_lopt.outer_training.workers import share_out
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
    """One optimizer in outer training, an outer step as the estimator's own calls."""

    def __init__(self, lopt: Any, args: argparse.Namespace):
        schedule = ecosystem.ConstantTruncationSchedule(args.horizon)
        self.estimators = [
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
        self.learner = ecosystem.make_learner(
            lopt, theta_opt=norm_clipped_adam(args.outer_learning_rate)
        )
        self.state = self.learner.init(jax.random.PRNGKey(args.seed))
        self.parameters = sum(
            leaf.size for leaf in jax.tree.leaves(ecosystem.theta_of(self.learner, self.state))
        )
        self.losses: list[float] = []
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []
        self.start(jax.random.PRNGKey(args.seed))

    def start(self, key: jax.Array) -> None:
        """Inner runs before the first step."""
        weights = self.learner.get_state_for_worker(self.state)
        self.unrolls: Any = ecosystem.init_unroll_states(weights, self.estimators, key)

    def step(self, number: int) -> None:
        """One outer step, timed to its end."""
        started, cpu_started = time.perf_counter(), time.process_time()
        self.losses.append(self.take(number))
        self.seconds.append(time.perf_counter() - started)
        self.cpu_seconds.append(time.process_time() - cpu_started)

    def take(self, number: int) -> float:
        """Takes it; returns the meta-loss."""
        key = jax.random.PRNGKey(number)
        weights = self.learner.get_state_for_worker(self.state)
        gradient = ecosystem.compute_gradient(weights, self.estimators, self.unrolls, key)
        self.unrolls = gradient.unroll_states
        if gradient.finite:
            self.state, _ = ecosystem.apply_gradient(self.learner, self.state, gradient, key)
        jax.block_until_ready(self.state)
        return gradient.mean_loss


class Compiled(Contestant):
    """The same with an outer step as outer training has it."""

    def start(self, key: jax.Array) -> None:
        """Inner runs before the first step."""
        workers = share_out(1)
        self._outer = OuterStep(workers, self.learner, self.estimators, None)
        self._keys = Keys(*jax.random.split(key, 3))
        self._learning = workers.at_home(Learning(self.state, None))
        self.unrolls = self._outer.fresh(self._learning, key)

    def take(self, number: int) -> float:
        """Takes it; returns the meta-loss."""
        rows, self.unrolls = self._outer.estimate(
            self._learning, self.unrolls, self._outer.batches(number), self._keys, number
        )
        self._learning, report = self._outer.update(
            self._learning, rows, (0.0, 0.0), self._keys, number
        )
        return float(report.mean_loss)


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


def summary(
    contestant: Contestant, reference: Contestant, args: argparse.Namespace
) -> dict[str, Any]:
    """The figures of one optimizer."""
    last = max(args.outer_steps // 4, 1)
    inner_steps = 2 * args.num_tasks * args.trunc_length
    ratios = np.array(contestant.seconds[1:]) / np.array(reference.seconds[1:])
    return {
        "parameters": contestant.parameters,
        "first_step_seconds": contestant.seconds[0],
        "median_step_seconds": float(np.median(contestant.seconds[1:])),
        "median_cpu_seconds": float(np.median(contestant.cpu_seconds[1:])),
        "inner_steps_per_second": inner_steps / float(np.median(contestant.seconds[1:])),
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
    parser.add_argument("--calls", action="store_true", help="also the estimators' own calls")
    parser.add_argument("--only", nargs="*", help="names of the optimizers to run")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/outer_step.json"))
    args = parser.parse_args()
    makers = contestants(args.task)
    chosen = [*dict.fromkeys([*(args.only or makers), "deep_sets"])]
    running: dict[str, Contestant] = {}
    for name in chosen:
        running[name] = Compiled(makers[name](), args)
        if args.calls:
            running[f"{name}, calls"] = Contestant(makers[name](), args)
    for step in range(args.outer_steps):
        for contestant in running.values():
            contestant.step(step)
    results = {
        name: summary(contestant, running["deep_sets"], args)
        for name, contestant in running.items()
    }
    table = Table(
        *("optimizer", "parameters", "first step", "step", "CPU", "inner steps/s", "ratio"),
        "meta-loss",
    )
    for name, figures in results.items():
        table.add_row(
            name,
            f"{figures['parameters']:,}",
            f"{figures['first_step_seconds']:.1f} s",
            f"{figures['median_step_seconds'] * 1e3:.1f} ms",
            f"{figures['median_cpu_seconds'] * 1e3:.1f} ms",
            f"{figures['inner_steps_per_second']:,.0f}",
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
