"""Cross terms of a tied layer: means over all tensors that have the same two spaces."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from unf_lopt.layers._stacks import Stack, spread
from unf_lopt.layers._tied_means import rank_class, rows_at

Pair = tuple[str, str]


def with_pairs(
    stacks: tuple[Stack, ...],
    coefficients: jax.Array,
    arrays: Sequence[jax.Array],
    results: Sequence[jax.Array],
) -> list[jax.Array]:
    """Adds what the means over two spaces give to a layer's results.

    Args:
      stacks: of the layer.
      coefficients: ``[targets, sources, input channels, output channels]``, of ranks 2 and more.
      arrays: the layer's inputs, ``[tensors, *shape, input channels]``.
      results: its results so far, ``[tensors, *shape, output channels]``.
    """
    results = list(results)
    tables = pair_tables(stacks, arrays)
    products: dict[tuple[tuple[int, int], int], jax.Array] = {}
    for part in pair_parts(stacks):
        own, table = stacks[part.stack], tables[part.sizes]
        target = rank_class(own.rank) - 2
        if (part.sizes, target) not in products:
            terms = [mean @ coefficients[target, source] for source, mean in table.means.items()]
            products[part.sizes, target] = functools.reduce(jnp.add, terms)
        product = products[part.sizes, target]
        if not all(part.spaces):
            product = jnp.concatenate([product, jnp.zeros_like(product[:1])])
        nowhere = len(table.places)
        rows = [nowhere if pair is None else table.places[pair] for pair in part.spaces]
        matrices = rows_at(product, rows)
        if part.is_turned:
            matrices = jnp.swapaxes(matrices, 1, 2)
        results[part.stack] = results[part.stack] + spread(matrices, own, part.axes)
    return results


@dataclasses.dataclass(frozen=True)
class PairPart:
    """Two axes of a stack, in the order in which means over their spaces are kept.

    Attributes:
      stack: its number.
      axes: the axes; the first may come after the second.
      sizes: of them.
      spaces: the two spaces of every tensor; None where no other tensor has them.
    """

    stack: int
    axes: tuple[int, int]
    sizes: tuple[int, int]
    spaces: tuple[Pair | None, ...]

    @property
    def is_turned(self) -> bool:
        """Whether the tensor has them the other way round."""
        return self.axes[0] > self.axes[1]


@functools.lru_cache(maxsize=256)
def pair_parts(stacks: tuple[Stack, ...]) -> tuple[PairPart, ...]:
    """Every two axes whose spaces another tensor, or the same one, has as well."""
    found = [
        PairPart(number, axes, (own.shape[axes[0]], own.shape[axes[1]]), spaces)
        for number, own in enumerate(stacks)
        for axes in _axis_pairs(own)
        for spaces in [tuple(zip(own.spaces[axes[0]], own.spaces[axes[1]], strict=True))]
    ]
    order: dict[frozenset[str], Pair] = {}
    for pair in (pair for part in found for pair in filter(None, part.spaces)):
        order.setdefault(frozenset(pair), pair)
    parts = [half for part in found for half in _split_by_order(part, order)]
    occurrences = Counter(pair for part in parts for pair in part.spaces)
    shared = [
        dataclasses.replace(
            part, spaces=tuple(pair if occurrences[pair] > 1 else None for pair in part.spaces)
        )
        for part in parts
    ]
    return tuple(part for part in shared if any(part.spaces))


def _axis_pairs(own: Stack) -> list[tuple[int, int]]:
    pairs = [(first, second) for second in range(own.rank) for first in range(second)]
    return [pair for pair in pairs if own.has_mean(pair)]


def _split_by_order(part: PairPart, order: Mapping[frozenset[str], Pair]) -> Iterator[PairPart]:
    """The tensors that have the spaces in the order that is kept, and those that have not."""
    is_kept = [pair is not None and order[frozenset(pair)] == pair for pair in part.spaces]
    both = list(zip(part.spaces, is_kept, strict=True))
    straight = tuple(pair if kept else None for pair, kept in both)
    turned = tuple(None if kept or pair is None else (pair[1], pair[0]) for pair, kept in both)
    if any(straight):
        yield dataclasses.replace(part, spaces=straight)
    if any(turned):
        (first, second), (size, other) = part.axes, part.sizes
        yield PairPart(part.stack, (second, first), (other, size), turned)


@dataclasses.dataclass(frozen=True)
class PairTable:
    """Means of all tensors that have the same two spaces, of equal sizes.

    Attributes:
      places: where each two spaces stand.
      means: ``{rank class less 2: [pairs of spaces, *sizes, C]}``.
    """

    places: dict[Pair, int]
    means: dict[int, jax.Array]


def pair_tables(
    stacks: tuple[Stack, ...], arrays: Sequence[jax.Array]
) -> dict[tuple[int, int], PairTable]:
    """The means over two spaces, by the sizes of these.

    A tensor that has them the other way round is transposed.
    """
    parts = pair_parts(stacks)
    counts = Counter((_pair_source(stacks, part), pair) for part in parts for pair in part.spaces)
    tables: dict[tuple[int, int], PairTable] = {}
    for part in parts:
        places = tables.setdefault(part.sizes, PairTable({}, {})).places
        for pair in filter(None, part.spaces):
            places.setdefault(pair, len(places))
    for part in parts:
        table, source = tables[part.sizes], _pair_source(stacks, part)
        weights = np.zeros((len(table.places), len(part.spaces)))
        for tensor, pair in enumerate(part.spaces):
            if pair is not None:
                weights[table.places[pair], tensor] = 1 / counts[source, pair]
        mean = _weighted(weights, _matrices(arrays[part.stack], part.axes))
        table.means[source] = table.means[source] + mean if source in table.means else mean
    return tables


def _pair_source(stacks: Sequence[Stack], part: PairPart) -> int:
    return rank_class(stacks[part.stack].rank) - 2


def _matrices(x: jax.Array, axes: tuple[int, int]) -> jax.Array:
    """The mean over all axes but two, in this order: ``[tensors, size, other size, C]``."""
    others = tuple(1 + axis for axis in range(x.ndim - 2) if axis not in axes)
    matrices = jnp.mean(x, axis=others) if others else x
    return jnp.swapaxes(matrices, 1, 2) if axes[0] > axes[1] else matrices


def _weighted(weights: np.ndarray, array: jax.Array) -> jax.Array:
    """``[targets, tensors] x [tensors, ...] -> [targets, ...]``, a sum of few rows where it is."""
    most = int(np.max(np.count_nonzero(weights, axis=1)))
    if most > 4:
        return jnp.einsum("st,t...->s...", jnp.asarray(weights, array.dtype), array)
    order = np.argsort(weights == 0, axis=1, kind="stable")[:, :most]
    factors = np.take_along_axis(weights, order, axis=1)
    terms = []
    for column in range(most):
        factor = factors[:, column].reshape(-1, *[1] * (array.ndim - 1))
        factor = factor.flat[0] if (factor == factor.flat[0]).all() else jnp.asarray(factor)
        terms.append(jnp.asarray(factor, array.dtype) * rows_at(array, order[:, column]))
    return functools.reduce(jnp.add, terms)
