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
    """Keeps the leading axes, freezes the last ones."""
    (axes,) = arguments
    batch_rank = len(axes) - matrix_axes
    batch = axes[:batch_rank]
    walker.freeze([axes[batch_rank:]])
    return [
        (*batch, *walker.fresh(shape_out(equation, number)[batch_rank:], frozen=True))
        for number in range(len(equation.outvars))
    ]


@rule(
    "cholesky",
    "eig",
    "eigh",
    "geqrf",
    "hessenberg",
    "lu",
    "lu_pivots_to_permutation",
    "qr",
    "schur",
    "svd",
    "tridiagonal",
)
def factorization(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """The rows and columns of a matrix are taken in order."""
    matrix_axes = 1 if equation.primitive.name == "lu_pivots_to_permutation" else 2
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


@rule(
    "cholesky_update",
    "custom_linear_solve",
    "householder_product",
    "ormqr",
    "symmetric_product",
    "tridiagonal_solve",
)
def solver(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """Everything is taken in order."""
    return walker.frozen_results(equation, arguments)
