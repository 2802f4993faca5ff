"""Breaks the rules of the inference, one place at a time, and says which check finds out.

Every mutant is one change of one function of the engine: a statement left out, a flag, a
condition, an order or a number changed. A mutant is caught when an equation of a random program
does not commute with the permutations that are left free, when the engine crashes or does not
end, when one of the hand-written expectations fails (of random draws as well), or when the axis
graph disagrees with a model of it. That the engine itself passes is what the tests show. A mutant
that survives must be found in ``equivalent_mutants.json``, with the reason why it does no harm; the
exit status is 1 otherwise.

    python -m benchmarks.symmetry_mutants --output=runs/symmetry_mutants.json

It takes about 30 minutes on one core; ``--only=shapes`` runs the mutants of one file.
"""

from __future__ import annotations

import argparse
import collections
import functools
import json
import pathlib
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import tests.compiler  # isort: skip  # noqa: F401 (before JAX)

import jax
from jax.extend import core

from tests.symmetry import test_randomness as randomness
from tests.symmetry.inference import (
    evaluation,
    expectations,
    mutations,
    programs,
    test_constants,
    test_graph,
    test_uniform,
)
from tests.symmetry.inference.equivariance import Program
from tests.symmetry.inference.mutations import Mutant
from unf_lopt import infer_spec
from unf_lopt.symmetry.inference.rules import RULES

SECONDS_FOR_ONE_CHECK = 60.0  # the slowest one without a mutant takes about ten
CHECKS_UNTIL_CLEARED = 200  # what JAX compiled for them takes gigabytes
HISTORIES = 60  # of small graphs, of each kind

# Mutants that do the same, by their keys, for each reason.
EQUIVALENT: dict[str, list[str]] = json.loads(
    pathlib.Path(__file__).with_name("equivalent_mutants.json").read_text()
)

Check = tuple[str, Callable[[], bool]]  # what it is called, and whether it finds a fault


class Suite:
    """All that a mutant has to get past.

    Args:
      rounds: of random programs.
    """

    def __init__(self, rounds: int):
        self._programs: list[tuple[set[str], Check]] = []
        for case in programs.cases(range(rounds)):
            program = programs.make(case)
            check = functools.partial(_violates, program, case.number)
            self._programs.append((set(_primitives(program.jaxpr.jaxpr)), ("equations", check)))
        self._others: list[Check] = [
            ("expectations", functools.partial(_differs, expectation))
            for expectation in expectations.EXPECTATIONS
        ]
        self._others_of_all = [*_constants(), *_uniform(), *_randomness(), *_model()]

    def __len__(self) -> int:
        return len(self._programs)

    def verdict(self, mutant: Mutant) -> str:
        """What caught a mutant, or ``"survived"``."""
        wanted = _relevant(mutant)
        equations = [check for own, check in self._programs if wanted is None or own & wanted]
        if wanted is None:  # what takes little time first: most programs meet the graph
            checks = [*self._others, *self._others_of_all, *equations]
        else:
            checks = [*equations, *self._others]
        with mutations.applied(mutant):
            for number, (name, check) in enumerate(checks, start=1):
                if outcome := _outcome(check, name):
                    return outcome
                if number % CHECKS_UNTIL_CLEARED == 0:
                    jax.clear_caches()
        return "survived"


def _relevant(mutant: Mutant) -> set[str] | None:
    """The primitives in whose rules a mutant matters; None for all."""
    if not mutant.file.startswith("rules."):
        return None
    own = {name for name, rule in RULES.items() if rule is mutant.original}
    module = f"{mutations.PACKAGE}.{mutant.file}"
    return own or {name for name, rule in RULES.items() if rule.__module__ == module}


def _primitives(jaxpr: core.Jaxpr) -> Iterator[str]:
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for body in evaluation.bodies(equation):
            yield from _primitives(body.jaxpr.jaxpr)


def _violates(program: Program, seed: int) -> bool:
    return bool(programs.check(program, seed, first_only=True).violations)


def _differs(expectation: expectations.Expectation) -> bool:
    return expectations.found(expectation) != expectations.wanted(expectation)


def _constants() -> Iterator[Check]:
    """What constants leave free, and what is known of what is computed from them."""
    tests: tuple[tuple[Callable, Iterable], ...] = (
        (test_constants.test_what_a_constant_leaves_free, test_constants.CONSTANTS),
        (test_constants.test_what_a_use_leaves_free, test_constants.USES),
        (test_constants.test_integers_are_computed_as_jax_does, test_constants.FUNCTIONS),
        (test_constants.test_what_is_divided_by_zero_is_not_known, ("div", "rem")),
        (
            test_constants.test_of_other_numbers_it_is_known_which_are_equal,
            test_constants.OTHER_NUMBERS,
        ),
        (test_constants.test_entries_are_equal_only_where_the_array_is, test_constants.DTYPES),
        (test_constants.test_equal_seeds_stay_tied, test_constants.SEEDS),
        (test_constants.test_networks_hold_on_numbers_and_are_maximal, test_constants.NETWORKS),
    )
    for test, cases in tests:
        for case in cases:
            yield "expectations", functools.partial(_fails, test, case)


def _fails(test: Callable, case: Any) -> bool:
    try:
        test(case)
    except AssertionError:
        return True
    return False


def _randomness() -> Iterator[Check]:
    """Losses that draw random numbers, and how their draws are related."""
    for loss, relation, b, _, key in (case.values for case in randomness.CASES):
        yield "expectations", functools.partial(_relates_other, loss, relation, b, key)


def _relates_other(loss: Callable, relation: str, b: int, key: jax.Array) -> bool:
    spec = infer_spec(loss, randomness.params_of(b), key, randomness="in_distribution")
    return spec.canonical() != randomness.expected(relation, b).canonical()


def _uniform() -> Iterator[Check]:
    """Layers that use one array, tied if it varies, else not; and where arrays are marked."""
    for name in test_uniform.SINGLE:
        test_uniform.facts(name)  # before anything is changed
        yield "expectations", functools.partial(_marks_other, name)
    for arrays in test_uniform.UNIFORM.values():
        yield "expectations", functools.partial(_ties_other, arrays, False)
    for arrays, _ in test_uniform.VARYING.values():
        yield "expectations", functools.partial(_ties_other, arrays, True)


def _marks_other(name: str) -> bool:
    return bool(test_uniform.wrong_marks(name))


def _ties_other(arrays: Callable, tied: bool) -> bool:
    loss = test_uniform.loss_with(arrays)
    first, second = test_uniform.groups_in(infer_spec(loss, test_uniform.PARAMS, test_uniform.X))
    return (first == second) != tied


def _model() -> Iterator[Check]:
    """Histories of small graphs and all that they allow."""
    for seed in range(HISTORIES):
        history = test_graph.random_history(seed, test_graph.ALL)
        yield "model", functools.partial(_frees_too_much, history, test_graph.allowed(*history))
        sums = test_graph.random_history(seed, test_graph.SUMS)
        powers = test_graph.random_history(seed, test_graph.PRODUCTS, sizes=(2, 4))
        for history in (sums, powers):
            yield "model", functools.partial(_frees_other, history, test_graph.allowed(*history))


def _frees_too_much(history: tuple, allowed: set) -> bool:
    return not test_graph.left_free(*history) <= allowed


def _frees_other(history: tuple, allowed: set) -> bool:
    return test_graph.left_free(*history) != allowed


class _TookTooLong(BaseException):
    """A mutant does not come to an end."""


def _give_up(*_: object) -> None:
    raise _TookTooLong


def _outcome(check: Callable[[], bool], name: str) -> str:
    signal.setitimer(signal.ITIMER_REAL, SECONDS_FOR_ONE_CHECK)
    try:
        return name if check() else ""
    except _TookTooLong:
        return "no end"
    except Exception:  # whatever a mutant breaks
        return "crash"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def main() -> int:
    """Prints the table; the exit status is 1 if an unexplained mutant survives."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2, help="of random programs")
    parser.add_argument("--only", default="", help="a file of the engine, such as shapes")
    parser.add_argument("--output", type=pathlib.Path, help="where JSON is written")
    args = parser.parse_args()
    signal.signal(signal.SIGALRM, _give_up)
    started = time.time()
    files = tuple(file for file in mutations.FILES if args.only in file)
    mutants = list(mutations.all_mutants(files))
    suite = Suite(args.rounds)
    print(
        f"{len(mutants)} mutants, {len(suite)} programs in {time.time() - started:.0f} s",
        flush=True,
    )
    equivalent = {key for keys in EQUIVALENT.values() for key in keys}
    table: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    record = {}
    for mutant in mutants:
        outcome = "equivalent" if mutant.key in equivalent else suite.verdict(mutant)
        table[mutant.file][outcome] += 1
        record[mutant.key] = outcome
        if outcome == "survived":
            print(f"SURVIVED {mutant.key}", flush=True)
    _print(table)
    survived = sum(counts["survived"] for counts in table.values())
    print(f"{time.time() - started:.0f} s; {survived} of {len(mutants)} unexplained")
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(record, indent=1) + "\n")
    return bool(survived)


def _print(table: dict[str, collections.Counter[str]]) -> None:
    columns = ("equations", "crash", "no end", "expectations", "model", "equivalent", "survived")
    print(f"{'file':24}" + "".join(f"{column:>14}" for column in columns))
    for file, counts in table.items():
        print(f"{file:24}" + "".join(f"{counts[column]:>14}" for column in columns))


if __name__ == "__main__":
    sys.exit(main())
