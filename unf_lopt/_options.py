"""What every room does with options: names of which there are a few, numbers, and counts."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any


def check_option(name: str, value: str, choices: Collection[str]) -> None:
    """Refuses a value that is not one of the choices.

    Args:
      name: of the option, as the user writes it.
      value: what the user gave.
      choices: what may be given.

    Raises:
      ValueError: naming the option, the value and the choices.
    """
    if value not in choices:
        raise ValueError(f"{name}={value!r}: choose one of {tuple(choices)}.")


def check_positive(name: str, **numbers: float) -> None:
    """Refuses a number that is not positive.

    Args:
      name: of what takes the numbers, as the user writes it.
      **numbers: by argument.

    Raises:
      ValueError: naming the first that is not.
    """
    for argument, value in numbers.items():
        if not value > 0:
            raise ValueError(f"{name}({argument}={value}): must be positive.")


def check_counts(name: str, **numbers: Any) -> None:
    """Refuses what is no whole number of at least 1.

    Args:
      name: of what takes the numbers, as the user writes it.
      **numbers: by argument.

    Raises:
      ValueError: naming the first that is not.
    """
    for argument, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}({argument}={value!r}): must be a whole number, 1 or more.")
