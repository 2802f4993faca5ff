"""Orthogonalization of wide matrices in a subspace that is carried from step to step.

Newton-Schulz takes some ``4·rows²·columns`` multiplications a round, which for a layer of 512 units
is more than its loss and gradient. A momentum has few large singular values, and their vectors
turn slowly. So one round of subspace iteration a step keeps them known; they are set to one, and
what is left is scaled so that its singular values are one in root mean square.
The iteration is that of Dion (Ahn et al., arXiv 2504.05295), which leaves the rest for later steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Float

from unf_lopt.optimizers.batches import in_batches
from unf_lopt.optimizers.directions import or_one
from unf_lopt.optimizers.minimax import minimax_coefficients

# One array ``[copies, shorter side, rank]`` for every wide matrix.
Bases = tuple[jax.Array, ...]

# The smallest singular values, of the norm of all, that are told from rounding. Every round of
# Newton-Schulz on a Gram matrix, whose eigenvalues are their squares, multiplies its rounding; from
# 0.003 on float32 is enough.
_SMALLEST = 0.003
_POLAR = minimax_coefficients(5, _SMALLEST)
# A rest of this part of a matrix's squares is rounding.
_ROUNDING = 1e-5
# Frequencies of a sketch: the first, and from one to the next.
_FIRST_FREQUENCY, _FREQUENCY_STEP = 3.0, 2.0


def start_basis(
    matrices: Sequence[int], rank: int, dtype: jnp.dtype = jnp.float32
) -> Float[Array, "copies shorter rank"]:
    """Before the first step: zeros, which :func:`in_subspaces` takes for unknown.

    Args:
      matrices: ``(copies, rows, columns)``.
      rank: of the subspace.
      dtype: of the basis.
    """
    copies, rows, columns = matrices
    return jnp.zeros((copies, min(rows, columns), rank), dtype)


def in_subspaces(
    xs: Sequence[jax.Array], bases: Sequence[jax.Array]
) -> tuple[list[jax.Array], list[jax.Array]]:
    """``U Vᵀ + E·√(rows − rank)/‖E‖`` over its root mean square, and U, the next basis.

    ``V = orth(Xᵀ Q)`` and ``U = polar(X V)`` are one round of subspace iteration from the basis Q;
    ``E = X − X V Vᵀ`` is what V does not span. Products take ``6·rows·columns·rank``
    multiplications. Permutations and other rotations of rows and of columns pass through, if the
    basis is rotated with the rows.

    A basis of zeros is made from x; it is not differentiated. Directions that x lacks for a while
    are found again: every step multiplies what is left of them by some hundreds.

    Args:
      xs: matrices ``[copies, rows, columns]`` with rows ≤ columns.
      bases: of the last step, or zeros, ``[copies, rows, rank]`` for each of xs.

    Returns:
      Matrices of root mean square near 1, zero where x is zero; and the bases for the next step.
    """
    if not xs:
        return [], []
    xs = [x / or_one(jnp.max(jnp.abs(x), (-2, -1), keepdims=True)) for x in xs]
    begun = _missing(jax.lax.stop_gradient(xs), jax.lax.stop_gradient(list(bases)))
    started = [q + own.astype(q.dtype) for q, own in zip(bases, begun, strict=True)]
    ys = [_transposed(x) @ q for x, q in zip(xs, started, strict=True)]
    # Twice: once leaves columns that are not quite orthonormal, and their part of x in the rest.
    halfway, _, _ = _turned(_to_orthonormal, ys)
    vs, turns, grams = _turned(_to_orthonormal, halfway)
    grams_v = [_transposed(t) @ own @ t for t, own in zip(turns, grams, strict=True)]
    zs = [x @ v for x, v in zip(xs, vs, strict=True)]
    us, turns, grams_z = _turned(_to_polar, zs)
    mixed = [_mixed(*own) for own in zip(xs, us, vs, zs, turns, grams_v, grams_z, strict=True)]
    return mixed, [u.astype(q.dtype) for u, q in zip(us, bases, strict=True)]


def _turned(
    turn_of: Callable[[jax.Array], jax.Array], ys: Sequence[jax.Array]
) -> tuple[list[jax.Array], list[jax.Array], list[jax.Array]]:
    """Every Y·T, T as a function of ``YᵀY``; and all T and ``YᵀY``."""
    grams = [_gram(y) for y in ys]
    turns = in_batches(turn_of, grams)
    return [y @ turn for y, turn in zip(ys, turns, strict=True)], turns, grams


def _mixed(
    x: Float[Array, "copies rows columns"],
    u: Float[Array, "copies rows rank"],
    v: Float[Array, "copies columns rank"],
    z: Float[Array, "copies rows rank"],
    turn: Float[Array, "copies rank rank"],
    gram_v: Float[Array, "copies rank rank"],
    gram_z: Float[Array, "copies rank rank"],
) -> Float[Array, "copies rows columns"]:
    """``U Vᵀ`` and the rest of x, where ``Z = X V`` and ``U = Z·turn``.

    All squares are of matrices of rank × rank. V lacks directions that x lacks, so ``VᵀV`` need not
    be the identity.
    """
    rows, columns, rank = *x.shape[-2:], u.shape[-1]
    cross = turn @ gram_z  # UᵀZ
    whole = _inner(x, x)
    rest = whole - 2 * _trace(gram_z) + _inner(gram_v, gram_z)
    is_rest = rest > _ROUNDING * whole
    scale = jnp.where(is_rest, jnp.sqrt((rows - rank) / or_one(rest)), 0)
    product = _trace(cross) - _inner(cross, gram_v)
    squares = scale**2 * rest + 2 * scale * product + _inner(gram_v, cross @ turn)
    unit = jnp.where(squares > 0, jnp.sqrt(rows * columns / or_one(squares)), 0)
    return (unit * scale) * x + (unit * (u - scale * z)) @ _transposed(v)


def _to_orthonormal(gram: Float[Array, "*copies rank rank"]) -> Float[Array, "*copies rank rank"]:
    """T with Y·T of orthonormal columns, from ``YᵀY``, by Cholesky; what Y lacks stays zero."""
    norm = or_one(jnp.sqrt(_inner(gram, gram)))
    identity = jnp.broadcast_to(jnp.eye(gram.shape[-1], dtype=gram.dtype), gram.shape)
    lower = jnp.linalg.cholesky(gram / norm + _SMALLEST**2 * identity)
    inverse = jax.lax.linalg.triangular_solve(lower, identity, left_side=True, lower=True)
    return _transposed(inverse) * jax.lax.rsqrt(norm)


def _to_polar(gram: Float[Array, "*copies rank rank"]) -> Float[Array, "*copies rank rank"]:
    """T with Y·T the orthonormal columns nearest to Y, from ``YᵀY``; what Y lacks stays zero.

    All rounds of Newton-Schulz are on the Gram matrix, which is small.
    """
    norm = or_one(jnp.sqrt(_inner(gram, gram)))
    gram = gram / norm
    identity = jnp.eye(gram.shape[-1], dtype=gram.dtype)
    product = identity * jax.lax.rsqrt(norm)
    for a, b, c in _POLAR:
        factor = a * identity + b * gram + c * (gram @ gram)
        product, gram = product @ factor, factor @ gram @ factor
    return product


@custom_vmap
def _missing(xs: list[jax.Array], bases: list[jax.Array]) -> list[jax.Array]:
    """Where a basis is zero, one that is made from its x; else zeros.

    On CPUs they are made only if some basis is zero, for many runs at once too: of a plain
    condition, `vmap` would make both sides at every step. On accelerators they always are: to make
    them takes less than to wait for a condition, which is read on the host.

    Args:
      xs: matrices ``[*runs, copies, rows, columns]``.
      bases: ``[*runs, copies, rows, rank]``.
    """
    are_zero = [jnp.all(basis == 0, (-2, -1), keepdims=True) for basis in bases]

    def made() -> list[jax.Array]:
        return [
            jnp.where(is_zero, _sketched(x, basis.shape[-1]), 0)
            for is_zero, x, basis in zip(are_zero, xs, bases, strict=True)
        ]

    def none() -> list[jax.Array]:
        return [jnp.zeros(basis.shape, x.dtype) for x, basis in zip(xs, bases, strict=True)]

    def if_needed() -> list[jax.Array]:
        return jax.lax.cond(jnp.any(jnp.array([jnp.any(own) for own in are_zero])), made, none)

    return jax.lax.platform_dependent(cpu=if_needed, default=made)


@_missing.def_vmap
def _missing_of_many(
    size: int, is_batched: Sequence[Sequence[bool]], *args: list[jax.Array]
) -> tuple[list[jax.Array], list[bool]]:
    def batched(own: jax.Array, has: bool) -> jax.Array:
        return own if has else jnp.broadcast_to(own, (size, *own.shape))

    xs, bases = jax.tree.map(batched, list(args), list(is_batched))
    return _missing(xs, bases), [True] * len(xs)


def _sketched(
    x: Float[Array, "*copies rows columns"], rank: int
) -> Float[Array, "*copies rows rank"]:
    """A basis of most of the columns' span: of products of x with numbers as good as random.

    They are of the columns' sums s, ``sin(ω·s)`` for as many ω, so that they move with the columns,
    as random numbers would not.
    """
    rms = jnp.sqrt(or_one(jnp.mean(jnp.square(x), (-2, -1), keepdims=True)))
    sums = jnp.sum(x / rms, -2) / np.sqrt(x.shape[-2])
    frequencies = _FIRST_FREQUENCY + _FREQUENCY_STEP * jnp.arange(rank, dtype=x.dtype)
    y = x @ jnp.sin(sums[..., None] * frequencies)
    return y @ _to_orthonormal(_gram(y))


def _gram(y: Float[Array, "*copies rows rank"]) -> Float[Array, "*copies rank rank"]:
    return _transposed(y) @ y


def _transposed(x: jax.Array) -> jax.Array:
    return jnp.swapaxes(x, -1, -2)


def _inner(a: jax.Array, b: jax.Array) -> Float[Array, "*copies 1 1"]:
    return jnp.sum(a * b, (-2, -1), keepdims=True)


def _trace(a: Float[Array, "*copies rank rank"]) -> Float[Array, "*copies 1 1"]:
    return jnp.trace(a, axis1=-2, axis2=-1)[..., None, None]
