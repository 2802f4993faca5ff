"""What a tied layer pools: means along axes and spaces, of tensors, and over pairs of spaces.

Everything that depends on the weight space alone (which mean goes where, with which weight) is
decided once in plain Python; arrays of equal size are averaged together, so that the number of
operations does not depend on depth.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections import Counter
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Shaped

from unf_lopt.layers._diagonals import read_diagonal
from unf_lopt.layers._pooling import LazyFeatures, whole_features
from unf_lopt.layers._stacks import Stack

# Tensors of more axes than this are one class.
HIGHEST_RANK = 3
RANKS = HIGHEST_RANK + 1
# What a vector along a space is made from: tensors of rank 1, 2, more, and diagonals.
SOURCES = HIGHEST_RANK + 1
DIAGONAL = HIGHEST_RANK
# XLA for CPUs sums rows of so many entries column by column, ten times slower than it reads them.
LONG = 32_768

Axes = tuple[int, ...]  # one axis, or a pair of axes in one space for their diagonal
Part = tuple[int, Axes]  # a stack's number, and axes of it


def rank_class(rank: int) -> int:
    """Scalars, vectors, matrices, and all of higher rank."""
    return min(rank, HIGHEST_RANK)


# ------------------------------------------------------------------------------ along one axis
@dataclasses.dataclass(frozen=True)
class StackReading:
    """What a tied layer reads of a stack.

    Attributes:
      itself: its entries times their own coefficients.
      swapped: times those of the transposed entry; None where no axes can be exchanged.
      vectors: for every axis, and every diagonal, the mean over all other axes.
      diagonals: for every pair of axes in one space: the shape is without one of them.
      scalars: the entries of scalars; None for others.
    """

    itself: Float[Array, "tensors *shape O"]
    swapped: Float[Array, "tensors *shape O"] | None
    vectors: dict[Axes, Float[Array, "tensors _ C"]]
    diagonals: dict[Axes, Float[Array, "tensors *_ C"]]
    scalars: Float[Array, "tensors C"] | None


def read_stack(
    own: Stack,
    x: Float[Array, "tensors *shape C"],
    itself: Float[Array | np.ndarray, "C O"],
    swap: Float[Array | np.ndarray, "C O"] | None,
) -> StackReading:
    """Reads a stack of features, with two matrices from C channels to O."""
    diagonals = {pair: stack_diagonal(x, pair) for pair in own.pairs}
    vectors = {(axis,): mean for axis, mean in enumerate(_means_along(own.rank, x))}
    return StackReading(
        x @ itself,
        None if swap is None else x @ swap,
        vectors | _diagonal_means(own, diagonals),
        diagonals,
        None if own.rank else x,
    )


def read_lazy_stack(
    own: Stack,
    lazy: Sequence[LazyFeatures],
    itself: Float[Array | np.ndarray, "C O"],
    swap: Float[Array | np.ndarray, "C O"] | None,
) -> StackReading:
    """The same of a stack of large tensors whose features are not there."""
    matrix = itself if swap is None else jnp.concatenate([itself, swap], axis=1)
    axes: list[Axes] = [(axis,) for axis in range(own.rank)]
    entries = tuple(range(own.rank))
    readings = [features.read({**dict.fromkeys(axes), entries: matrix}) for features in lazy]
    product = jnp.stack([reading[entries] for reading in readings])
    channels = itself.shape[1]
    diagonals = {
        pair: jnp.stack(
            whole_features([x.on_diagonal(diagonal_blocks(own.rank, pair)) for x in lazy])
        )
        for pair in own.pairs
    }
    vectors = {kept: jnp.stack([reading[kept] for reading in readings]) for kept in axes}
    return StackReading(
        product[..., :channels],
        None if swap is None else product[..., channels:],
        vectors | _diagonal_means(own, diagonals),
        diagonals,
        None,
    )


def _diagonal_means(own: Stack, diagonals: Mapping[Axes, jax.Array]) -> dict[Axes, jax.Array]:
    means = {}
    for pair, diagonal in diagonals.items():
        others = tuple(1 + axis for axis in range(own.rank - 1) if axis != pair[0])
        means[pair] = jnp.mean(diagonal, axis=others) if others else diagonal
    return means


def vectors_of(stacks: Sequence[Stack], readings: Sequence[StackReading]) -> dict[Part, jax.Array]:
    """The vectors of all stacks, but along nested spaces, where they would join outer indices."""
    return {
        (number, axes): vector
        for number, (own, reading) in enumerate(zip(stacks, readings, strict=True))
        for axes, vector in reading.vectors.items()
        if axes[0] in own.free
    }


def _means_along(rank: int, x: jax.Array) -> list[jax.Array]:
    """Each mean is taken from the smallest one that still has the axis."""
    known = {tuple(range(rank)): x}
    results = []
    for axis in range(rank):
        kept = min((axes for axes in known if axis in axes), key=lambda axes: known[axes].size)
        for dropped in sorted(set(kept) - {axis}, reverse=True):
            array = _mean(known[kept], 1 + kept.index(dropped))
            kept = tuple(other for other in kept if other != dropped)
            known[kept] = array
        results.append(known[kept])
    return results


def _mean(x: jax.Array, axis: int) -> jax.Array:
    """The mean over one axis, as a product with ones where what stands behind it is long."""
    count, behind = x.shape[axis], math.prod(x.shape[axis + 1 :])
    if behind < LONG:
        return jnp.mean(x, axis=axis)
    ones = jnp.ones((1, count), x.dtype)
    wide = jnp.promote_types(x.dtype, jnp.float32)
    total = functools.partial(
        jnp.matmul, ones, precision=lax.Precision.HIGHEST, preferred_element_type=wide
    )
    sums = lax.map(total, x.reshape(-1, count, behind)) / count
    return sums.astype(x.dtype).reshape(*x.shape[:axis], *x.shape[axis + 1 :])


def diagonal_blocks(rank: int, pair: tuple[int, int]) -> tuple[Axes, ...]:
    """The partition of a tensor's axes that joins two, which takes the place of the first."""
    return tuple(sorted([pair, *((axis,) for axis in range(rank) if axis not in pair)]))


def stack_diagonal(
    x: Float[Array, "tensors *shape C"], pair: tuple[int, int]
) -> Float[Array, "tensors *rest C"]:
    """The diagonal of every tensor, in the place of the pair's first axis."""
    return jax.vmap(lambda own: read_diagonal(own, diagonal_blocks(x.ndim - 2, pair)))(x)


# ------------------------------------------------------------------------------ along one space
@dataclasses.dataclass(frozen=True, eq=False)
class SpaceGroup:
    """All spaces of one size.

    Attributes:
      size: of each space.
      parts: the vectors along them, tensors end to end.
      places: where each space stands in the table of means.
      weights: of every vector in every mean; these are the sources of every space.
    """

    size: int
    parts: tuple[Part, ...]
    places: dict[str, int]
    weights: Float[np.ndarray, "means vectors"]


@functools.lru_cache(maxsize=256)
def space_groups(stacks: tuple[Stack, ...]) -> tuple[tuple[SpaceGroup, ...], tuple[int, ...]]:
    """The groups of a weight space, and the sources that there are, in order."""
    parts: dict[int, list[Part]] = {}
    for number, own in enumerate(stacks):
        for axes in (*((axis,) for axis in range(own.rank)), *own.pairs):
            if axes[0] not in own.free:
                continue
            parts.setdefault(own.shape[axes[0]], []).append((number, axes))
    found = {source_of(stacks, part) for own in parts.values() for part in own}
    sources = tuple(sorted(found))
    groups = tuple(_space_group(stacks, size, own, sources) for size, own in parts.items())
    return groups, sources


def source_of(stacks: Sequence[Stack], part: Part) -> int:
    """What kind of vector a part gives."""
    number, axes = part
    return DIAGONAL if len(axes) == 2 else rank_class(stacks[number].rank) - 1


def _space_group(
    stacks: Sequence[Stack], size: int, parts: Sequence[Part], sources: Sequence[int]
) -> SpaceGroup:
    keys = [
        (sources.index(source_of(stacks, part)), space)
        for part in parts
        for space in stacks[part[0]].spaces[part[1][0]]
    ]
    counts = Counter(keys)
    places = {space: place for place, space in enumerate(dict.fromkeys(s for _, s in keys))}
    weights = np.zeros((len(places), len(sources), len(keys)))
    for column, (source, space) in enumerate(keys):
        weights[places[space], source, column] = 1 / counts[source, space]
    return SpaceGroup(size, tuple(parts), places, weights.reshape(-1, len(keys)))


def space_means(
    group: SpaceGroup, vectors: Mapping[Part, jax.Array]
) -> Float[Array, "spaces {group.size} channels"]:
    """For every space the mean of the vectors of each source, their channels end to end."""
    array = jnp.concatenate([vectors[part] for part in group.parts])
    means = jnp.asarray(group.weights, array.dtype) @ array.reshape(len(array), -1)
    spaces, channels = len(group.places), array.shape[-1]
    means = means.reshape(spaces, -1, group.size, channels)
    return jnp.swapaxes(means, 1, 2).reshape(spaces, group.size, -1)


# ----------------------------------------------------------------------------- of whole tensors
@dataclasses.dataclass(frozen=True)
class TensorMeans:
    """Means over all axes.

    Attributes:
      tensors: of every tensor, stack after stack.
      overall: of every source that there is, over all its tensors.
      sources: which these are.
    """

    tensors: Float[Array, "tensors C"]
    overall: Float[Array, "sources C"]
    sources: tuple[int, ...]


def tensor_means(stacks: Sequence[Stack], readings: Sequence[StackReading]) -> TensorMeans:
    """The mean of every tensor, and of all tensors of a rank and all diagonals together."""
    rows, sources = [], []
    for own, reading in zip(stacks, readings, strict=True):
        scalars = reading.scalars
        rows.append(jnp.mean(reading.vectors[(0,)], axis=1) if scalars is None else scalars)
        sources += [rank_class(own.rank)] * len(own.tensors)
    count = len(sources)
    for own, reading in zip(stacks, readings, strict=True):
        for pair in own.pairs:
            rows.append(jnp.mean(reading.vectors[pair], axis=1))
            sources += [1 + DIAGONAL] * len(own.tensors)
    present = tuple(sorted(set(sources)))
    weights = np.array(present)[:, None] == np.array(sources)
    means = jnp.concatenate(rows)
    averages = jnp.asarray(weights / weights.sum(1, keepdims=True), means.dtype)
    return TensorMeans(means[:count], averages @ means, present)


# ------------------------------------------------------------------------------ rows of arrays
def rows_at(
    array: Shaped[Array, " rows *rest"], places: Sequence[int] | np.ndarray
) -> Shaped[Array, " places *rest"]:
    """``array[places]``, without a gather where the places are regular."""
    steps = {int(step) for step in np.diff(places)}
    first = int(places[0])
    if steps <= {0}:
        return jnp.broadcast_to(array[first : first + 1], (len(places), *array.shape[1:]))
    if len(steps) == 1 and min(steps) > 0:
        (step,) = steps
        return lax.slice_in_dim(array, first, int(places[-1]) + 1, step)
    return jnp.take(array, np.array(places), axis=0)
