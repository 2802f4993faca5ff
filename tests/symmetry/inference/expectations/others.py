"""What is left free by loops and branches, linear algebra, and what else there is."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.symmetry.inference.expectations._noted import expect, total

# ------------------------------------------------------------------------------------ the others
expect(
    "pooling keeps batch and channels",
    lambda x: total(lax.reduce_window(x, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")),
    x=((2, 4, 4, 3), "a . . b"),
)
expect(
    "a pooled window of one entry with a margin",
    lambda x, y: total(
        lax.reduce_window(x, 0.0, lax.add, (1, 1), (1, 1), ((0, 0), (1, 1))) * y,
    ),
    x=((3, 4), "a ."),
    y=((3, 6), "a ."),
)
expect(
    "the gradient of pooling",
    lambda x, y: total(
        jax.vjp(lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2), (1, 2), "VALID"), x)[1](
            y
        )[0]
    ),
    x=((3, 4), "a ."),
    y=((3, 2), "a ."),
)
expect(
    "pivots of a batch",
    lambda i: total(lax.linalg.lu_pivots_to_permutation(i, 4).astype(jnp.float32)),
    i=((3, 2), "a ."),
)
expect(
    "a batch of factorizations",
    lambda x, y: total(jnp.linalg.qr(x)[1] * y),
    x=((4, 3, 2), "a . ."),
    y=((4, 2, 2), "a . ."),
)
expect(
    "right-hand sides",
    lambda x, y: total(lax.linalg.triangular_solve(x, y, left_side=True)),
    x=((4, 3, 3), "a . ."),
    y=((4, 3, 2), "a . b"),
)
expect(
    "right-hand sides from the right",
    lambda x, y: total(lax.linalg.triangular_solve(x, y, left_side=False)),
    x=((3, 3), ". ."),
    y=((2, 3), "a ."),
)
expect(
    "a solution",
    lambda x, y, z: total(jnp.linalg.solve(x, y) * z),
    x=((4, 4), "a b"),
    y=((4, 3), "a c"),
    z=((4, 3), "b c"),
)
expect(
    "a solution and the factors that it is found by",
    lambda x, y: total(jnp.linalg.solve(x, y)) + total(lax.linalg.lu(x)[0]),
    x=((4, 4), ". ."),
    y=((4, 3), ". a"),
)
expect(
    "an inverse", lambda x, y: total(jnp.linalg.inv(x) * y), x=((4, 4), "a b"), y=((4, 4), "b a")
)
expect(
    "solutions of a batch",
    lambda x, y: total(jnp.linalg.solve(x, y)),
    x=((2, 4, 4), "a b c"),
    y=((2, 4, 3), "a b d"),
)
expect(
    "least squares by normal equations",
    lambda x, y: total(jnp.linalg.solve(x.T @ x, x.T @ y)),
    x=((5, 3), "a b"),
    y=((5, 2), "a c"),
)
expect(
    "a solution by the root of a matrix",
    lambda x, y: total(jax.scipy.linalg.solve(x.T @ x, y, assume_a="pos")),
    x=((5, 3), "a b"),
    y=((3, 2), "b c"),
)
expect(
    "a solution step by step",
    lambda x, y: total(jax.scipy.sparse.linalg.cg(lambda z: x @ (x.T @ z), y, maxiter=2)[0]),
    x=((4, 4), ". ."),
    y=((4,), "."),
)
expect(
    "a matrix that is said to be symmetric",
    lambda x, y: total(jax.scipy.linalg.solve(x, y, assume_a="pos")),
    x=((4, 4), "a a"),
    y=((4, 3), "a b"),
)
expect(
    "a batch of matrices that are said to be symmetric",
    lambda x, y: total(jax.vmap(lambda x, y: jax.scipy.linalg.solve(x, y, assume_a="pos"))(x, y)),
    x=((2, 4, 4), "a b b"),
    y=((2, 4, 3), "a b c"),
)
expect(
    "a solution step by step, by the root of another matrix",
    lambda x, y, z: total(
        jax.scipy.sparse.linalg.cg(
            lambda v: x @ (x.T @ v),
            y,
            M=lambda r: jax.scipy.linalg.cho_solve((z, True), r),
            maxiter=2,
        )[0]
    ),
    x=((4, 4), ". ."),
    y=((4,), "."),
    z=((4, 4), ". ."),
)
expect(
    "least squares in a space that grows step by step",
    lambda x, y: total(jax.scipy.sparse.linalg.gmres(lambda v: x @ v, y, restart=2, maxiter=1)[0]),
    x=((4, 4), ". ."),
    y=((4,), "."),
)
expect(
    "one triangular system that is said to solve another",
    lambda x, y: total(
        lax.custom_linear_solve(
            lambda v: x @ v,
            y,
            lambda _, b: jax.scipy.linalg.solve_triangular(x, b, lower=True),
        )
    ),
    x=((4, 4), ". ."),
    y=((4,), "."),
)
expect(
    "a solution by a root, and no word of the transpose",
    lambda x, y: total(
        (
            lambda root: lax.custom_linear_solve(
                lambda v: x @ v, y, lambda _, b: jax.scipy.linalg.cho_solve((root, True), b)
            )
        )(jnp.linalg.cholesky(x))
    ),
    x=((4, 4), "a a"),
    y=((4, 3), "a b"),
)


def _two_solutions(x: jax.Array, y: jax.Array, u: jax.Array, w: jax.Array) -> tuple:
    roots = jnp.linalg.cholesky(x), jnp.linalg.cholesky(y)
    return lax.custom_linear_solve(
        lambda v: (x @ v[0], y @ v[1]),
        (u, w),
        lambda _, b: tuple(
            jax.scipy.linalg.cho_solve((root, True), own)
            for root, own in zip(roots, b, strict=True)
        ),
        symmetric=True,
    )


expect(
    "two systems at once",
    lambda x, y, u, w, z: total(_two_solutions(x, y, u, w)[0] * z, _two_solutions(x, y, u, w)[1]),
    x=((4, 4), "a a"),
    y=((4, 4), "b b"),
    u=((4, 2), "a c"),
    w=((4, 2), "b d"),
    z=((4, 2), "a c"),
)
_BELOW, _ABOVE = np.float32([0, 1, 1, 1]), np.zeros(4, np.float32)
expect(
    "a tridiagonal system",
    lambda x, y, z: total(
        lax.custom_linear_solve(
            lambda v: x[:, None] * v + _BELOW[:, None] * jnp.roll(v, 1, 0),
            y,
            lambda _, b: lax.linalg.tridiagonal_solve(_BELOW, x, _ABOVE, b),
        )
        * z
    ),
    x=((4,), "."),
    y=((4, 3), ". a"),
    z=((4, 3), ". a"),
)
expect("the largest singular value", lambda x: jnp.linalg.norm(x, 2), x=((4, 3), "a b"))
expect("all singular values", lambda x: jnp.linalg.norm(x, "nuc"), x=((4, 3), "a b"))
expect(
    "singular values of a batch",
    lambda x, y: total(jnp.linalg.svd(x, compute_uv=False) * y),
    x=((2, 4, 3), "a b c"),
    y=((2, 3), "a ."),
)
expect("singular vectors", lambda x: total(jnp.linalg.svd(x)[0]), x=((4, 3), ". ."))
expect(
    "a Fourier transform",
    lambda x, y: total(jnp.abs(jnp.fft.fft(x)) * y),
    x=((3, 4), "a ."),
    y=((3, 4), "a ."),
)
expect(
    "a recurrence",
    lambda x, w, h: total(lax.scan(lambda h, e: (jnp.tanh(h @ w + e), None), h, x)[0]),
    x=((5, 3), ". a"),
    w=((3, 3), "a a"),
    h=((3,), "a"),
)
expect(
    "no carry",
    lambda x, y: total(lax.map(lambda pair: pair[0] * pair[1], (x, y))),
    x=((5, 3), "a b"),
    y=((5, 3), "a b"),
)
expect(
    "carries that change places",
    lambda x, y: total(*lax.scan(lambda c, _: ((c[1], 2 * c[0]), None), (x, y), length=3)[0]),
    x=((3,), "a"),
    y=((3,), "a"),
)
expect(
    "a loop",
    lambda x, y: total(lax.while_loop(lambda c: jnp.sum(c) < 9, lambda c: c * y, x)),
    x=((3, 4), "a b"),
    y=((3, 4), "a b"),
)
expect(
    "an order that nobody reads in a loop",
    lambda x: total(
        lax.while_loop(lambda c: jnp.sum(c) < 9, lambda c: (jnp.argsort(c) + 1, 2 * c)[1], x)
    ),
    x=((3,), "a"),
)


def _by_integers(x: jax.Array) -> tuple[jax.Array, Any]:
    """Gradients, that by integers without numbers."""
    _, back = jax.vjp(lambda x, count: jnp.sin(x) * count, x, jnp.full(3, 2))
    return back(jnp.ones(3))


expect(
    "a carry without numbers",
    lambda x: total(
        lax.while_loop(lambda c: jnp.sum(c[0]) < 9, lambda c: (2 * c[0], c[1]), _by_integers(x))[0]
    ),
    x=((3,), "a"),
)
expect(
    "a batch of loops",
    lambda x, y: total(
        jax.vmap(
            lambda n, y: lax.while_loop(
                lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] / 2), (0.0, y)
            )
        )(x, y)[1]
    ),
    x=((3,), "a"),
    y=((3, 4), "a b"),
)
expect(
    "branches agree",
    lambda x, y: total(lax.cond(jnp.sum(x) > 0, lambda x, y: x, lambda x, y: y, x, y)),
    x=((3, 4), "a b"),
    y=((3, 4), "a b"),
)
expect(
    "a branch that transposes",
    lambda x: total(lax.cond(jnp.sum(x) > 0, lambda x: x, lambda x: x.T, x)),
    x=((3, 3), "a a"),
)
expect(
    "calls in calls",
    lambda x, y: total(jax.jit(lambda x, y: jax.checkpoint(lambda y, x: x @ y)(y, x))(x, y)),
    x=((2, 3), "a b"),
    y=((3, 4), "b c"),
)
expect(
    "noise is frozen",
    lambda x, y: total(x + jax.random.normal(jax.random.key(0), (3,))[:, None] * y),
    x=((3, 4), ". a"),
    y=((4,), "a"),
)
expect(
    "what no rule knows",
    lambda x, y: total(
        jax.pure_callback(lambda x: x, jax.ShapeDtypeStruct((3,), np.float32), x), y
    ),
    x=((3,), "."),
    y=((3,), "a"),
)
