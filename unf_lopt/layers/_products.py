"""The matrix products of the full layer, and the means before or after them.

A mean and a product with coefficients can change places. What is read at full size costs most, so
buckets into few output channels are multiplied first, by all coefficients that a tensor meets in
one product, and averaged then; the others are averaged first.
"""

from __future__ import annotations

import itertools
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
    plan: Plan, coefficients: jax.Array, leaves: Sequence[jax.Array]
) -> dict[Bucket, jax.Array]:
    """For every bucket what its slots receive.

    Args:
      plan: of the layer.
      coefficients: ``[maps, input channels, output channels]``.
      leaves: ``[*shape, input channels]``.

    Returns:
      ``[*sizes in the order of plan.axis_orders, slots, output channels]`` for every bucket.
    """
    diagonals = {
        (tensor, blocks): read_diagonal(leaf, blocks)
        for tensor, (leaf, partitions) in enumerate(zip(leaves, plan.diagonals, strict=True))
        for blocks in partitions
    }
    tables = {
        bucket: jnp.swapaxes(table, 1, 2) for bucket, table in plan.tables(coefficients).items()
    }
    narrow = {bucket: table for bucket, table in tables.items() if _is_narrow(table)}
    wide = {bucket: table for bucket, table in tables.items() if bucket not in narrow}
    products = _multiplied_first(plan, narrow, diagonals) | _averaged_first(plan, wide, diagonals)
    return {
        bucket: product.reshape(*product.shape[:-1], *tables[bucket].shape[2:])
        for bucket, product in products.items()
    }


def _is_narrow(table: jax.Array) -> bool:
    """Whether a product writes and reads less than a mean over the input's channels reads."""
    _, inputs, slots, outputs = table.shape
    return 2 * slots * outputs <= inputs


def _averaged_first(
    plan: Plan, tables: Tables, diagonals: Mapping[Diagonal, jax.Array]
) -> dict[Bucket, jax.Array]:
    read = {(f.tensor, f.blocks) for bucket in tables for f in plan.buckets[bucket][0]}
    means = {place: _all_means(x) for place, x in diagonals.items() if place in read}
    products = {}
    for bucket, table in tables.items():
        columns = [
            _in_order(means[f.tensor, f.blocks][tuple(sorted(f.kept))], f, plan.axis_orders[bucket])
            for f in plan.buckets[bucket][0]
        ]
        features, inputs, slots, outputs = table.shape
        matrix = table.reshape(features * inputs, slots * outputs)
        products[bucket] = jnp.concatenate(columns, axis=-1) @ matrix
    return products


def _multiplied_first(
    plan: Plan, tables: Tables, diagonals: Mapping[Diagonal, jax.Array]
) -> dict[Bucket, jax.Array]:
    matrices: dict[Diagonal, list[tuple[Feature, Bucket, jax.Array]]] = {}
    for bucket, table in tables.items():
        for index, feature in enumerate(plan.buckets[bucket][0]):
            matrix = table[index].reshape(table.shape[1], -1)
            own = matrices.setdefault((feature.tensor, feature.blocks), [])
            own.append((feature, bucket, matrix))
    products: dict[Bucket, jax.Array] = {}
    for place, own in matrices.items():
        own.sort(key=lambda item: sorted(item[0].kept))  # one mean for all that keep the same axes
        columns = diagonals[place] @ jnp.concatenate([matrix for _, _, matrix in own], axis=1)
        start = 0
        for kept, group in itertools.groupby(own, key=lambda item: sorted(item[0].kept)):
            members = list(group)
            widths = [matrix.shape[1] for _, _, matrix in members]
            share = columns[..., start : start + sum(widths)]
            start += sum(widths)
            dropped = tuple(axis for axis in range(columns.ndim - 1) if axis not in kept)
            mean = jnp.mean(share, axis=dropped) if dropped else share
            parts = jnp.split(mean, np.cumsum(widths)[:-1], axis=-1)
            for (feature, bucket, _), part in zip(members, parts, strict=True):
                part = _in_order(part, feature, plan.axis_orders[bucket])
                products[bucket] = products[bucket] + part if bucket in products else part
    return products


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
