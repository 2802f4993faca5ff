"""The table of rules, and what all of them use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from jax.extend import core

if TYPE_CHECKING:
    from unf_lopt.symmetry.inference._graph import Node
    from unf_lopt.symmetry.inference._walk import Walker

    Axes = tuple[Node, ...]
    Rule = Callable[[Walker, core.JaxprEqn, list[Axes]], Sequence[Axes]]

RULES: dict[str, Rule] = {}
TAKES_EMPTY: set[str] = set()


def rule(*primitives: str, takes_empty: bool = False) -> Callable[[Rule], Rule]:
    """Registers a rule for the primitives of these names.

    Args:
      *primitives: the names.
      takes_empty: whether the rule is right for arrays without entries too.
    """

    def register(function: Rule) -> Rule:
        for name in primitives:
            if name in RULES:
                raise ValueError(f"primitive {name!r} has two rules.")
            RULES[name] = function
            if takes_empty:
                TAKES_EMPTY.add(name)
        return function

    return register


def shape_out(equation: core.JaxprEqn, output: int = 0) -> tuple[int, ...]:
    """The shape of an output."""
    return tuple(equation.outvars[output].aval.shape)
