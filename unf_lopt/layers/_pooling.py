"""What a linear layer reads of a tensor: products of its entries with a matrix, and their means.

Both can be had of features that are never there whole: block by block they are made of other
arrays, multiplied, added up, and forgotten.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Shaped

from unf_lopt._types import PyTree
from unf_lopt.layers._blocks import BLOCK, EntryFunction, block_size, map_tensors
from unf_lopt.layers._diagonals import read_diagonal
from unf_lopt.layers._partitions import Partition
from unf_lopt.symmetry import PermutationSpec

# Entries of a tensor whose features are never there whole.
LARGE = 4 * BLOCK

Axes = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class LazyFeatures:
    """Features of a tensor as a function of other arrays, entry by entry.

    Attributes:
      function: of arrays ``[entries, *channels]``; gives ``[entries, features]``.
      arrays: its arguments, of one shape but for their channels, which are last.
      channels: the shapes of their channels as the function takes them.
      constants: its last arguments, the same for the whole tensor.
    """

    function: EntryFunction
    arrays: tuple[Shaped[Array, "*shape _"], ...]
    channels: tuple[tuple[int, ...], ...]
    constants: tuple[Shaped[Array, "1 ..."], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor."""
        return self.arrays[0].shape[:-1]

    def of(self, arrays: Sequence[Shaped[Array, "*any _"]]) -> Float[Array, "*any features"]:
        """The features of some entries."""
        shape = arrays[0].shape[:-1]
        count = math.prod(shape)
        flat = [x.reshape(count, *own) for x, own in zip(arrays, self.channels, strict=True)]
        features = self.function(*flat, *self.constants)
        return features.reshape(*shape, features.shape[-1])

    @property
    def is_large(self) -> bool:
        """Whether the features are better not there whole; those of a vector are its one mean."""
        return len(self.shape) > 1 and math.prod(self.shape) >= LARGE

    def on_diagonal(self, blocks: Partition) -> LazyFeatures:
        """The features of the entries whose indices in a block are equal."""
        arrays = tuple(read_diagonal(x, blocks) for x in self.arrays)
        return dataclasses.replace(self, arrays=arrays)

    def probe(self) -> Float[Array, "1 features"]:
        """The features of an entry of zeros: for their number and type."""
        return self.of([jnp.zeros((1, x.shape[-1]), x.dtype) for x in self.arrays])

    def read(
        self,
        matrices: Mapping[Axes, Float[Array | np.ndarray, "features columns"] | None],
        block: int = BLOCK,
    ) -> dict[Axes, jax.Array]:
        """Means over all axes but some, times a matrix where there is one.

        Blocks are slices of the longest axis. Means that keep it are those of slices, multiplied
        at once; the others are taken of the mean over it, the one sum over all slices.

        Args:
          matrices: by the axes that are kept, all of them for the entries themselves: a matrix,
            or None for the means as they are.
          block: entries that are computed on at a time.

        Returns:
          ``[*sizes, columns or features]``, by the axes that are kept.
        """
        shape = self.shape
        axis = max(range(len(shape)), key=lambda axis: shape[axis])
        behind = math.prod(shape) // shape[axis]
        rows = block_size(shape[axis], max(1, block // behind))
        arrays = [jnp.moveaxis(x, axis, 0) for x in self.arrays]
        order = [axis, *(other for other in range(len(shape)) if other != axis)]
        along = [kept for kept in matrices if axis in kept]

        @jax.checkpoint
        def step(total: jax.Array, own: Sequence[jax.Array]) -> tuple[jax.Array, PyTree]:
            features = self.of(own)
            slices = [_times(_mean_of(features, order, kept), matrices[kept]) for kept in along]
            return total + jnp.sum(features, axis=0), slices

        example = jax.eval_shape(lambda *own: self.of(own)[0], *arrays)
        total = jnp.zeros(example.shape, example.dtype)
        total, slices = _scan_slices(step, total, arrays, rows)
        found = {}
        for kept, x in zip(along, slices, strict=True):
            found[kept] = jnp.moveaxis(x, 0, kept.index(axis))
        for kept in [axes for axes in matrices if axes not in found]:
            mean = _mean_of(total / shape[axis], order[1:], kept)
            found[kept] = _times(mean, matrices[kept])
        return found


def _mean_of(x: jax.Array, order: Sequence[int], kept: Axes) -> jax.Array:
    """The mean over all axes that are not kept, of an array whose axes have an order."""
    dropped = tuple(place for place, axis in enumerate(order) if axis not in kept)
    return jnp.mean(x, axis=dropped) if dropped else x


def _times(x: jax.Array, matrix: jax.Array | np.ndarray | None) -> jax.Array:
    return x if matrix is None else x @ matrix


def whole_features(lazy: Sequence[LazyFeatures]) -> list[jax.Array]:
    """The features of some tensors, ``[*shape, features]``, computed together.

    All have one function and equally many arguments.
    """
    if not lazy:
        return []
    of_entries = [
        [own.arrays[i].reshape(math.prod(own.shape), *own.channels[i]) for own in lazy]
        for i in range(len(lazy[0].arrays))
    ]
    constants = [[own.constants[i][0] for own in lazy] for i in range(len(lazy[0].constants))]
    results = map_tensors(lazy[0].function, of_entries, constants)
    return [x.reshape(*own.shape, x.shape[-1]) for own, x in zip(lazy, results, strict=True)]


def _scan_slices(
    step: EntryFunction, total: jax.Array, arrays: Sequence[jax.Array], rows: int
) -> tuple[jax.Array, PyTree]:
    """Scans over slices of the first axis of some arrays; results of slices are joined again."""
    length = arrays[0].shape[0]
    whole = length // rows * rows
    parts = [x if whole == length else x[:whole] for x in arrays]
    cut = [x.reshape(-1, rows, *x.shape[1:]) for x in parts]
    total, results = lax.scan(step, total, cut)
    results = jax.tree.map(lambda x: x.reshape(whole, *x.shape[2:]), results)
    if whole < length:
        total, rest = step(total, [x[whole:] for x in arrays])
        results = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), results, rest)
    return total, results


def lazy_features(
    spec: PermutationSpec,
    function: EntryFunction,
    trees: Sequence[PyTree],
    of_tensors: Sequence[PyTree] = (),
) -> list[LazyFeatures]:
    """For every block of a spec's view its features, as a function of some trees.

    Args:
      spec: the weight space.
      function: as :func:`in_blocks` takes it.
      trees: leaves ``[*parameter.shape, *channels]``.
      of_tensors: leaves ``[*channels]``.

    Raises:
      SpecError: a tree does not fit the spec.
    """
    columns, channels = [], []
    for tree in trees:
        leaves, unflatten = spec.flatten(tree)
        own = [
            jnp.shape(leaf)[len(shape) :] for leaf, shape in zip(leaves, spec.shapes, strict=True)
        ]
        flat = [
            jnp.reshape(leaf, (*shape, math.prod(behind)))
            for leaf, shape, behind in zip(leaves, spec.shapes, own, strict=True)
        ]
        columns.append(spec.view.flatten(unflatten(flat))[0])
        channels.append(own[0])
    numbers = jax.tree.leaves(unflatten(range(len(spec.paths))))
    constants = [dict(zip(numbers, jax.tree.leaves(t), strict=True)) for t in of_tensors]
    return [
        LazyFeatures(
            function,
            tuple(column[number] for column in columns),
            tuple(channels),
            tuple(jnp.asarray(column[parameter])[None] for column in constants),
        )
        for number, parameter in enumerate(_parameters_of_blocks(spec))
    ]


def _parameters_of_blocks(spec: PermutationSpec) -> list[int]:
    """The parameter, by its number, that every block of the view is cut out of."""
    numbered = [  # what a block keeps of its parameter are the channels: as many as its number
        jax.ShapeDtypeStruct((*shape, number), jnp.float32)
        for number, shape in enumerate(spec.shapes)
    ]
    return [block.shape[-1] for block in jax.eval_shape(spec.view.split, numbered)]
