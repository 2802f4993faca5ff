"""Random programs, as many for each primitive that has a rule."""

from __future__ import annotations

import collections
import dataclasses
import importlib
from collections.abc import Iterable, Iterator, Sequence

import jax
import numpy as np

from tests.symmetry.inference import builder, equivariance
from tests.symmetry.inference.equivariance import Program, Report
from tests.symmetry.inference.operations import control_flow
from tests.symmetry.inference.operations.registry import OPERATIONS, Operation
from unf_lopt.symmetry.inference import infer_traced

FAMILIES = (
    "contraction",
    "control_flow",
    "elementwise",
    "indexing",
    "linear_algebra",
    "random",
    "reduction",
    "shapes",
    "windows",
)
for _family in FAMILIES:
    importlib.import_module(f"tests.symmetry.inference.operations.{_family}")
# What is put beside another operation: not what draws numbers, which freezes most and is slow.
COMPANIONS = sorted(n for n, own in OPERATIONS.items() if not own.run.__module__.endswith("random"))

MOST_OPERATIONS = 4

# Names that no program can show, and why.
OUT_OF_REACH = {
    "empty2": "only the compilers of Pallas kernels use it",
    "eval_jaxpr": "it is a closed_call once it is traced",
    "iota_2x32_shape": "it stands inside random_bits, which is one equation",
    "reshard": "arrays on two meshes do not go together; it has an expectation",
    "stop_gradient": "in some versions of JAX it leaves no equation",
    "threefry4x32": "it stands inside random_bits, which is one equation",
    "zeros_like": "it is a broadcast_in_dim once it is traced",
}
if control_flow.eval_jaxpr_p is None:
    OUT_OF_REACH["closed_call"] = "this version of JAX makes none"
# Primitives of which the rule freezes everything.
ALWAYS_FROZEN = {
    "cholesky_update",
    "custom_linear_solve",
    "householder_product",
    "ormqr",
    "random_bits",
    "random_clone",
    "random_fold_in",
    "random_gamma",
    "random_seed",
    "random_split",
    "random_unwrap",
    "random_wrap",
    "rng_bit_generator",
    "rng_uniform",
    "symmetric_product",
    "threefry2x32",
    "tridiagonal_solve",
}
# Primitives that have nothing to permute: no outputs or no axes.
WITHOUT_AXES = {"debug_callback", "debug_print", "platform_index"}


@dataclasses.dataclass(frozen=True)
class Case:
    """Which program: the operation that it is there for, and a seed."""

    operation: str
    seed: int

    @property
    def number(self) -> int:
        """A seed that no other operation shares."""
        return 1000 * sorted(OPERATIONS).index(self.operation) + self.seed


def one_each(seed: int) -> list[Case]:
    """A program for each operation."""
    return [Case(name, seed) for name in OPERATIONS]


def cases(rounds: Iterable[int]) -> Iterator[Case]:
    """In each round a program for each operation, several where there is much to vary."""
    for number in rounds:
        for name, operation in OPERATIONS.items():
            for time in range(operation.times):
                yield Case(name, number * operation.times + time)


def operations_of(case: Case) -> tuple[str, ...]:
    """What a program is made of: the operation and up to three random others."""
    rng = np.random.default_rng([case.number, 7])
    others = rng.choice(len(COMPANIONS), int(rng.integers(MOST_OPERATIONS)))
    return case.operation, *(COMPANIONS[n] for n in others)


def make(case: Case) -> Program:
    """Builds and evaluates a program in float64."""
    return make_of([OPERATIONS[name] for name in operations_of(case)], case.number)


def make_of(operations: Sequence[Operation], seed: int) -> Program:
    """Builds and evaluates a program of some operations."""
    with jax.enable_x64(True):
        traced, values = builder.build([operation.run for operation in operations], seed)
        return equivariance.run_program(traced, values)


def check(program: Program, seed: int, first_only: bool = False) -> Report:
    """Infers the axes of a program as the engine is now, and checks every equation."""
    with jax.enable_x64(True):
        inference = infer_traced(program.traced, record=True)
        return equivariance.check(program, inference, seed, first_only)


@dataclasses.dataclass
class Summary:
    """What many programs told."""

    programs: int = 0
    equations: int = 0
    free_axes: int = 0
    all_axes: int = 0
    exercised: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    met: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    violations: list[str] = dataclasses.field(default_factory=list)

    def add(self, case: Case, report: Report) -> None:
        """Counts one more."""
        self.programs += 1
        self.equations += report.met.total()
        self.free_axes += report.free_axes
        self.all_axes += report.all_axes
        self.exercised += report.exercised
        self.met += report.met
        self.violations += [f"{case}: {violation}" for violation in report.violations]


def run(chosen: Iterable[Case]) -> Summary:
    """Builds and checks programs."""
    summary = Summary()
    for case in chosen:
        summary.add(case, check(make(case), case.number))
    return summary
