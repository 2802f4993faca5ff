"""Reading and writing at computed positions, in every variant of the dimension numbers."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.lax import GatherScatterMode as Mode

from tests.symmetry.inference.builder import Builder, Shape
from tests.symmetry.inference.operations.registry import operation

MODES = (Mode.CLIP, Mode.FILL_OR_DROP)


def _indices(builder: Builder, shape: Shape, limit: int) -> Any:
    """Positions: parameters or constants, with duplicates, sometimes out of bounds, or counters."""
    along = [axis for axis, size in enumerate(shape) if size == limit]
    if along and builder.chance():
        return lax.broadcasted_iota(int, shape, builder.choose(along))
    low, high = (-1, limit) if builder.chance(0.3) else (0, limit - 1)
    if builder.chance(0.6):
        return builder.integers(shape, low, high)
    return jnp.asarray(builder.rng.integers(low, high + 1, shape))


def _starts(builder: Builder, shape: Shape, sizes: Shape) -> list[Any]:
    return [_indices(builder, (), n - size + 1) for n, size in zip(shape, sizes, strict=True)]


def _window(builder: Builder, shape: Shape) -> Shape:
    return tuple(builder.choose((size, size, builder.integer(1, size))) for size in shape)


@operation("dynamic_slice", times=2)
def dynamic_slice(builder: Builder) -> None:
    array = builder.array()
    sizes = _window(builder, array.shape)
    builder.add(lax.dynamic_slice(array, _starts(builder, array.shape, sizes), sizes))


@operation("dynamic_update_slice", times=2)
def dynamic_update_slice(builder: Builder) -> None:
    array = builder.array()
    sizes = _window(builder, array.shape)
    starts = _starts(builder, array.shape, sizes)
    builder.add(lax.dynamic_update_slice(array, builder.array(sizes), starts))


@operation("dynamic_slice", "dynamic_update_slice", "gather", "scatter")
def dynamic_slices_in_a_batch(builder: Builder) -> None:
    """The same, batched over array and position."""
    batch = builder.size()
    array, update = builder.array((batch, 4, 3)), builder.array((batch, 2, 3))
    starts = _indices(builder, (batch,), 3)
    builder.add(jax.vmap(lambda x, i: lax.dynamic_slice(x, (i, 0), (2, 3)))(array, starts))
    builder.add(
        jax.vmap(lambda x, u, i: lax.dynamic_update_slice(x, u, (i, 0)))(array, update, starts)
    )


@operation("gather")
def take(builder: Builder) -> None:
    """A table looked up along one axis."""
    array = builder.array()
    axis = builder.integer(0, array.ndim - 1)
    indices = _indices(builder, builder.shape((0, 2)), array.shape[axis])
    mode = builder.choose(("clip", "fill", "wrap"))
    builder.add(jnp.take(array, indices, axis=axis, mode=mode))


@operation("gather", times=2)
def take_along_axis(builder: Builder) -> None:
    shape = builder.shape((1, 3))
    axis = builder.integer(0, len(shape) - 1)
    array = builder.array(shape)
    wanted = (*shape[:axis], builder.size(), *shape[axis + 1 :])
    if builder.chance(0.3):
        wanted = tuple(builder.choose((size, 1)) for size in wanted)
    indices = _indices(builder, wanted, shape[axis])
    builder.add(jnp.take_along_axis(array, indices, axis=axis, mode=builder.choose(MODES)))


@operation("gather")
def several_indices(builder: Builder) -> None:
    """Arrays of indices for several axes, next to each other or not."""
    array = builder.array(rank=3)
    shape = builder.shape((1, 2))
    first, last = _indices(builder, shape, array.shape[0]), _indices(builder, shape, array.shape[2])
    builder.add(array[first, :, last], array[first, 0], array[:, 0, last])


@operation("gather", "scatter", "scatter-add", "scatter-sub", times=2)
def diagonals(builder: Builder) -> None:
    """Of two axes, or of one and others that are taken whole; read, written and added to."""
    size, batch = builder.size(2), builder.size()
    array, update = builder.array((size, batch, size)), builder.array((size, batch))
    counter = jnp.arange(size)
    builder.add(array[counter, :, counter], jnp.diagonal(array, axis1=0, axis2=2))
    builder.add(array[counter], array[:, 0, counter], array[counter[:, None], 0, counter])
    builder.add(array.at[counter, :, counter].set(update), array.at[counter, 0].add(update.T[0]))
    builder.add(array.at[counter[::-1], :, counter].set(update), array.at[counter].subtract(array))


def _numbers(builder: Builder, batching: int) -> tuple[Any, ...]:
    """Random dimension numbers for an operand of rank 3 or 4.

    Returns:
      The operand's shape and window, its collapsed, batching and indexed axes, the shape of the
      indices without their last axis, and which of its axes are batching.
    """
    rank = builder.integer(batching + 1, 3) + (1 if batching else 0)
    shape = builder.shape(rank)
    operand_batching = sorted(builder.order(rank)[:batching])
    others = [axis for axis in range(rank) if axis not in operand_batching]
    collapsed = builder.subset(others, 0, len(others))
    window = [
        1
        if axis in (*collapsed, *operand_batching)
        else builder.choose((size, builder.integer(1, size)))
        for axis, size in enumerate(shape)
    ]
    indexed = [others[n] for n in builder.order(len(others))]
    indexed = indexed[: builder.integer(1, len(indexed))]
    batch = list(builder.shape((0, 2)))
    indices_batching = []
    for axis in operand_batching:
        place = builder.integer(0, len(batch))
        indices_batching = [n + (n >= place) for n in indices_batching]
        batch.insert(place, shape[axis])
        indices_batching.append(place)
    return shape, window, collapsed, operand_batching, indices_batching, indexed, tuple(batch)


@operation("gather", times=5)
def general_gather(builder: Builder) -> None:
    """Everything that dimension numbers can say."""
    numbers = _numbers(builder, builder.choose((0, 0, 1, 2)))
    shape, window, collapsed, batching, indices_batching, indexed, batch = numbers
    offsets = len(shape) - len(collapsed) - len(batching)
    places = sorted(builder.order(len(batch) + offsets)[:offsets])
    indices = _indices(builder, (*batch, len(indexed)), max(shape))
    dimensions = lax.GatherDimensionNumbers(
        offset_dims=tuple(places),
        collapsed_slice_dims=tuple(collapsed),
        start_index_map=tuple(indexed),
        operand_batching_dims=tuple(batching),
        start_indices_batching_dims=tuple(indices_batching),
    )
    array, mode = builder.array(shape), builder.choose(MODES)

    def gather(array: Any) -> Any:
        return lax.gather(array, indices, dimensions, tuple(window), mode=mode)

    builder.add(gather(array))
    if builder.chance(0.3):
        builder.add(jax.grad(lambda x: jnp.sum(jnp.sin(gather(x))))(array))


_SCATTERS = {
    "scatter": lax.scatter,
    "scatter-add": lax.scatter_add,
    "scatter-max": lax.scatter_max,
    "scatter-min": lax.scatter_min,
    "scatter-mul": lax.scatter_mul,
    "scatter-sub": lax.scatter_sub,
}


@operation(*_SCATTERS, times=8)
def general_scatter(builder: Builder) -> None:
    """Everything that dimension numbers can say, duplicates included."""
    numbers = _numbers(builder, builder.choose((0, 0, 1, 2)))
    shape, window, inserted, batching, indices_batching, indexed, batch = numbers
    sizes = [s for n, s in enumerate(window) if n not in (*inserted, *batching)]
    places = sorted(builder.order(len(batch) + len(sizes))[: len(sizes)])
    own, others = iter(sizes), iter(batch)
    updates = tuple(
        next(own) if place in places else next(others) for place in range(len(batch) + len(sizes))
    )
    indices = _indices(builder, (*batch, len(indexed)), max(shape))
    dimensions = lax.ScatterDimensionNumbers(
        update_window_dims=tuple(places),
        inserted_window_dims=tuple(inserted),
        scatter_dims_to_operand_dims=tuple(indexed),
        operand_batching_dims=tuple(batching),
        scatter_indices_batching_dims=tuple(indices_batching),
    )
    function = _SCATTERS[builder.choose(list(_SCATTERS))]
    mode = builder.choose(MODES)
    array, update = builder.array(shape), builder.array(updates)
    builder.add(function(array, indices, update, dimensions, mode=mode))


@operation("scatter", "scatter-add", "scatter-max", "scatter-min", "scatter-mul")
def at(builder: Builder) -> None:
    """``x.at[i].set(y)`` and its kin, one after the other; duplicates are common."""
    array = builder.array(rank=(1, 2))
    indices = _indices(builder, builder.shape((1, 2)), array.shape[0])
    update = builder.array((*indices.shape, *array.shape[1:]))
    place = array.at[indices]
    for kind in ("set", "add", "max", "min", "mul"):
        builder.add(getattr(place, kind)(update))
    builder.add(array.at[indices].set(0.5), array.at[indices].apply(jnp.tanh))
    builder.add(jax.grad(lambda x, u: jnp.sum(jnp.sin(x.at[indices].set(u))))(array, update))


@operation("scatter")
def unique_positions(builder: Builder) -> None:
    """Where positions are promised to differ, the order of updates does not count."""
    size, count = 6, builder.choose((2, 3, 6))
    indices = builder.parameter((count,), lambda rng, _: rng.permutation(size)[:count])
    array, update = builder.array((size, 3)), builder.array((count, 3))
    builder.add(array.at[indices].set(update, unique_indices=True), update * 2.0)


@operation("scatter-add")
def histogram(builder: Builder) -> None:
    values = _indices(builder, builder.shape(1, at_least=2), 4)
    weights = builder.array(values.shape)
    builder.add(jnp.bincount(values, weights, length=4), jax.ops.segment_sum(weights, values, 4))


@operation("gather", "dynamic_slice")
def single_entries(builder: Builder) -> None:
    array = builder.array(rank=(2, 3))
    builder.add(array[0], array[..., -1], array[_indices(builder, (), array.shape[0])])


@operation("gather", "scatter-add", "sort")
def gathered_by_data(builder: Builder) -> None:
    """Tokens: a table's rows are frozen, its columns are not."""
    rows, columns, length = builder.shape(3, at_least=2)
    table = builder.parameter((rows, columns))
    tokens = jnp.asarray(np.asarray(builder.rng.integers(0, rows, length)))
    target = builder.array((length, columns))
    builder.add(jax.grad(lambda t: jnp.sum(jnp.tanh(t[tokens]) * target))(table))
