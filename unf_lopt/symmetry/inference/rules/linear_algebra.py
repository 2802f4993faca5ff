"""Factorizations, solvers and Fourier transforms: batch axes pass, matrix axes are frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unf_lopt.symmetry.inference._reads import exact_solve
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
    "tridiagonal",
)
def factorization(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """The rows and columns of a matrix are taken in order."""
    matrix_axes = 1 if equation.primitive.name == "lu_pivots_to_permutation" else 2
    return _batched(walker, equation, arguments, matrix_axes)


@rule("svd")
def svd(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """Singular values alone depend on no order; vectors have signs that do."""
    if equation.params["compute_uv"]:
        return _batched(walker, equation, arguments, 2)
    (axes,) = arguments
    return [(*axes[:-2], *walker.fresh(shape_out(equation)[-1:], frozen=True))]


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


@rule("custom_linear_solve")
def linear_solve(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """The solution of ``A·x = b`` has axes with which ``A·x`` has those of b, however it is found.

    Where A is said to be symmetric it has to stay so: the axes of x are those of b. An iteration
    that is stopped gives no solution, so everything is taken in order there.
    """
    solve = exact_solve(equation)
    if solve is None:
        return walker.frozen_results(equation, arguments)
    constants, right = arguments[: len(solve.constants)], arguments[solve.start :]
    solution = [walker.fresh(tuple(node.size for node in axes)) for axes in right]
    products = walker.walk(solve.matvec, [*constants, *solution])
    walker.blame(equation)
    for product, axes in zip(products, right, strict=True):
        walker.unify_arrays(walker.used(product), axes)
    if solve.is_symmetric:
        for own, axes in zip(solution, right, strict=True):
            walker.unify_arrays(own, axes)
    return solution


@rule(
    "cholesky_update",
    "householder_product",
    "ormqr",
    "symmetric_product",
    "tridiagonal_solve",
)
def solver(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """Everything is taken in order."""
    return walker.frozen_results(equation, arguments)
