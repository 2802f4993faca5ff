"""Entries of an array whose indices along some axes are equal: read, and written back."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Shaped

from unf_lopt.layers._partitions import Partition


def read_diagonal(
    x: Shaped[Array, "*shape channels"], blocks: Partition
) -> Shaped[Array, "*blocks channels"]:
    """Entries with equal indices in a block."""
    if all(len(block) == 1 for block in blocks):
        return x
    order = [axis for block in blocks for axis in block]
    x = jnp.transpose(x, (*order, x.ndim - 1))
    for position, block in enumerate(blocks):
        size, rank = x.shape[position], len(block)
        x = x.reshape(*x.shape[:position], size**rank, *x.shape[position + rank :])
        stride = sum(size**power for power in range(rank))
        x = lax.slice_in_dim(x, 0, size**rank, stride, axis=position)
    return x


def write_diagonal(
    y: Shaped[Array, "*blocks channels"], blocks: Partition, shape: Sequence[int]
) -> Shaped[Array, "*broadcast channels"]:
    """The inverse of reading: zero off the diagonal; axes of size 1 are left to broadcast."""
    if all(len(block) == 1 for block in blocks):
        return y
    expanded = [1] * len(shape)
    for size, block in zip(y.shape, blocks, strict=False):
        expanded[block[0]] = size
    y = y.reshape(*expanded, y.shape[-1])
    mask_shape = (*shape, 1)
    for block in blocks:
        for axis in block[1:]:
            first = lax.broadcasted_iota(jnp.int32, mask_shape, block[0])
            y = jnp.where(first == lax.broadcasted_iota(jnp.int32, mask_shape, axis), y, 0)
    return y
