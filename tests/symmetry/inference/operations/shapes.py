"""Operations that move entries about."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.symmetry.inference.builder import Builder, Shape
from tests.symmetry.inference.operations.registry import operation


def random_reshape(builder: Builder, shape: Shape) -> Shape:
    """A shape of as many entries: axes joined, split, or cut up anew, ones put in."""
    result = list(shape)
    for _ in range(builder.integer(1, 3)):
        kind = builder.choose(("join", "split", "anew", "one"))
        if kind == "join" and len(result) > 1:
            start = builder.integer(0, len(result) - 2)
            result[start : start + 2] = [result[start] * result[start + 1]]
        elif kind == "split" and result:
            result = list(builder.factored(tuple(result), builder.integer(0, len(result) - 1)))
        elif kind == "anew":
            result = _anew(builder, math.prod(result))
        elif kind == "one":
            result.insert(builder.integer(0, len(result)), 1)
    return tuple(result)


def _anew(builder: Builder, total: int) -> list[int]:
    result = []
    while total > 1:
        factor = builder.choose([n for n in range(2, total + 1) if total % n == 0])
        result.append(factor)
        total //= factor
    return result


@operation("transpose")
def transpose(builder: Builder) -> None:
    array = builder.array(rank=(2, 3))
    builder.add(lax.transpose(array, builder.order(array.ndim)))


@operation("reshape", times=2)
def reshape(builder: Builder) -> None:
    array = builder.array(rank=(1, 3))
    builder.add(array.reshape(random_reshape(builder, array.shape)))


@operation("reshape")
def reshape_in_other_order(builder: Builder) -> None:
    array = builder.array(rank=(2, 3))
    order = builder.order(array.ndim)
    shape = random_reshape(builder, tuple(array.shape[n] for n in order))
    builder.add(lax.reshape(array, shape, order))


@operation("reshape", "transpose", times=2)
def reshape_transpose_reshape(builder: Builder) -> None:
    """As attention does it, and worse."""
    array = builder.array(rank=(1, 3))
    array = array.reshape(random_reshape(builder, array.shape))
    array = lax.transpose(array, builder.order(array.ndim))
    builder.add(array.reshape(random_reshape(builder, array.shape)))


@operation("reshape")
def reshapes_of_one(builder: Builder) -> None:
    """One axis that is factored in two ways, which may or may not have a common refinement."""
    size = builder.choose((4, 6, 8, 12))
    array = builder.parameter((size, builder.size()))
    for _ in range(2):
        shape = _anew(builder, size)
        builder.add(jnp.tanh(array.reshape((*shape, -1))))


@operation("squeeze", "broadcast_in_dim", "reshape")
def ones(builder: Builder) -> None:
    """Axes of size 1 come and go."""
    shape = list(builder.shape((1, 3)))
    shape.insert(builder.integer(0, len(shape)), 1)
    array = builder.array(shape)
    builder.add(jnp.squeeze(array, shape.index(1)) * 2.0)
    builder.add(lax.expand_dims(array, [builder.integer(0, array.ndim)]))


@operation("broadcast_in_dim", times=2)
def broadcast(builder: Builder) -> None:
    """New axes, axes of size 1 that grow, scalars; then something else is tied to them."""
    shape = builder.shape((2, 3))
    kept = builder.subset(range(len(shape)))
    own = tuple(builder.choose((shape[n], shape[n], 1)) for n in kept)
    grown = lax.broadcast_in_dim(builder.array(own), shape, kept)
    builder.add(grown)
    if builder.chance():
        builder.add(grown + builder.array(shape))


@operation("tile", times=2)
def tile(builder: Builder) -> None:
    array = builder.array(rank=(1, 2))
    repetitions = [builder.integer(1, 3) for _ in array.shape]
    tiled = lax.tile(array, repetitions)
    builder.add(tiled)
    if builder.chance():
        builder.add(tiled * builder.array(tiled.shape))


@operation("broadcast_in_dim", "reshape")
def repeat(builder: Builder) -> None:
    array = builder.array(rank=(1, 2))
    repeated = jnp.repeat(array, builder.integer(2, 3), axis=builder.integer(0, array.ndim - 1))
    builder.add(repeated * builder.array(repeated.shape))


@operation("concatenate", times=2)
def concatenate(builder: Builder) -> None:
    """Two or three arrays, some of them the same, and an operation with a whole one."""
    shape = builder.shape((1, 3))
    axis = builder.integer(0, len(shape) - 1)
    parts = [
        builder.array((*shape[:axis], builder.size(), *shape[axis + 1 :]))
        for _ in range(builder.integer(1, 3))
    ]
    if builder.chance(0.4):
        parts.append(builder.choose(parts))
    joined = lax.concatenate(parts, axis)
    builder.add(joined)
    if builder.chance():
        builder.add(joined - builder.array(joined.shape))


@operation("concatenate", "reshape", times=3)
def reshape_of_concatenation(builder: Builder) -> None:
    """``(a·k + b·k)`` as ``(a + b)·k``, and what cannot be factored."""
    minor = builder.integer(2, 3)
    majors = [builder.integer(1, 3) for _ in range(builder.integer(2, 3))]
    spoil = builder.chance(0.2)
    parts = [
        builder.parameter((major, minor)).reshape(-1)
        if builder.chance()
        else builder.parameter((major * minor,))
        for major in majors
    ]
    if spoil and len(parts) == 2:
        parts = [builder.parameter((1,)), builder.parameter((sum(majors) * minor - 1,))]
    joined = lax.concatenate(parts, 0)
    builder.add(joined.reshape(random_reshape(builder, (sum(majors), minor))))
    builder.add(joined * 2.0)


@operation("concatenate", "slice", "split", times=3)
def slices_of_concatenation(builder: Builder) -> None:
    """Parts come back, parts of parts, and cuts at other places."""
    sizes = [builder.size() for _ in range(builder.integer(2, 3))]
    other = builder.size()
    joined = lax.concatenate([builder.array((size, other)) for size in sizes], 0)
    cuts = [0, *np.cumsum(sizes)]
    start, stop = sorted(builder.subset([*cuts, builder.integer(0, sum(sizes))], 2, 2))
    if start == stop:
        start, stop = 0, sum(sizes)
    builder.add(joined[int(start) : int(stop)] * 1.5)
    if builder.chance():
        builder.add(*lax.split(joined, _parts(builder, sum(sizes)), axis=0))


def _parts(builder: Builder, total: int) -> list[int]:
    """Sizes of parts of a whole."""
    cuts = sorted({0, total, *(builder.integer(0, total) for _ in range(builder.integer(1, 3)))})
    return list(np.diff(cuts))


@operation("split", times=2)
def split(builder: Builder) -> None:
    """Into parts, which are used in one another's company."""
    array = builder.array(rank=(1, 3))
    axis = builder.integer(0, array.ndim - 1)
    parts = lax.split(array, _parts(builder, array.shape[axis]), axis=axis)
    builder.add(*parts)
    if len(parts) > 1 and parts[0].shape == parts[1].shape:
        builder.add(parts[0] * parts[1])


@operation("split", "logistic")
def gates(builder: Builder) -> None:
    """As an LSTM splits its gates."""
    width, count = builder.size(2), builder.integer(2, 4)
    inputs, hidden = builder.parameter((builder.size(),)), builder.parameter((width,))
    weight = builder.parameter((inputs.size + width, count * width))
    gated = jnp.split(jnp.concatenate([inputs, hidden]) @ weight, count)
    builder.add(jax.nn.sigmoid(gated[0]) * hidden, *gated[1:])


@operation("slice", times=2)
def slice_(builder: Builder) -> None:
    array = builder.array(rank=(1, 3))
    starts = [builder.integer(0, size - 1) for size in array.shape]
    limits = [builder.integer(s + 1, size) for s, size in zip(starts, array.shape, strict=True)]
    strides = [builder.choose((1, 1, 2, 3)) for _ in array.shape]
    builder.add(lax.slice(array, starts, limits, strides))


@operation("slice", "reshape", times=2)
def strided_slice(builder: Builder) -> None:
    """A stride that divides the axis, which is a product or none yet."""
    stride, major = builder.integer(2, 3), builder.size(2)
    raw = builder.parameter((major, stride, 2))
    array = (
        raw.reshape(major * stride, 2)
        if builder.chance()
        else builder.parameter((major * stride, 2))
    )
    start = builder.integer(0, stride - 1)
    taken = array[start::stride]
    builder.add(taken, array * 2.0)
    if builder.chance():
        builder.add(taken * builder.array((major, 2)))
    builder.add(jax.grad(lambda x: jnp.sum(jnp.sin(x[start::stride])))(array))


@operation("slice", "concatenate")
def strided_slice_of_concatenation(builder: Builder) -> None:
    sizes = [2 * builder.integer(1, 3) for _ in range(2)]
    joined = lax.concatenate([builder.array((size,)) for size in sizes], 0)
    builder.add(joined[builder.integer(0, 1) :: 2], joined * 3.0)


@operation("pad", times=3)
def pad(builder: Builder) -> None:
    """Positive, negative, interior, also beyond the other end."""
    array = builder.array(rank=(1, 3))
    config = []
    for size in array.shape:
        interior = builder.choose((0, 0, 1, 2))
        length = size + (size - 1) * interior
        low = builder.choose((-length - 1, -2, -1, 0, 0, 1, 2))
        high = builder.choose((-2, -1, 0, 0, 1))
        config.append((low, max(high, 1 - length - low), interior))
    value = builder.parameter(()) if builder.chance() else 0.5
    padded = lax.pad(array, jnp.asarray(value, jnp.float64), config)
    builder.add(padded)
    if builder.chance():
        builder.add(padded * builder.array(padded.shape))


@operation("pad", "slice")
def pad_and_cut(builder: Builder) -> None:
    """Cutting the padding off again frees nothing and freezes nothing."""
    array = builder.array(rank=(1, 2))
    low, high = builder.integer(0, 2), builder.integer(0, 2)
    padded = jnp.pad(array, [(low, high)] * array.ndim)
    size = array.shape[0]
    builder.add(padded, lax.slice_in_dim(padded, low, low + size, 1, 0) * 2.0)


@operation("rev")
def reverse(builder: Builder) -> None:
    array = builder.array(rank=(1, 3))
    builder.add(lax.rev(array, builder.subset(range(array.ndim), 1)))


@operation("stack", times=2)
def stack(builder: Builder) -> None:
    shape = builder.shape((0, 2))
    arrays = [builder.array(shape) for _ in range(builder.integer(1, 3))]
    function = getattr(lax, "stack", jnp.stack)  # since JAX 0.10
    builder.add(function(arrays, axis=builder.integer(0, len(shape))))


@operation("unstack", times=2)
def unstack(builder: Builder) -> None:
    array = builder.array(rank=(1, 3))
    function = getattr(lax, "unstack", jnp.unstack)
    builder.add(*function(array, axis=builder.integer(0, array.ndim - 1)))


@operation("iota")
def counters(builder: Builder) -> None:
    shape = builder.shape((1, 3))
    dimension = builder.integer(0, len(shape) - 1)
    counter = lax.broadcasted_iota(jnp.float64, shape, dimension)
    builder.add(counter, counter * builder.array(shape))


@operation("broadcast_in_dim")
def fills(builder: Builder) -> None:
    """Scalar fills tie nothing, constants only where they vary."""
    shape = builder.shape((1, 3))
    filled = jnp.full(shape, 2.0)
    builder.add(filled * builder.array(shape), builder.constant(shape) * builder.array(shape))


@operation("empty")
def empty(builder: Builder) -> None:
    shape = builder.shape((1, 3))
    builder.add(lax.empty(shape, jnp.float64) * 0.0 + builder.array(shape))


@operation("concatenate", "reshape", "slice", times=4)
def clash(builder: Builder) -> None:
    """Axes of different make are tied: sums with products, products with other products."""
    size = builder.choose((4, 6, 8, 12))
    shape = (size, builder.size())
    arrays = [builder.structured(shape, 0) for _ in range(builder.integer(2, 3))]
    total = arrays[0]
    for array in arrays[1:]:
        total = total * array
    builder.add(total)


@operation("slice", "concatenate", "rev")
def roll(builder: Builder) -> None:
    array = builder.array(rank=(1, 2))
    builder.add(jnp.roll(array, builder.integer(-2, 2), builder.integer(0, array.ndim - 1)))


@operation("pad", "slice", "concatenate")
def prefix_scan(builder: Builder) -> None:
    """Strides, interior padding and concatenation, all at once."""
    array = builder.array(rank=(1, 2))
    axis = builder.integer(0, array.ndim - 1)
    builder.add(lax.associative_scan(jnp.add, array, axis=axis))


@operation("concatenate", "slice", "split", "scan", "jit", times=2)
def empty_arrays(builder: Builder) -> None:
    """Arrays without entries pass through, beside others that have some."""
    array = builder.array(rank=(1, 2))
    size = array.shape[0]
    nothing, everything = lax.split(array, [0, size])
    builder.add(jnp.concatenate([everything, jnp.tanh(array[size:])]), jnp.sum(nothing, axis=0))
    builder.add(lax.pad(nothing, 0.5, [(1, 2, 0)] + [(0, 0, 0)] * (array.ndim - 1)))
    builder.add(jax.jit(lambda x, y: (x * 2.0, y * 3.0))(array, nothing)[0])
    carry = (jnp.zeros(array.shape[1:]), nothing)
    builder.add(lax.scan(lambda c, x: ((c[0] + x, c[1]), c[1]), carry, array)[0][0])
    builder.add(lax.scan(lambda c, x: (c * 2.0, x), everything, nothing)[0])
    builder.add(nothing.T @ nothing if array.ndim > 1 else nothing @ nothing)
