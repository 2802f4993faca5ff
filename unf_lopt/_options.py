"""What every room does with options that are one of a few names."""

from __future__ import annotations

from collections.abc import Collection


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
