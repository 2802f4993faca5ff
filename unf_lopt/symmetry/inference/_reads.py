"""What the outputs of a jaxpr depend on, whatever the way in which they are computed reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

from jax.extend import core

from unf_lopt.symmetry.inference._jaxprs import inner_jaxprs


def read_variables(jaxpr: core.Jaxpr) -> set[core.Var]:
    """The variables that an open jaxpr's outputs or effects depend on.

    The factors of a matrix by which an equation is solved are not among them: the solution depends
    on the matrix alone.
    """
    read = {atom for atom in jaxpr.outvars if isinstance(atom, core.Var)}
    for equation in reversed(jaxpr.eqns):
        if is_live(equation, read):
            solve = exact_solve(equation)
            own = equation.invars if solve is None else [*solve.constants, *solve.right]
            read.update(atom for atom in own if isinstance(atom, core.Var))
    return read


def is_live(equation: core.JaxprEqn, read: Collection[core.Var]) -> bool:
    """Whether an equation has effects, or one of its outputs is among what is read."""
    return bool(equation.effects) or any(var in read for var in equation.outvars)


@dataclasses.dataclass(frozen=True)
class ExactSolve:
    """An equation ``A·x = b`` that is solved by factors of A, such as ``jnp.linalg.solve``.

    Attributes:
      matvec: the jaxpr of ``x ↦ A·x``, of the constants and x.
      constants: what A is made of.
      right: b.
      start: the number of the equation's inputs before b.
    """

    matvec: core.ClosedJaxpr
    constants: Sequence[core.Var | core.Literal]
    right: Sequence[core.Var | core.Literal]
    start: int


def exact_solve(equation: core.JaxprEqn) -> ExactSolve | None:
    """What an equation solves; None if it is another, or solved step by step, as by `cg`."""
    if equation.primitive.name != "custom_linear_solve":
        return None
    jaxprs, lengths = equation.params["jaxprs"], equation.params["const_lengths"]
    if not _mentions(jaxprs.solve.jaxpr, ("triangular_solve", "tridiagonal_solve")):
        return None
    start = sum(lengths)
    inputs = equation.invars
    return ExactSolve(jaxprs.matvec, inputs[: lengths.matvec], inputs[start:], start)


def _mentions(jaxpr: core.Jaxpr, primitives: Sequence[str]) -> bool:
    """Whether an equation of a jaxpr, inner ones included, is of some primitive."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in primitives:
            return True
        if any(_mentions(inner, primitives) for inner in inner_jaxprs(equation.params)):
            return True
    return False
