"""Factorizations, solvers and Fourier transforms: batch axes pass, matrix axes are frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unf_lopt.symmetry.inference.rules._registry import rule, shape_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jax.extend import core

    from unf_lopt.symmetry.inference._walk import Axes, Walker


def _batched(
    walker: Walker, equation: core.JaxprEqn, arguments: list[Axes], matrix_axes: int
) -> Sequence[Axes]:
    """Ties the leading axes of all arrays, freezes the last ones of the inputs."""
    batch_rank = len(arguments[0]) - matrix_axes
    batch = arguments[0][:batch_rank]
    for axes in arguments:
        walker.unify_arrays(batch, axes[:batch_rank])
        walker.freeze([axes[batch_rank:]])
    return [
        (*batch, *walker.fresh(shape_out(equation, number)[batch_rank:], frozen=True))
        for number in range(len(equation.outvars))
    ]


@rule(
    "cholesky",
    "cholesky_update",
    "eig",
    "eigh",
    "geqrf",
    "hessenberg",
    "lu",
    "lu_pivots_to_permutation",
    "qr",
    "schur",
    "svd",
    "symmetric_product",
    "tridiagonal",
    "tridiagonal_solve",
)
def factorization(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """The rows and columns of a matrix are taken in order."""
    matrix_axes = 1 if equation.primitive.name == "lu_pivots_to_permutation" else 2
    if equation.primitive.name in ("cholesky_update", "tridiagonal_solve", "symmetric_product"):
        return walker.frozen_results(equation, arguments)
    return _batched(walker, equation, arguments, matrix_axes)


@rule("triangular_solve")
def triangular_solve(
    walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]
) -> Sequence[Axes]:
    """Every right-hand side is solved by itself; the triangle is frozen."""
    matrix, right = arguments
    walker.unify_arrays(matrix[:-2], right[:-2])
    walker.freeze([matrix[-2:]])
    walker.graph.freeze(right[-2 if equation.params["left_side"] else -1])
    return [right]


@rule("fft")
def fft(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """Only the axes that are transformed have an order."""
    (axes,) = arguments
    rank = len(axes) - len(equation.params["fft_lengths"])
    walker.freeze([axes[rank:]])
    return [(*axes[:rank], *walker.fresh(shape_out(equation)[rank:], frozen=True))]


@rule("custom_linear_solve", "householder_product", "ormqr")
def solver(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """Everything is taken in order."""
    return walker.frozen_results(equation, arguments)
