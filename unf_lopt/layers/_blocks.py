"""Functions of entries, applied block by block, so that what they make is never there whole.

A network of 32 channels makes 32 numbers of every entry, and its inputs are 19 more: on the whole
weight space at once that is fifty times the parameters' memory, and out of every cache. A block of
a few thousand entries stays in the cache, which on a CPU is twice as fast as well.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from unf_lopt._types import PyTree

# Entries of a block: 32 channels of so many are half a megabyte.
BLOCK = 4096
# Tensors of fewer blocks than this are laid end to end, so that programs stay small.
JOINED_BLOCKS = 16

# From arrays [entries, *channels], or [1, *channels] where a tensor has one value, to a tree of
# arrays [entries, *channels].
EntryFunction = Callable[..., PyTree]


def in_blocks(
    function: EntryFunction,
    *trees: PyTree,
    of_tensors: Sequence[PyTree] = (),
    channel_axes: int = 0,
    block: int = BLOCK,
) -> PyTree:
    """Applies a function of entries to all entries of a weight space, with bounded memory.

    For an entry e of tensor t the result is ``function(x[t][e], y[t][e], ..., a[t], ...)``, x and y
    the trees and a those ``of_tensors``. Beside inputs and results, memory is needed for one block
    at a time: for a large tensor in place, for small ones, which are joined, with copies. An array
    that is computed just before, such as new momenta, is stored once more for the blocks: better
    pass what it is computed from, and let the function compute it again. For the
    gradient the function is computed again, block by block. Under ``jax.vmap`` a block has so many
    entries of every member.

    Args:
      function: takes arrays ``[entries, *channels]``, first those of ``trees``, then those
        ``of_tensors``, which may have 1 in place of the entries; gives an array, or a tree of
        arrays, ``[entries, *channels]``. Each entry of its results must depend on the same entry
        of its arguments alone.
      *trees: of equal structure. Leaves of the first ``[*shape]``, and ``channel_axes`` axes more;
        those of the others ``[*shape, *channels]``.
      of_tensors: trees of the same structure, leaves ``[*channels]``: one value for a tensor.
      channel_axes: how many axes behind the entries' the first tree's leaves have.
      block: entries that are computed on at a time.

    Returns:
      What the function gives, with a tree like the first, leaves ``[*shape, *channels]``, in place
      of each array.

    Raises:
      ValueError: no tree, trees of different structure, or a leaf that does not begin with the
        shape of the first tree's.
    """
    treedef, shapes, of_entries = _flat_trees(trees, channel_axes, block)
    constants = [_leaves_like(treedef, tree) for tree in of_tensors]
    if not shapes:
        return trees[0]
    found = [
        jax.tree.map(lambda x, shape=shape: x.reshape(*shape, *x.shape[1:]), result)
        for shape, result in zip(
            shapes, map_tensors(function, of_entries, constants, block), strict=True
        )
    ]
    outer = jax.tree.structure(found[0])
    return jax.tree.transpose(treedef, outer, jax.tree.unflatten(treedef, found))


def means_in_blocks(
    function: EntryFunction, *trees: PyTree, channel_axes: int = 0, block: int = BLOCK
) -> PyTree:
    """For every tensor the mean over its entries of a function of them, with bounded memory.

    Args:
      function: as :func:`in_blocks` takes it, without what is of tensors, giving one array.
      *trees: as of :func:`in_blocks`.
      channel_axes: as of :func:`in_blocks`.
      block: entries that are computed on at a time.

    Returns:
      A tree like the first, leaves ``[*channels]``; of no entries NaN, as of ``jnp.mean``.

    Raises:
      ValueError: as :func:`in_blocks`.
    """
    treedef, shapes, of_entries = _flat_trees(trees, channel_axes, block)
    means = [
        _mean_in_blocks(function, [column[tensor] for column in of_entries], block)
        for tensor in range(len(shapes))
    ]
    return jax.tree.unflatten(treedef, means)


def _mean_in_blocks(function: EntryFunction, arrays: Sequence[jax.Array], block: int) -> jax.Array:
    entries = arrays[0].shape[0]
    if entries <= block:
        return jnp.mean(function(*arrays), axis=0)
    size = block_size(entries, block)
    whole = entries // size * size
    parts = [x if whole == entries else x[:whole] for x in arrays]
    cut = [x.reshape(-1, size, *x.shape[1:]) for x in parts]

    @jax.checkpoint
    def step(total: jax.Array, own: Sequence[jax.Array]) -> tuple[jax.Array, None]:
        return total + jnp.sum(function(*own), axis=0), None

    example = jax.eval_shape(lambda *own: function(*own)[0], *(x[:1] for x in arrays))
    total, _ = lax.scan(step, jnp.zeros(example.shape, example.dtype), cut)
    if whole < entries:
        total, _ = step(total, [x[whole:] for x in arrays])
    return total / entries


def _flat_trees(
    trees: Sequence[PyTree], channel_axes: int, block: int
) -> tuple[Any, list[tuple[int, ...]], list[list[jax.Array]]]:
    """Structure and shapes of the first tree, and every tree's arrays ``[entries, *channels]``."""
    if not trees or block < 1:
        raise ValueError(f"in_blocks: a tree and a positive block are needed; got block={block}.")
    treedef = jax.tree.structure(trees[0])
    columns = [_leaves_like(treedef, tree) for tree in trees]
    shapes = [jnp.shape(leaf)[: jnp.ndim(leaf) - channel_axes] for leaf in columns[0]]
    return treedef, shapes, [_flat(column, shapes) for column in columns]


def map_tensors(
    function: EntryFunction,
    of_entries: Sequence[Sequence[jax.Array]],
    constants: Sequence[Sequence[jax.Array]] = (),
    block: int = BLOCK,
) -> list[PyTree]:
    """The function's results for every tensor, ``[entries, *channels]``.

    Args:
      function: as :func:`in_blocks` takes it.
      of_entries: for every argument its arrays, ``[entries, *channels]``, one a tensor.
      constants: the same of the arguments that have one value for a tensor, ``[*channels]``.
      block: entries that are computed on at a time.
    """
    found: dict[int, PyTree] = {}
    for run in _runs([len(x) for x in of_entries[0]], block * JOINED_BLOCKS):
        results = _apply_to_run(function, run, of_entries, constants, block)
        found |= zip(run, results, strict=True)
    return [found[tensor] for tensor in range(len(of_entries[0]))]


def map_blocks(function: EntryFunction, arrays: Sequence[jax.Array], block: int) -> PyTree:
    """``function(*arrays)`` for arrays ``[entries, *channels]``, block by block.

    What is left over when entries are cut into blocks is computed after them.
    """
    entries = arrays[0].shape[0]
    if entries <= block:
        return function(*arrays)
    size = block_size(entries, block)
    whole = entries // size * size
    # Activations are computed again for the gradient, or they would be kept for all blocks.
    step = jax.checkpoint(function)
    parts = [x if whole == entries else x[:whole] for x in arrays]
    cut = [x.reshape(-1, size, *x.shape[1:]) for x in parts]
    results = lax.map(lambda own: step(*own), tuple(cut))
    results = jax.tree.map(lambda x: x.reshape(whole, *x.shape[2:]), results)
    if whole == entries:
        return results
    rest = function(*(x[whole:] for x in arrays))
    return jax.tree.map(lambda x, y: jnp.concatenate([x, y]), results, rest)


def block_size(count: int, most: int) -> int:
    """At most so many, dividing the count where a divisor is not much smaller: no rest is left."""
    for size in range(min(most, count), most // 4, -1):
        if count % size == 0:
            return size
    return min(most, count)


def _leaves_like(treedef: Any, tree: PyTree) -> list[jax.Array]:
    leaves, own = jax.tree.flatten(tree)
    if own != treedef:
        raise ValueError(f"in_blocks: trees must have one structure; got {treedef} and {own}.")
    return leaves


def _flat(column: Sequence[jax.Array], shapes: Sequence[tuple[int, ...]]) -> list[jax.Array]:
    """Leaves ``[*shape, *channels]`` as ``[entries, *channels]``."""
    for leaf, shape in zip(column, shapes, strict=True):
        if jnp.shape(leaf)[: len(shape)] != shape:
            raise ValueError(
                f"in_blocks: a leaf has shape {jnp.shape(leaf)}, where the first tree's is {shape}."
            )
    return [
        jnp.reshape(leaf, (math.prod(shape), *jnp.shape(leaf)[len(shape) :]))
        for leaf, shape in zip(column, shapes, strict=True)
    ]


def _runs(sizes: Sequence[int], limit: int) -> Iterator[list[int]]:
    """Which tensors are computed on together: large ones alone, others up to a limit."""
    run: list[int] = []
    total = 0
    for tensor, size in enumerate(sizes):
        if size >= limit:
            yield [tensor]
            continue
        if run and total + size > limit:
            yield run
            run, total = [], 0
        run.append(tensor)
        total += size
    if run:
        yield run


def _apply_to_run(
    function: EntryFunction,
    run: Sequence[int],
    of_entries: Sequence[Sequence[jax.Array]],
    constants: Sequence[Sequence[jax.Array]],
    block: int,
) -> list[PyTree]:
    """The function's results for every tensor of a run, ``[entries, *channels]``."""
    if len(run) == 1:
        (tensor,) = run
        own = [jnp.asarray(column[tensor])[None] for column in constants]
        arrays = [column[tensor] for column in of_entries]
        return [map_blocks(lambda *parts: function(*parts, *own), arrays, block)]
    sizes = [of_entries[0][tensor].shape[0] for tensor in run]
    joined = [jnp.concatenate([column[tensor] for tensor in run]) for column in of_entries]
    for column in constants:
        repeated = [
            jnp.broadcast_to(column[tensor], (size, *jnp.shape(column[tensor])))
            for tensor, size in zip(run, sizes, strict=True)
        ]
        joined.append(jnp.concatenate(repeated))
    results = map_blocks(function, joined, block)
    stops = list(itertools.accumulate(sizes))
    return [
        jax.tree.map(lambda x, start=stop - size, stop=stop: x[start:stop], results)
        for size, stop in zip(sizes, stops, strict=True)
    ]
