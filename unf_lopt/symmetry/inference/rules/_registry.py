"""The table of rules, and what all of them use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from jax.extend import core

from unf_lopt.symmetry.inference._jaxprs import aval_of

if TYPE_CHECKING:
    from unf_lopt.symmetry.inference._graph import Node
    from unf_lopt.symmetry.inference._walk import Walker

    Axes = tuple[Node, ...]
    Rule = Callable[[Walker, core.JaxprEqn, list[Axes]], Sequence[Axes]]

RULES: dict[str, Rule] = {}
TAKES_EMPTY: set[str] = set()
TAKES_UNIFORM: dict[str, Callable[[core.JaxprEqn], Sequence[bool]]] = {}


def rule(
    *primitives: str,
    takes_empty: bool = False,
    takes_uniform: Callable[[core.JaxprEqn], Sequence[bool]] | None = None,
) -> Callable[[Rule], Rule]:
    """Registers a rule for the primitives of these names.

    Args:
      *primitives: the names.
      takes_empty: whether the rule is right for arrays without entries too.
      takes_uniform: for an equation with jaxprs inside, whether each of its inputs keeps its marks
        of axes along which it does not vary; it does if it goes into a jaxpr as it is. By default
        none does: an axis so marked comes as a new one that can be tied.
    """

    def register(function: Rule) -> Rule:
        for name in primitives:
            if name in RULES:
                raise ValueError(f"primitive {name!r} has two rules.")
            RULES[name] = function
            if takes_empty:
                TAKES_EMPTY.add(name)
            if takes_uniform is not None:
                TAKES_UNIFORM[name] = takes_uniform
        return function

    return register


def shape_out(equation: core.JaxprEqn, output: int = 0) -> tuple[int, ...]:
    """The shape of an output."""
    return tuple(aval_of(equation.outvars[output]).shape)
