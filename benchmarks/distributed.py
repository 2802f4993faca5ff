"""Outer training over several processes: what it costs, and what that means for many machines.

    python -m benchmarks.distributed pinned     # processes with a core each against one on one core
    python -m benchmarks.distributed exchange   # the exchange of meta-gradients, by their size
    python -m benchmarks.distributed model      # up to 1,000 machines, from these constants

Processes are started as `unf-lopt launch` starts them. The first two write JSON, which the third
reads. Every process does equal work: one worker.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.integrate
import scipy.stats
from rich.console import Console
from rich.table import Table

from unf_lopt import ecosystem, processes

FLOATS = (4_000, 81_000, 1_000_000)
TASKS = ("digits_mlp", "docs_rnn", "docs_transformer")


def main() -> None:
    """Measures, or computes from what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("pinned", "exchange", "model", "member"))
    parser.add_argument("--tasks", nargs="*", choices=TASKS, default=TASKS)
    parser.add_argument("--outer_steps", type=int, default=20)
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/distributed"))
    parser.add_argument("--member", nargs="*", default=[], help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    if args.what == "member":
        member(args)
    elif args.what == "model":
        show_model(args)
    else:
        measure(args)


def measure(args: argparse.Namespace) -> None:
    """Runs each case with every number of processes, one after the other."""
    cases = args.tasks if args.what == "pinned" else [args.what]
    table = Table(*("case", "processes", "own work", "CPU", "exchange", "inner steps/s"))
    for case in cases:
        for number in args.processes:
            output = args.output / f"{case}_{number}.json"

            def command(own: int, address: str, case=case, number=number, output=output) -> Any:
                given = [case, address, str(number), str(own), str(output)]
                return [
                    *(sys.executable, "-m", "benchmarks.distributed", "member"),
                    *(f"--outer_steps={args.outer_steps}", "--member", *given),
                ]

            if processes.Launcher(command, number, 0).run():
                sys.exit(f"{case} on {number} processes did not end well")
            for figures in json.loads(output.read_text()):
                table.add_row(
                    figures["case"],
                    str(number),
                    f"{figures['own_seconds'] * 1e3:.1f} ms",
                    f"{figures['cpu_seconds'] * 1e3:.1f} ms",
                    f"{figures['exchange_seconds'] * 1e3:.2f} ms",
                    f"{figures['inner_steps_per_second']:,.0f}",
                )
    Console().print(table)


def member(args: argparse.Namespace) -> None:
    """One process of a case, on a core of its own where there is one."""
    case, address, number, own, output = args.member
    processes.end_with_launcher()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(own) % len(cores)]})
    from unf_lopt import register  # noqa: F401 (loads the ecosystem before all meet)

    with processes.joined(address, int(number), int(own), {}, 120.0) as group:
        if case == "exchange":
            figures = [exchange(group, floats, args.outer_steps) for floats in FLOATS]
        else:
            figures = [outer_steps(group, case, args.outer_steps)]
        if group.leads:
            pathlib.Path(output).write_text(json.dumps(figures, indent=1))


def exchange(group: processes.Group, floats: int, steps: int) -> dict[str, Any]:
    """The mean of vectors over processes, as an outer step takes it."""
    from unf_lopt.outer_training.outer_step import mean_of_rows
    from unf_lopt.outer_training.workers import share_out

    workers, mean = share_out(group.number), jax.jit(mean_of_rows)
    rows = workers.spread([jnp.ones(floats)])
    seconds, cpu = [], []
    for _ in range(steps + 1):
        group.gather("exchange", None)  # so that none waits for another within it
        started, cpu_started = time.perf_counter(), time.process_time()
        jax.block_until_ready(mean(workers.gathered(rows)))
        seconds.append(time.perf_counter() - started)
        cpu.append(time.process_time() - cpu_started)
    return _figures(f"{floats:,} floats", [0.0], seconds[1:], cpu[1:], 0.0)


def outer_steps(group: processes.Group, task: str, steps: int) -> dict[str, Any]:
    """Outer steps of a task, the own work and the exchange apart."""
    from benchmarks.outer_step import FAMILIES
    from unf_lopt.outer_training import norm_clipped_adam
    from unf_lopt.outer_training.outer_step import Keys, Learning, OuterStep
    from unf_lopt.outer_training.workers import share_out
    from unf_lopt.register import deep_sets

    family, lopt = FAMILIES[task](), deep_sets()
    estimator = ecosystem.truncated_pes(
        family,
        lopt,
        ecosystem.ConstantTruncationSchedule(500),
        num_tasks=4,
        trunc_length=50,
        std=0.01,
        steps_per_jit=50,
        random_initial_iteration_offset=500,
        stack_antithetic_samples=True,
    )
    learner = ecosystem.make_learner(lopt, theta_opt=norm_clipped_adam(1e-3))
    workers = share_out(group.number)
    outer = OuterStep(workers, learner, [estimator], None)
    keys = Keys(*jax.random.split(jax.random.PRNGKey(0), 3))
    learning = workers.at_home(Learning(learner.init(jax.random.PRNGKey(0)), None))
    unrolls = outer.fresh(learning, jax.random.PRNGKey(1))
    own, other, cpu = [], [], []
    for step in range(steps + 1):
        started, cpu_started = time.perf_counter(), time.process_time()
        found, unrolls = outer.estimate(learning, unrolls, outer.batches(step), keys, step)
        jax.block_until_ready(found)
        own.append(time.perf_counter() - started)
        with group.waiting(f"outer step {step}"):
            learning, report = outer.update(learning, found, (0.0, 0.0), keys, step)
            jax.block_until_ready(report)
        other.append(time.perf_counter() - started - own[-1])
        cpu.append(time.process_time() - cpu_started)
    return _figures(task, own[1:], other[1:], cpu[1:], 400.0 * group.number)


def _figures(
    case: str, own: list[float], exchanged: list[float], cpu: list[float], inner_steps: float
) -> dict[str, Any]:
    of_step = float(np.median(np.asarray(own) + np.asarray(exchanged)))
    return {
        "case": case,
        "own_seconds": float(np.median(own)),
        "exchange_seconds": float(np.median(exchanged)),
        "cpu_seconds": float(np.median(cpu)),
        "inner_steps_per_second": inner_steps / of_step,
        "floats": int(case.partition(" ")[0].replace(",", "")) if "floats" in case else 0,
    }


def slowest(machines: int, variation: float) -> float:
    """The expected time of the slowest of some machines, in that of their mean.

    Step times are independent and log-normal with this standard deviation of the mean.
    """
    spread = np.sqrt(np.log1p(variation**2))
    times = scipy.stats.lognorm(spread, scale=np.exp(-(spread**2) / 2))
    top = times.ppf(1 - 1e-9 / machines)
    return scipy.integrate.quad(lambda t: 1 - times.cdf(t) ** machines, 0, top, limit=200)[0]


def exchange_seconds(
    machines: int, floats: int, *, latency: float, bandwidth: float, add: float
) -> float:
    """The all-gather and the sum in the order of workers.

    Args:
      machines: one worker each.
      floats: numbers of theta.
      latency: of one message, in seconds; a ring passes ``machines - 1`` in a row.
      bandwidth: bytes a second, of the link of one machine.
      add: seconds to add one number to the sum.
    """
    messages = machines - 1
    return messages * (latency + 4 * floats / bandwidth) + machines * floats * add


def show_model(args: argparse.Namespace) -> None:
    """The share of an outer step that is not the mean machine's own work."""
    measured = {
        (row["floats"], number): row["exchange_seconds"]
        for number in args.processes
        for row in json.loads((args.output / f"exchange_{number}.json").read_text())
    }
    small, _, large = FLOATS
    add = max(measured[large, 1] - measured[small, 1], 0.0) / (large - small)
    print(f"measured here: {add * 1e9:.2f} ns to add a number;", end=" ")
    print(f"{measured[small, 2] * 1e3:.1f} ms for {small:,} floats of two processes")
    table = Table("machines", "theta", "exchange", "slowest at 5 %", "at 20 %", "received")
    for machines in (2, 16, 128, 1000):
        for floats in FLOATS:
            seconds = exchange_seconds(machines, floats, latency=25e-6, bandwidth=10e9 / 8, add=add)
            table.add_row(
                f"{machines:,}",
                f"{floats:,}",
                f"{seconds * 1e3:.1f} ms",
                f"{slowest(machines, 0.05):.2f}",
                f"{slowest(machines, 0.2):.2f}",
                f"{4 * floats * (machines - 1) / 1e6:,.1f} MB",
            )
    Console().print(table)


if __name__ == "__main__":
    main()
