"""The matrix products of the full layer, on means over every set of axes that is left out."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from unf_lopt.layers._diagonals import read_diagonal
from unf_lopt.layers._partitions import Partition
from unf_lopt.layers._plan import Bucket, Feature, Plan

Diagonal = tuple[int, Partition]  # a tensor and a partition of its axes
# Coefficients [features, input channels, slots, output channels].
Tables = Mapping[Bucket, jax.Array]


def bucket_products(
    plan: Plan, tables: Tables, leaves: Sequence[jax.Array]
) -> dict[Bucket, jax.Array]:
    """For every bucket what its slots receive.

    Args:
      plan: of the layer.
      tables: coefficients by bucket.
      leaves: ``[*shape, input channels]``.

    Returns:
      ``[*sizes in the order of plan.axis_orders, slots, output channels]`` for every bucket.
    """
    diagonals = {
        (tensor, blocks): read_diagonal(leaf, blocks)
        for tensor, (leaf, partitions) in enumerate(zip(leaves, plan.diagonals, strict=True))
        for blocks in partitions
    }
    means = {place: _all_means(x) for place, x in diagonals.items()}
    products = {}
    for bucket, table in tables.items():
        features, order = plan.buckets[bucket][0], plan.axis_orders[bucket]
        columns = [means[f.tensor, f.blocks][tuple(sorted(f.kept))] for f in features]
        product = _product(columns, features, order, table)
        products[bucket] = product.reshape(*product.shape[:-1], *table.shape[2:])
    return products


def _product(
    columns: Sequence[jax.Array],
    features: Sequence[Feature],
    order: Sequence[int],
    table: jax.Array,
) -> jax.Array:
    """Features times coefficients: ``[*sizes, slots * output channels]``.

    Whole tensors into few channels are multiplied one by one and the products put in order and
    added, which moves less than putting all their channels in order and end to end; what is left
    of the features is one product.
    """
    count, inputs, slots, outputs = table.shape
    apart = [
        index
        for index, feature in enumerate(features)
        if len(feature.kept) == len(feature.blocks) and 2 * slots * outputs <= inputs
    ]
    parts = [
        _in_order(columns[index] @ table[index].reshape(inputs, -1), features[index], order)
        for index in apart
    ]
    together = [index for index in range(count) if index not in apart]
    if together:
        own = table[np.array(together)] if apart else table
        joined = [_in_order(columns[index], features[index], order) for index in together]
        parts.append(jnp.concatenate(joined, -1) @ own.reshape(len(together) * inputs, -1))
    return functools.reduce(jnp.add, parts)


def _all_means(x: jax.Array) -> dict[tuple[int, ...], jax.Array]:
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


def _in_order(x: jax.Array, feature: Feature, order: Sequence[int]) -> jax.Array:
    """From the order of a feature's blocks to that of its bucket; channels stay last."""
    ascending = sorted(feature.kept)
    axes = [ascending.index(feature.kept[axis]) for axis in order]
    return jnp.transpose(x, (*axes, x.ndim - 1))
