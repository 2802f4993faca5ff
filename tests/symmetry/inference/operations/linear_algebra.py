"""Factorizations, solvers and transforms of batches of matrices."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax._src.lax import linalg

from tests.symmetry.inference.builder import Builder
from tests.symmetry.inference.operations.registry import add, operation


def _batch(builder: Builder) -> tuple[int, ...]:
    return builder.shape((0, 2), at_least=2)


def _rectangular(builder: Builder) -> Any:
    rows, columns = builder.choose((2, 3)), builder.choose((2, 3))
    return builder.array((*_batch(builder), max(rows, columns), columns))


def _square(builder: Builder) -> Any:
    size = builder.choose((2, 3))
    return builder.array((*_batch(builder), size, size))


def _symmetric(builder: Builder) -> Any:
    square = _square(builder)
    product = square @ jnp.swapaxes(square, -1, -2)
    return product + jnp.eye(square.shape[-1])


def _tuple(result: Any) -> tuple[Any, ...]:
    return tuple(result) if isinstance(result, (tuple, list)) else (result,)


def _factorize(function: Callable[[Any], Any], draw: Callable[[Builder], Any]) -> Callable:
    return lambda builder: builder.add(*_tuple(function(draw(builder))))


for _name, _function, _draw in (
    ("cholesky", linalg.cholesky, _symmetric),
    ("eig", linalg.eig, _square),
    ("eigh", linalg.eigh, _symmetric),
    ("geqrf", linalg.geqrf, _rectangular),
    ("hessenberg", linalg.hessenberg, _square),
    ("lu", linalg.lu, _square),
    ("qr", functools.partial(linalg.qr, full_matrices=False), _rectangular),
    ("schur", linalg.schur, _square),
    ("svd", functools.partial(linalg.svd, full_matrices=False), _rectangular),
    ("tridiagonal", linalg.tridiagonal, _symmetric),
):
    add(_name, _factorize(_function, _draw), _name)


@operation("lu_pivots_to_permutation")
def pivots(builder: Builder) -> None:
    _, rows, _ = linalg.lu(_square(builder))
    builder.add(linalg.lu_pivots_to_permutation(rows, rows.shape[-1] + 1))


@operation("svd")
def singular_values(builder: Builder) -> None:
    builder.add(linalg.svd(_rectangular(builder), compute_uv=False, full_matrices=False))


@operation("triangular_solve", times=3)
def triangular_solve(builder: Builder) -> None:
    """From the left or the right; the right-hand sides are free."""
    matrix = jnp.tanh(_square(builder)) + 2 * jnp.eye(2 if builder.chance(0.0) else 1)
    batch, size, left = matrix.shape[:-2], matrix.shape[-1], builder.chance()
    many = builder.size(2)
    right = builder.array((*batch, size, many) if left else (*batch, many, size))
    builder.add(
        linalg.triangular_solve(
            matrix,
            right,
            left_side=left,
            lower=builder.chance(),
            transpose_a=builder.chance(),
            unit_diagonal=builder.chance(),
        )
    )


@operation("custom_linear_solve", "lu", "triangular_solve")
def solve(builder: Builder) -> None:
    matrix = _symmetric(builder)
    right = builder.array((*matrix.shape[:-1], builder.size(2)))
    builder.add(jnp.linalg.solve(matrix, right), jnp.linalg.inv(matrix))


@operation("custom_linear_solve")
def solve_of_any_kind(builder: Builder) -> None:
    """By the factors of a positive matrix, and step by step."""
    positive = _symmetric(builder)
    right = builder.array(positive.shape[:-1])
    builder.add(jax.scipy.linalg.solve(positive, right[..., None], assume_a="pos"))
    if positive.ndim == 2:
        builder.add(jax.scipy.sparse.linalg.cg(positive, right, maxiter=2)[0])


@operation("cholesky_update")
def cholesky_update(builder: Builder) -> None:
    size = builder.choose((2, 3))
    builder.add(linalg.cholesky_update(builder.array((size, size)), builder.array((size,))))


@operation("symmetric_product")
def symmetric_product(builder: Builder) -> None:
    rows, columns = builder.size(2), builder.size(2)
    left, right = builder.array((rows, columns)), builder.array((rows, rows))
    builder.add(linalg.symmetric_product(left, right, alpha=2.0, beta=0.5))


@operation("tridiagonal_solve")
def tridiagonal_solve(builder: Builder) -> None:
    batch, size = _batch(builder), builder.choose((3, 4))
    lower, middle, upper = (builder.bounded((*batch, size)) for _ in range(3))
    right = builder.array((*batch, size, builder.size(2)))
    builder.add(linalg.tridiagonal_solve(lower, middle + 4, upper, right))


_HAS_ORMQR = hasattr(linalg, "ormqr")  # not in JAX 0.9


@operation("householder_product", *(["ormqr"] if _HAS_ORMQR else []))
def reflections(builder: Builder) -> None:
    matrix = _square(builder)
    taus = builder.bounded(matrix.shape[:-1])
    builder.add(linalg.householder_product(matrix, taus))
    if _HAS_ORMQR:
        builder.add(linalg.ormqr(matrix, taus, builder.array(matrix.shape)))


@operation("fft")
def fft(builder: Builder) -> None:
    """Of the last axes, of real and of complex arrays."""
    array = builder.array(rank=(1, 3))
    count = builder.integer(1, array.ndim)
    axes = tuple(range(array.ndim - count, array.ndim))
    builder.add(builder.choose((jnp.fft.fftn, jnp.fft.rfftn, jnp.fft.ifftn))(array, axes=axes))
    if builder.chance():
        builder.add(jax.grad(lambda x: jnp.sum(jnp.abs(jnp.fft.fft(x)) ** 2))(array))
