"""Kinds of values: what a configuration may bind, and how a message says it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from unf_lopt.runs import Macro, Reference

LARGEST = 2**31 - 1  # steps and sizes are counted in 32 bits


@dataclasses.dataclass(frozen=True)
class Number:
    """A number in a range.

    Attributes:
      low: the smallest, or what it is above.
      high: the largest.
      whole: whether it is a whole number.
      above: whether `low` itself is too small.
      optional: whether it may be None.
    """

    low: float = -math.inf
    high: float = math.inf
    whole: bool = False
    above: bool = False
    optional: bool = False

    def allows(self, value: Any) -> bool:
        """Whether a value is one."""
        if value is None:
            return self.optional
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        if not math.isfinite(value) or value > self.high:
            return False
        return value > self.low if self.above else value >= self.low

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a finite number"
        if math.isinf(self.low):
            allowed = kind
        elif math.isinf(self.high) or self.high == LARGEST:
            allowed = f"{kind} {'above' if self.above else 'of at least'} {self.low:g}"
        elif self.above:
            allowed = f"{kind} above {self.low:g}, at most {self.high:g}"
        else:
            allowed = f"{kind} from {self.low:g} to {self.high:g}"
        return allowed + (", or None" if self.optional else "")


@dataclasses.dataclass(frozen=True)
class Several:
    """A tuple or list of values of one kind."""

    each: Any
    optional: bool = False
    empty: bool = False
    example: str = "(1, 2)"

    def allows(self, value: Any) -> bool:
        """Whether a value is one."""
        if value is None:
            return self.optional
        if not isinstance(value, list | tuple) or not (value or self.empty):
            return False
        return all(isinstance(one, Reference | Macro) or self.each.allows(one) for one in value)

    def __str__(self) -> str:
        allowed = f"a tuple, such as {self.example}, each of it {self.each}"
        return allowed + (", or None" if self.optional else "")


@dataclasses.dataclass(frozen=True)
class ByName:
    """A value of one kind, or several by the names of theta's parts."""

    each: Any

    def allows(self, value: Any) -> bool:
        """Whether a value is one."""
        if not isinstance(value, dict):
            return self.each.allows(value)
        return bool(value) and all(
            isinstance(name, str) and self.each.allows(own) for name, own in value.items()
        )

    def __str__(self) -> str:
        return f"{self.each}, or such numbers by the names of theta's parts"


@dataclasses.dataclass(frozen=True)
class OneOf:
    """One of some texts, or whether something is so."""

    choices: tuple[Any, ...]

    def allows(self, value: Any) -> bool:
        """Whether a value is one."""
        return any(value is choice or value == choice for choice in self.choices) and (
            isinstance(value, bool) == isinstance(self.choices[0], bool)
        )

    def __str__(self) -> str:
        return f"one of {', '.join(map(repr, self.choices))}"


@dataclasses.dataclass(frozen=True)
class Text:
    """A text in quotes, or None."""

    def allows(self, value: Any) -> bool:
        """Whether a value is one."""
        return value is None or isinstance(value, str)

    def __str__(self) -> str:
        return "a text in quotes, or None"


@dataclasses.dataclass(frozen=True)
class Made:
    """What calling a configurable makes, or the configurable itself.

    Attributes:
      kind: what it is, for the message.
      example: one.
      called: whether it has parentheses.
      optional: whether it may be None.
    """

    kind: str
    example: str
    called: bool = True
    optional: bool = False

    def allows(self, value: Any) -> bool:
        """Whether a value can be one; what is made is seen when it is."""
        if value is None:
            return self.optional
        return isinstance(value, Reference) and value.called == self.called

    def __str__(self) -> str:
        how = "with its parentheses" if self.called else "without parentheses"
        allowed = f"{self.kind}, {how}, such as {self.example}"
        return allowed + (", or None" if self.optional else "")
