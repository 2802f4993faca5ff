"""Inferred symmetries of the zoo: do they agree with tables written by hand, and with numbers?

Every loss of `tests/symmetry/zoo`, and on request every task of the ecosystem that can be built
without its data: infers the spec, compares it with the table, verifies it on numbers. Prints a
Markdown table, row by row, and writes it to a file beside the JSON, which has more figures.

    python benchmarks/symmetry_zoo.py --output=runs/symmetry_zoo.json
    python benchmarks/symmetry_zoo.py --only attention recurrent/lstm --skip_verification
    python benchmarks/symmetry_zoo.py --ecosystem --only ecosystem --largest=2e5
"""

import argparse
import json
import pathlib
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

import jax

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # the zoo is among the tests

from tests.symmetry.zoo import catalogue, compare
from tests.symmetry.zoo.case import CannotBeBuilt, Case, Problem
from unf_lopt import PermutationSpec, ecosystem, verify_spec
from unf_lopt.symmetry import SymmetryError
from unf_lopt.symmetry.inference import infer_traced, trace_loss

COLUMNS = {
    "case": "case",
    "parameters": "parameters",
    "groups": "groups",
    "agrees": "as the table",
    "change": "largest relative change",
    "maximal": "maximal",
    "without_rule": "without a rule",
    "infer_milliseconds": "inference, ms",
    "verify_seconds": "verification, s",
}
REPEATS = 5
TRAP = "/all-8"


def chosen_cases(args: argparse.Namespace) -> list[Case]:
    """The cases whose names contain one of the texts asked for."""
    cases = list(catalogue.CASES)
    if args.without_traps:
        cases = [case for case in cases if not case.name.endswith(TRAP)]
    if args.ecosystem:
        from tests.symmetry.zoo.ecosystem import ecosystem_cases

        cases += ecosystem_cases()
    return [case for case in cases if not args.only or any(text in case.name for text in args.only)]


def figures(case: Case, args: argparse.Namespace) -> dict[str, Any]:
    """What there is to say of one case."""
    try:
        problem = case.build()
    except CannotBeBuilt as error:
        return {"case": case.name, "agrees": f"not built: {error}"}
    started = time.perf_counter()
    traced = trace_loss(problem.loss_fn, problem.params, problem.args, **problem.loss_options)
    trace_seconds = time.perf_counter() - started
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        spec = infer_traced(traced, randomness=problem.randomness).spec
        seconds.append(time.perf_counter() - started)
    row = {
        "case": case.name,
        "parameters": problem.parameter_count,
        "groups": [int(size) for size in spec.groups.values()],
        "agrees": agreement(problem, spec),
        "without_rule": list(spec.provenance.without_rule),
        "trace_seconds": trace_seconds,
        "infer_milliseconds": 1e3 * statistics.median(seconds),
        "equations": len(traced.jaxpr.eqns),
    }
    if not args.skip_verification:
        row |= verification(problem, spec, args)
    return row


def agreement(problem: Problem, spec: PermutationSpec) -> str:
    """Whether a spec is what the table says: "yes", "a part: why", "no table" or what differs."""
    if problem.expected is None:
        return "no table"
    if problem.not_found and not compare.symmetries_beyond(spec, problem.expected):
        return f"a part: {problem.not_found}"
    lines = compare.difference(spec, problem.expected, problem.check_fixed_ties)
    return f"no: {lines}" if lines else "yes"


def verification(
    problem: Problem, spec: PermutationSpec, args: argparse.Namespace
) -> dict[str, Any]:
    """The figures of a verification of the inferred spec."""
    if problem.parameter_count > args.largest:
        return {"maximal": "too large: not verified"}
    arguments = (problem.loss_fn, problem.params, *problem.args)
    started = time.perf_counter()
    try:
        found = verify_spec(
            spec,
            *arguments,
            **problem.loss_options,
            randomness=problem.randomness,
            seed=args.seed,
            max_tests=args.max_tests,
        )
    except SymmetryError as error:
        return {"maximal": f"failed: {error}", "verify_seconds": time.perf_counter() - started}
    return {
        "change": found.change,
        "maximal": found.maximal + ("" if found.certified else ", not certified"),
        "tests": found.tests,
        "symmetries": list(found.symmetries),
        "without_effect": list(found.without_effect),
        "verify_seconds": found.seconds,
    }


def shown(row: dict[str, Any], column: str) -> str:
    """A figure as the table has it."""
    value = row.get(column)
    if value is None:
        return ""
    if column == "parameters":
        return f"{value:,}"
    if column == "groups":
        return ", ".join(map(str, value)) if len(value) <= 8 else f"{len(value)} groups"
    if column == "without_rule":
        return ", ".join(value)
    if column == "change":
        return f"{value:.0e}"
    if isinstance(value, float):
        return f"{value:.1f}"
    return str(value).splitlines()[0]


def markdown(cells: Iterable[str]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", help="texts of which a case's name contains one")
    parser.add_argument("--ecosystem", action="store_true", help="the ecosystem's tasks too")
    parser.add_argument(
        "--without_traps", action="store_true", help="leave out the cases with 8 for every size"
    )
    parser.add_argument("--skip_verification", action="store_true")
    parser.add_argument("--largest", type=float, default=1e6, help="parameters; verified up to it")
    parser.add_argument("--max_tests", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--output", type=pathlib.Path, default=pathlib.Path("runs/symmetry_zoo.json")
    )
    args = parser.parse_args(arguments)
    rows, lines = [], []

    def tell(cells: Iterable[str]) -> None:
        lines.append(markdown(cells))
        print(lines[-1], flush=True)

    tell(COLUMNS.values())
    tell("---" for _ in COLUMNS)
    for case in chosen_cases(args):
        rows.append(figures(case, args))
        tell(shown(rows[-1], column) for column in COLUMNS)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "arguments": {name: str(value) for name, value in vars(args).items()},
        "ecosystem": ecosystem.describe(),
        "device": str(jax.devices()[0]),
        "results": rows,
    }
    args.output.write_text(json.dumps(record, indent=2))
    args.output.with_suffix(".md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
