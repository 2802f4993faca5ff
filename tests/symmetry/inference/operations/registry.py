"""The random operations that programs are made of, and the primitives that each is there for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from tests.symmetry.inference.builder import Builder

Run = Callable[[Builder], None]


@dataclasses.dataclass(frozen=True)
class Operation:
    """A random operation.

    Attributes:
      run: takes arrays from a builder and adds its results.
      primitives: those that it is there for.
      times: in how many programs it is for each seed, more where there is more to vary.
    """

    run: Run
    primitives: tuple[str, ...]
    times: int = 1


OPERATIONS: dict[str, Operation] = {}


def operation(*primitives: str, times: int = 1) -> Callable[[Run], Run]:
    """Registers an operation that is there for the primitives of these names."""

    def register(function: Run) -> Run:
        add(function.__name__.removesuffix("_"), function, *primitives, times=times)
        return function

    return register


def add(name: str, function: Run, *primitives: str, times: int = 1) -> None:
    """Registers an operation under a name."""
    if name in OPERATIONS:
        raise ValueError(f"two operations are called {name!r}.")
    OPERATIONS[name] = Operation(function, primitives, times)
