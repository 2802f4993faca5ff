"""Tables of functions by the primitives that they are for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def registers(table: dict[str, T]) -> Callable[..., Callable[[T], T]]:
    """A decorator that enters a function into a table, under the names of primitives."""

    def named(*primitives: str) -> Callable[[T], T]:
        def register(function: T) -> T:
            table.update(dict.fromkeys(primitives, function))
            return function

        return register

    return named
