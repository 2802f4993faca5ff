"""Directions that hand-designed optimizers step along, as pure functions in the manner of optax.

Every one is an ``optax.GradientTransformation``: its updates point uphill and have no step size.
They compute in float32, or in a wider type where the gradient has one; decays may be traced, so
that all of this can be vmapped and differentiated with respect to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from unf_lopt._types import PyTree
from unf_lopt.optimizers.features import wide_dtype, zero_momentum
from unf_lopt.optimizers.matrices import Matrices
from unf_lopt.optimizers.transformation import transformation

# Under a square root: keeps its derivative finite where a gradient has been zero from the start.
SMALLEST_SQUARE = 1e-30


class AverageState(NamedTuple):
    """Running averages; None for one that is not kept.

    Attributes:
      count: updates so far.
      first: of the gradient, leaves ``[*shape]``.
      second: of its square, leaves ``[*shape]`` (or its factors).
    """

    count: Int[Array, ""]
    first: PyTree = None
    second: PyTree = None


def wide(tree: PyTree) -> PyTree:
    """The tree in float32, or in the leaves' own types where they are wider."""
    return jax.tree.map(lambda x: jnp.asarray(x, wide_dtype(x)), tree)


def clipped(grad: PyTree, largest: float) -> PyTree:
    """The gradient scaled down to a largest Euclidean norm.

    What ``optax.clip_by_global_norm`` does, but differentiable where the gradient is zero.
    """
    square = sum((jnp.sum(jnp.square(g)) for g in jax.tree.leaves(grad)), jnp.zeros(()))
    scale = clipping_scale(square, largest)
    return jax.tree.map(lambda g: (scale * g).astype(g.dtype), grad)


def clipping_scale(square: Float[Array, ""], largest: float) -> Float[Array, ""]:
    """What a gradient is multiplied by whose squares have this sum."""
    return largest * jax.lax.rsqrt(jnp.maximum(square, largest**2))


def average(old: PyTree, new: PyTree, decay: Any) -> PyTree:
    """``decay·old + (1 − decay)·new``, in the type of ``old``."""
    return jax.tree.map(lambda a, x: (decay * a + (1 - decay) * x).astype(a.dtype), old, new)


def unbiased(tree: PyTree, decay: Any, count: Any) -> PyTree:
    """Averages that began at zero, divided by ``1 − decay^count``."""
    scale = 1 / (1 - decay**count)  # one division, not one for every entry
    return jax.tree.map(lambda a: (a * scale).astype(a.dtype), tree)


def unit_rms(x: Float[Array, "*shape"], axis: Any = None) -> Float[Array, "*shape"]:
    """An array over its root mean square along axes; zero, as its derivative, where it is zero."""
    x = x / or_one(jnp.max(jnp.abs(x), axis, keepdims=True))  # squares then do not vanish
    return x / jnp.sqrt(or_one(jnp.mean(jnp.square(x), axis, keepdims=True)))


def or_one(x: jax.Array) -> jax.Array:
    """Numbers to divide by: x where it is positive, else 1."""
    return jnp.where(x > 0, x, 1)


def corrected(
    nominal: Float[Array, "*shape"], change: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """A direction turned by a change, relative to its size, and as long as before.

    ``u = d + rms(d)·f`` scaled to the root mean square of d: the same where f is zero, and zero
    where d is.
    """

    def rms(x: jax.Array) -> Float[Array, ""]:
        return jnp.sqrt(jnp.mean(jnp.square(x)) + SMALLEST_SQUARE)

    size = rms(nominal)
    turned = nominal + size * change
    return turned * (size / rms(turned))


def momentum(decay: Any, *, debias: bool = True) -> optax.GradientTransformation:
    """``m ← μ·m + (1 − μ)·∇``, divided by ``1 − μ^t`` if debiased.

    Args:
      decay: μ.
      debias: whether the zeros at the start are corrected for.
    """

    def init(params: PyTree) -> AverageState:
        return AverageState(jnp.zeros((), jnp.int32), zero_momentum(params))

    def update(grad: PyTree, state: AverageState, params: PyTree = None) -> tuple[PyTree, Any]:
        first, count = average(state.first, wide(grad), decay), state.count + 1
        return (unbiased(first, decay, count) if debias else first), AverageState(count, first)

    return transformation(init, update)


def adam(b1: Any = 0.9, b2: Any = 0.999, eps: float = 1e-8) -> optax.GradientTransformation:
    """``m̂ / (√v̂ + ε)`` of debiased averages of the gradient and its square.

    Kingma and Ba, "Adam" (arXiv 1412.6980).

    Args:
      b1: decay of m.
      b2: decay of v.
      eps: ε.
    """

    def init(params: PyTree) -> AverageState:
        first, second = zero_momentum(params), zero_momentum(params)  # two, to be donated
        return AverageState(jnp.zeros((), jnp.int32), first, second)

    def update(grad: PyTree, state: AverageState, params: PyTree = None) -> tuple[PyTree, Any]:
        grad, count = wide(grad), state.count + 1
        first = average(state.first, grad, b1)
        second = average(state.second, jax.tree.map(jnp.square, grad), b2)
        direction = jax.tree.map(
            lambda m, v: whitened(m, v, eps),
            unbiased(first, b1, count),
            unbiased(second, b2, count),
        )
        return direction, AverageState(count, first, second)

    return transformation(init, update)


def whitened(
    m: Float[Array, "*shape"], v: Float[Array, "*shape"], eps: float = 1e-8
) -> Float[Array, "*shape"]:
    """``m / (√v + ε)``."""
    return m / (jnp.sqrt(v + SMALLEST_SQUARE) + eps)


def factored(
    matrices: Matrices, b1: Any = 0.9, b2: Any = 0.999, eps: float = 1e-30
) -> optax.GradientTransformation:
    """Adam whose second moments are kept as the means of rows and columns.

    For a matrix ``v ≈ r cᵀ / mean(r)`` with r and c the averages of the means of ``∇² + ε`` over
    columns and over rows; vectors keep their v. Shazeer and Stern, "Adafactor" (arXiv
    1804.04235), section 3, with momentum. The axes are those of the parameter itself, the last
    long one against the rest; where one of the two is of a nested space, and has another order for
    each index of its outer ones, these count matrices.

    Args:
      matrices: what the parameters are.
      b1: decay of m.
      b2: decay of v.
      eps: ε, added to squares.
    """
    axes = _axes(matrices)

    def init(params: PyTree) -> AverageState:
        leaves, _ = matrices.flatten(zero_momentum(params))
        second = list(map(_means, leaves, axes))
        return AverageState(jnp.zeros((), jnp.int32), zero_momentum(params), second)

    def update(grad: PyTree, state: AverageState, params: PyTree = None) -> tuple[PyTree, Any]:
        grad, count = wide(grad), state.count + 1
        leaves, unflatten = matrices.flatten(grad)
        squares = [_means(jnp.square(g) + eps, own) for g, own in zip(leaves, axes, strict=True)]
        first, second = average(state.first, grad, b1), average(state.second, squares, b2)
        m, _ = matrices.flatten(unbiased(first, b1, count))
        direction = unflatten(list(map(_whitened_by_means, m, unbiased(second, b2, count))))
        return direction, AverageState(count, first, second)

    return transformation(init, update)


def factored_whitened(
    matrices: Matrices, m: Sequence[jax.Array], v: Sequence[jax.Array]
) -> list[jax.Array]:
    """``m / √v`` with v of every matrix replaced by the product of its means, see `factored`.

    Args:
      matrices: what the parameters are.
      m: in the order of ``matrices.paths``.
      v: likewise, mean squares.
    """
    return list(map(_whitened_by_means, m, map(_means, v, _axes(matrices))))


def _axes(matrices: Matrices) -> list[tuple[Any, Any]]:
    """For every matrix its last long axis and the others."""

    def own(parameter: int) -> tuple[Any, Any]:
        if matrices.roles[parameter] == "vector":
            return (), ()
        copies = matrices.outer_axes(parameter)
        shape = matrices.shapes[parameter]
        last = [i for i, size in enumerate(shape) if size > 1 and i not in copies][-1]
        return last, tuple(i for i in range(len(shape)) if i != last and i not in copies)

    return [own(parameter) for parameter in range(len(matrices.shapes))]


def _means(x: jax.Array, axes: tuple[Any, Any]) -> tuple[jax.Array, ...]:
    """The means over columns and over rows; of a vector itself."""
    if axes == ((), ()):
        return (x,)
    return tuple(jnp.mean(x, axis, keepdims=True) for axis in axes)


def _whitened_by_means(m: jax.Array, v: tuple[jax.Array, ...]) -> jax.Array:
    if len(v) == 1:
        return whitened(m, v[0])
    row, column = v
    sizes = zip(row.shape, column.shape, strict=True)
    others = tuple(i for i, pair in enumerate(sizes) if 1 in pair)  # both have what counts matrices
    return whitened(m, row / or_one(jnp.mean(row, others, keepdims=True)) * column)


def normalize(matrices: Matrices, leaves: Sequence[jax.Array]) -> list[jax.Array]:
    """The matrices with rows and columns of equal root mean square, every block's own one 1.

    The longer vectors of a matrix are divided by their root mean square, then the shorter ones.
    It is the first round of Sinkhorn's and Knopp's algorithm on the squares, as SinkGD has it
    (Scetbon et al., arXiv 2502.06742). It does most of what :func:`orthogonalize` does, at the
    cost of an elementwise step.

    Args:
      matrices: what the parameters are.
      leaves: in the order of ``matrices.paths``; vectors stay as they are.

    Returns:
      Leaves like the given ones; zero where a matrix is zero.
    """

    def unit(x: Float[Array, "copies rows columns"]) -> Float[Array, "copies rows columns"]:
        rows, columns = x.shape[-2:]
        along, across = (-1, -2) if rows <= columns else (-2, -1)
        x = x * _inverse_root(jnp.mean(jnp.square(x), along, keepdims=True))
        factor = _inverse_root(jnp.mean(jnp.square(x), across, keepdims=True))
        # Vectors along the second axis then have root mean square 1, but for those of zeros.
        whole = _inverse_root(jnp.mean(jnp.sign(factor), (-2, -1), keepdims=True))
        return x * (factor * whole)

    return matrices.map(lambda batches: list(map(unit, batches)), leaves)


def _inverse_root(square: jax.Array) -> jax.Array:
    """``1/√x``, and 0 where x is 0."""
    return jnp.where(square > 0, jax.lax.rsqrt(or_one(square)), 0)
