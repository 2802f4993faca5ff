"""What every primitive does to the axes of its arrays, by family.

A rule is ``rule(walker, equation, arguments) -> results``: it gets the axes of every input, ties
and freezes them in ``walker.graph`` as the equation demands, and returns the axes of every
output. It is right if, for all permutations that its axes leave free, the equation computes the
permuted outputs from the permuted inputs; ``tests/symmetry/inference`` checks that on numbers
for every rule. To add one: write it in the file of its family and decorate it with the names of
its primitives.
"""

from unf_lopt.symmetry.inference.rules import (
    contraction,
    control_flow,
    elementwise,
    indexing,
    linear_algebra,
    ordering,
    random,
    reduction,
    shapes,
    windows,
)
from unf_lopt.symmetry.inference.rules._registry import RULES, TAKES_EMPTY, TAKES_UNIFORM

FAMILIES = (
    contraction,
    control_flow,
    elementwise,
    indexing,
    linear_algebra,
    ordering,
    random,
    reduction,
    shapes,
    windows,
)

__all__ = ["FAMILIES", "RULES", "TAKES_EMPTY", "TAKES_UNIFORM"]
