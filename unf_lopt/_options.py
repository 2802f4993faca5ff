"""What every room does with options: names of which there are a few, numbers, and counts."""

from __future__ import annotations

import dataclasses
import math
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


def check_numbers(settings: Any) -> None:
    """Refuses a number of a dataclass that is not positive, or not of its field's type.

    Args:
      settings: with fields annotated ``int``, for whole numbers below 2³¹, and ``float``, for
        finite ones; others are not looked at.

    Raises:
      ValueError: naming the first that is not.
    """
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        what = f"{type(settings).__name__}({field.name}={value!r})"
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if field.type == "int" and not (isinstance(value, int) and is_number and 0 < value < 2**31):
            raise ValueError(f"{what}: must be a whole number, 1 or more.")
        if field.type == "float" and not (is_number and 0 < value < math.inf):
            raise ValueError(f"{what}: must be a finite number above 0.")


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
