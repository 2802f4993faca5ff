"""Orthogonalization of wide matrices in a subspace that is carried from step to step.

Newton-Schulz takes some ``4·rows²·columns`` multiplications a round, which for a layer of 512 units
is more than its loss and gradient. A momentum has few large singular values, and their vectors
turn slowly. So one round of subspace iteration a step keeps them known; they are set to one, and
what is left is scaled so that its singular values are one in root mean square.
The iteration is that of Dion (Ahn et al., arXiv 2504.05295), which leaves the rest for later steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from unf_lopt.optimizers.directions import or_one
from unf_lopt.optimizers.minimax import minimax_coefficients

# One array ``[copies, shorter side, rank]`` for every wide matrix.
Bases = tuple[jax.Array, ...]

# Of the singular values of a projection. Every round of Newton-Schulz on a Gram matrix multiplies
# the rounding of its smallest eigenvalues; from 0.003 on float32 is enough.
_POLAR = minimax_coefficients(6, 0.003)
# A rest of this part of a matrix's squares is rounding.
_ROUNDING = 1e-5
# Frequencies of a sketch: the first, and from one to the next.
_FIRST_FREQUENCY, _FREQUENCY_STEP = 3.0, 2.0


def start_basis(
    matrices: Sequence[int], rank: int, dtype: jnp.dtype = jnp.float32
) -> Float[Array, "copies shorter rank"]:
    """Before the first step: zeros, which :func:`in_subspace` takes for unknown.

    Args:
      matrices: ``(copies, rows, columns)``.
      rank: of the subspace.
      dtype: of the basis.
    """
    copies, rows, columns = matrices
    return jnp.zeros((copies, min(rows, columns), rank), dtype)


def in_subspace(
    x: Float[Array, "copies rows columns"], basis: Float[Array, "copies rows rank"]
) -> tuple[Float[Array, "copies rows columns"], Float[Array, "copies rows rank"]]:
    """``U Vᵀ + E·√(rows − rank)/‖E‖`` over its root mean square, and U, the next basis.

    ``V = polar(Xᵀ Q)`` and ``U = polar(X V)`` are one round of subspace iteration from the basis Q;
    ``E = X − X V Vᵀ`` is what V does not span. Products take ``6·rows·columns·rank``
    multiplications. Permutations and other rotations of rows and of columns pass through, if the
    basis is rotated with the rows.

    A basis of zeros is made from x. Directions that x lacks for a while are found again: every step
    multiplies what is left of them by some hundreds.

    Args:
      x: matrices with rows ≤ columns.
      basis: of the last step, or zeros.

    Returns:
      Matrices of root mean square near 1, zero where x is zero; and the basis for the next step.
    """
    copies, rank = len(x), basis.shape[-1]
    x = x / or_one(jnp.max(jnp.abs(x), (-2, -1), keepdims=True))
    basis = jax.lax.cond(
        jnp.any(basis != 0), lambda: basis, lambda: _sketched(x, rank).astype(basis.dtype)
    )
    if copies > 1:
        return jax.vmap(_iterate)(x, basis)
    # As matrices, since XLA's products of batches on CPUs are slower.
    direction, new_basis = _iterate(x[0], basis[0])
    return direction[None], new_basis[None]


def _iterate(
    x: Float[Array, "rows columns"], basis: Float[Array, "rows rank"]
) -> tuple[Float[Array, "rows columns"], Float[Array, "rows rank"]]:
    """A round of subspace iteration, and the direction by what it finds."""
    (rows, columns), rank = x.shape, basis.shape[-1]
    v = _polar(x.T @ basis)
    z = x @ v
    u = _polar(z)
    # ‖X − Z Vᵀ‖² and its product with U Vᵀ, by matrices of rank × rank; V is not quite orthonormal.
    gram_v = v.T @ v
    whole = jnp.vdot(x, x)
    rest = whole - 2 * jnp.vdot(z, z) + jnp.vdot(gram_v, z.T @ z)
    is_rest = rest > _ROUNDING * whole
    scale = jnp.where(is_rest, jnp.sqrt((rows - rank) / or_one(rest)), 0)
    product = jnp.vdot(u, z - z @ gram_v)
    squares = scale**2 * rest + 2 * scale * product + jnp.vdot(gram_v, u.T @ u)
    unit = jnp.where(squares > 0, jnp.sqrt(rows * columns / or_one(squares)), 0)
    direction = (unit * scale) * x + (unit * (u - scale * z)) @ v.T
    return direction, u.astype(basis.dtype)


def _polar(y: Float[Array, "rows rank"]) -> Float[Array, "rows rank"]:
    """The nearest orthonormal columns, roughly: ``Y·p(YᵀY)``; directions that Y lacks stay zero.

    All rounds of Newton-Schulz are on the Gram matrix, which is small.
    """
    gram = y.T @ y
    norm = or_one(jnp.sqrt(jnp.vdot(gram, gram)))
    gram = gram / norm
    identity = jnp.eye(len(gram), dtype=gram.dtype)
    product = identity * jax.lax.rsqrt(norm)
    for a, b, c in _POLAR:
        factor = a * identity + b * gram + c * (gram @ gram)
        product, gram = product @ factor, factor @ gram @ factor
    return y @ product


def _sketched(
    x: Float[Array, "copies rows columns"], rank: int
) -> Float[Array, "copies rows rank"]:
    """A basis of most of the columns' span: of products of x with numbers as good as random.

    They are of the columns' sums s, ``sin(ω·s)`` for as many ω, so that they move with the columns,
    as random numbers would not.
    """
    rms = jnp.sqrt(or_one(jnp.mean(jnp.square(x), (-2, -1), keepdims=True)))
    sums = jnp.sum(x / rms, -2) / np.sqrt(x.shape[-2])
    frequencies = _FIRST_FREQUENCY + _FREQUENCY_STEP * jnp.arange(rank, dtype=x.dtype)
    return jax.vmap(_polar)(x @ jnp.sin(sums[..., None] * frequencies))
