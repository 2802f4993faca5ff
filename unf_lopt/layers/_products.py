"""The matrix products of the full layer, on means over every set of axes that is left out."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from unf_lopt.layers._diagonals import read_diagonal
from unf_lopt.layers._partitions import Partition
from unf_lopt.layers._plan import Bucket, Feature, Plan
from unf_lopt.layers._pooling import LazyFeatures, whole_features
from unf_lopt.layers._xla_hints import computed_once

Diagonal = tuple[int, Partition]  # a tensor and a partition of its axes
# Coefficients, by bucket.
Tables = Mapping[Bucket, Float[Array | np.ndarray, "features inputs slots outputs"]]


Means = Mapping[tuple[int, ...], jax.Array]  # by the blocks that are kept
# Of whole tensors that are multiplied already, by bucket and position among its features.
Products = Mapping[tuple[Bucket, int], jax.Array]


def whole_means(plan: Plan, leaves: Sequence[jax.Array]) -> dict[Diagonal, Means]:
    """The means of all tensors, ``[*shape, input channels]``, on all their diagonals."""
    return {
        (tensor, blocks): _all_means(read_diagonal(leaf, blocks))
        for tensor, (leaf, partitions) in enumerate(zip(leaves, plan.diagonals, strict=True))
        for blocks in partitions
    }


def lazy_means(
    plan: Plan, tables: Tables, features: Sequence[LazyFeatures]
) -> tuple[dict[Diagonal, Means], dict[tuple[Bucket, int], jax.Array]]:
    """The same of features that are not there, and the products of those that never are.

    A large tensor is multiplied with the coefficients of all buckets while it is read, unless
    that gives more channels than it has.
    """
    small: dict[Diagonal, LazyFeatures] = {}
    means: dict[Diagonal, Means] = {}
    products: dict[tuple[Bucket, int], jax.Array] = {}
    for tensor, own in enumerate(features):
        for blocks in plan.diagonals[tensor]:
            uses = list(_uses(plan, (tensor, blocks)))
            is_whole = all(len(block) == 1 for block in blocks)
            if is_whole and own.is_large and _is_narrow(tables, uses):
                means[tensor, blocks], found = _read_large(own, tables, uses)
                products |= found
            else:
                small[tensor, blocks] = own.on_diagonal(blocks)
    for place, x in zip(small, whole_features(list(small.values())), strict=True):
        means[place] = _all_means(computed_once(x))
    return means, products


def _uses(plan: Plan, place: Diagonal) -> Iterator[tuple[Bucket, int, Feature]]:
    """Where the means over a diagonal go."""
    for bucket, (features, _) in plan.buckets.items():
        for index, feature in enumerate(features):
            if (feature.tensor, feature.blocks) == place:
                yield bucket, index, feature


def _is_whole(feature: Feature) -> bool:
    return len(feature.kept) == len(feature.blocks)


def _is_narrow(tables: Tables, uses: Sequence[tuple[Bucket, int, Feature]]) -> bool:
    widths = [math.prod(tables[bucket].shape[2:]) for bucket, _, own in uses if _is_whole(own)]
    return sum(widths) <= tables[uses[0][0]].shape[1]


def _read_large(
    own: LazyFeatures, tables: Tables, uses: Sequence[tuple[Bucket, int, Feature]]
) -> tuple[Means, dict[tuple[Bucket, int], jax.Array]]:
    """Means that keep one axis are had as they are; what keeps more, and is larger, multiplied."""
    targets: dict[tuple[int, ...], list[tuple[Bucket, int]]] = {}
    for bucket, index, feature in uses:
        targets.setdefault(tuple(sorted(feature.kept)), []).append((bucket, index))
    matrices: dict[tuple[int, ...], jax.Array | None] = {}
    for kept, places in targets.items():
        own_tables = [tables[bucket][index] for bucket, index in places]
        flat = [table.reshape(len(table), -1) for table in own_tables]
        narrow = sum(table.shape[1] for table in flat) <= len(flat[0])
        is_whole = len(kept) == len(own.shape)
        multiply = is_whole or (len(kept) > 1 and narrow)
        matrices[kept] = jnp.concatenate(flat, axis=1) if multiply else None
    means, products = {}, {}
    for kept, found in own.read(matrices).items():
        if matrices[kept] is None:
            means[kept] = found
            continue
        widths = [math.prod(tables[bucket].shape[2:]) for bucket, _ in targets[kept]]
        pieces = jnp.split(found, np.cumsum(widths)[:-1], axis=-1)
        products |= zip(targets[kept], pieces, strict=True)
    return means, products


def bucket_products(
    plan: Plan,
    tables: Tables,
    means: Mapping[Diagonal, Means],
    multiplied: Products = MappingProxyType({}),
) -> dict[Bucket, Float[Array, "*sizes slots outputs"]]:
    """For every bucket what its slots receive.

    Args:
      plan: of the layer.
      tables: coefficients by bucket.
      means: of all tensors on all diagonals.
      multiplied: products of whole tensors that are not among the means.

    Returns:
      An array for every bucket, its sizes in the order of ``plan.axis_orders``.
    """
    products = {}
    for bucket, table in tables.items():
        features, order = plan.buckets[bucket][0], plan.axis_orders[bucket]
        done = {i: multiplied[bucket, i] for i in range(len(features)) if (bucket, i) in multiplied}
        columns = {
            i: means[feature.tensor, feature.blocks][tuple(sorted(feature.kept))]
            for i, feature in enumerate(features)
            if i not in done
        }
        product = _product(columns, done, features, order, table)
        products[bucket] = product.reshape(*product.shape[:-1], *table.shape[2:])
    return products


def _product(
    columns: Mapping[int, jax.Array],
    done: Mapping[int, jax.Array],
    features: Sequence[Feature],
    order: Sequence[int],
    table: Float[Array | np.ndarray, "features inputs slots outputs"],
) -> Float[Array, "*sizes slots*outputs"]:
    """Features times coefficients.

    Whole tensors into few channels are multiplied one by one and the products put in order and
    added, which moves less than putting all their channels in order and end to end; what is left
    of the features is one product.
    """
    count, inputs, slots, outputs = table.shape
    apart = [
        index
        for index, feature in enumerate(features)
        if index not in done and _is_whole(feature) and 2 * slots * outputs <= inputs
    ]
    multiplied = dict(done) | {
        index: columns[index] @ table[index].reshape(inputs, -1) for index in apart
    }
    parts = [_in_order(product, features[index], order) for index, product in multiplied.items()]
    together = [index for index in range(count) if index not in multiplied]
    if together:
        own = table[np.array(together)] if multiplied else table
        joined = [_in_order(columns[index], features[index], order) for index in together]
        parts.append(jnp.concatenate(joined, -1) @ own.reshape(len(together) * inputs, -1))
    return functools.reduce(jnp.add, parts)


def _all_means(
    x: Float[Array, "*shape channels"],
) -> dict[tuple[int, ...], Float[Array, "*kept channels"]]:
    """Means over every set of axes but the channels, by the axes kept.

    Each mean is taken from the smallest one that still has its axes, so the whole array is read
    only for the largest; what is not used XLA leaves out.
    """
    rank = x.ndim - 1
    means = {tuple(range(rank)): x}
    for _ in range(rank):
        for kept in [axes for axes in means if axes]:
            for dropped in kept:
                rest = tuple(axis for axis in kept if axis != dropped)
                if rest not in means:
                    parents = [a for a in means if len(a) == len(rest) + 1 and set(rest) < set(a)]
                    parent = min(parents, key=lambda axes: means[axes].size)
                    (axis,) = set(parent) - set(rest)
                    means[rest] = jnp.mean(means[parent], axis=parent.index(axis))
    return means


def _in_order(
    x: Float[Array, "*kept channels"], feature: Feature, order: Sequence[int]
) -> Float[Array, "*sizes channels"]:
    """From the order of a feature's blocks to that of its bucket; channels stay last."""
    ascending = sorted(feature.kept)
    axes = [ascending.index(feature.kept[axis]) for axis in order]
    return jnp.transpose(x, (*axes, x.ndim - 1))
