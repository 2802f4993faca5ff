"""What the outputs of a jaxpr depend on, whatever the way in which they are computed reads."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Collection, Iterator, Sequence

from jax.extend import core

from unf_lopt.symmetry.inference._jaxprs import inner_jaxprs, shape_of


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
    """Whether an equation has effects, or an output with entries that is among what is read."""
    return bool(equation.effects) or any(
        var in read and 0 not in shape_of(var) for var in equation.outvars
    )


# By factors that were found before: triangular systems, and what puts rows in the order of pivots.
# Anything else, sums and products above all, may be an iteration that is stopped.
_TRIANGULAR = "triangular_solve"
_DIRECT = {
    _TRIANGULAR,
    "add",
    "broadcast_in_dim",
    "convert_element_type",
    "copy",
    "gather",
    "jit",
    "lt",
    "pjit",
    "reshape",
    "select_n",
    "slice",
    "squeeze",
    "transpose",
    "tridiagonal_solve",
}


@dataclasses.dataclass(frozen=True)
class ExactSolve:
    """An equation ``A·x = b`` that is solved by factors of A, such as ``jnp.linalg.solve``.

    Attributes:
      matvec: the jaxpr of ``x ↦ A·x``, of the constants and x.
      constants: what A is made of.
      right: b.
      start: the number of the equation's inputs before b.
      is_symmetric: whether A is said to be, so that half of it may be read alone (Cholesky), or
        nothing is said of its transpose.
    """

    matvec: core.ClosedJaxpr
    constants: Sequence[core.Var | core.Literal]
    right: Sequence[core.Var | core.Literal]
    start: int
    is_symmetric: bool


def exact_solve(equation: core.JaxprEqn) -> ExactSolve | None:
    """What an equation solves; None if it is another, or solved step by step, as by `cg`.

    That a solution by two triangular systems, or a tridiagonal one, is one of ``A·x = b`` is what
    whoever calls ``lax.custom_linear_solve`` promises.
    """
    if equation.primitive.name != "custom_linear_solve":
        return None
    jaxprs, lengths = equation.params["jaxprs"], equation.params["const_lengths"]
    used = collections.Counter(_primitives(jaxprs.solve.jaxpr))
    is_direct = used[_TRIANGULAR] > 1 or "tridiagonal_solve" in used
    if not is_direct or not used.keys() <= _DIRECT:
        return None
    # Where a batch was made of it, the two are no longer one object.
    is_symmetric = jaxprs.vecmat is None or str(jaxprs.vecmat) == str(jaxprs.matvec)
    start = sum(lengths)
    inputs = equation.invars
    right = inputs[start:]
    return ExactSolve(jaxprs.matvec, inputs[: lengths.matvec], right, start, is_symmetric)


def _primitives(jaxpr: core.Jaxpr) -> Iterator[str]:
    """The primitives of a jaxpr's equations, inner ones included."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for inner in inner_jaxprs(equation.params):
            yield from _primitives(inner)
