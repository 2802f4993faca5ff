"""What a parameter is for, and how it is seen as matrices: asked of the spec, not of names."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from unf_lopt._types import PyTree
from unf_lopt.symmetry import (
    Axis,
    PermutationSpec,
    Product,
    block_axes,
    companions,
    path_string,
    rename_axis,
    size_of,
    spaces_of,
)

ROLES = ("hidden", "last", "embedding", "vector")
# Rows, columns and window of a matrix in a small network, and its number of tensors.
USUAL = (32, 16, 1)
_USUAL_NUMBER = 6


@dataclasses.dataclass(frozen=True)
class Block:
    """A tensor as a batch of matrices: its columns against the rest.

    Attributes:
      shape: of the tensor.
      columns: positions of the axes that are columns.
      copies: positions of the axes that count matrices, such as the heads of an attention.
      window: how many entries the window of a convolution has, whose axes are among the rows; else
        1, also where a flattened image is the only axis of rows.
    """

    shape: tuple[int, ...]
    columns: tuple[int, ...]
    copies: tuple[int, ...] = ()
    window: int = 1

    @functools.cached_property
    def order(self) -> tuple[int, ...]:
        """The axes in the order copies, rows, columns."""
        rest = {*self.copies, *self.columns}
        rows = (axis for axis in range(len(self.shape)) if axis not in rest)
        return (*self.copies, *rows, *self.columns)

    @property
    def matrices(self) -> tuple[int, int, int]:
        """The batch's shape: ``(copies, rows, columns)``."""
        copies, columns = (
            math.prod(self.shape[axis] for axis in axes) for axes in (self.copies, self.columns)
        )
        return copies, math.prod(self.shape) // (copies * columns), columns

    @property
    def is_dense(self) -> bool:
        """Whether it is one matrix, and of no convolution."""
        return self.matrices[0] == self.window == 1

    def batch(self, x: Float[Array, "*shape"]) -> Float[Array, "copies rows columns"]:
        """The tensor as its matrices."""
        return x.transpose(self.order).reshape(self.matrices)

    def unbatch(self, x: Float[Array, "copies rows columns"]) -> Float[Array, "*shape"]:
        """The inverse of :meth:`batch`."""
        back = sorted(range(len(self.order)), key=self.order.__getitem__)
        return x.reshape([self.shape[axis] for axis in self.order]).transpose(back)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Matrices:
    """The parameters of a network, what each is for and its matrices.

    A parameter is, by the spaces that its axes lie in,

    - ``"vector"`` if at most one axis is longer than 1, copies apart (gains, biases);
    - ``"last"`` if its last axis is fixed (classes, tokens to predict);
    - ``"embedding"`` if all other axes are fixed (pixels, tokens) and the last is not;
    - ``"hidden"`` otherwise.

    All but vectors are batches of matrices. The spatial axes of a convolution's kernel are rows,
    with its input channels. Axes that a concatenation joined (gates) are cut: each block is a
    matrix of its own. Heads, and other spaces that count copies, make a batch.

    Attributes:
      paths: of the parameters.
      shapes: of the parameters.
      roles: one of ``ROLES`` for every parameter.
      blocks: for every parameter its blocks, none for a vector.
      spec: where all this comes from, or None.
    """

    paths: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    roles: tuple[str, ...]
    blocks: tuple[tuple[Block, ...], ...]
    spec: PermutationSpec | None = None

    def flatten(self, tree: PyTree) -> tuple[list[Any], Callable[[Sequence[Any]], PyTree]]:
        """Leaves in the order of ``paths``, and the way back to such a tree.

        Raises:
          SpecError: with a spec, if the tree does not fit it.
          ValueError: without one, if the tree is not like that of the parameters.
        """
        if self.spec is not None:
            return self.spec.flatten(tree)
        leaves, treedef = jax.tree.flatten(tree)
        shapes = tuple(tuple(jnp.shape(leaf)) for leaf in leaves)
        if shapes != self.shapes:
            raise ValueError(
                f"the tree has leaves of shapes {shapes}, not the parameters' {self.shapes}."
            )
        return leaves, functools.partial(jax.tree.unflatten, treedef)

    def outer_axes(self, parameter: int) -> frozenset[int]:
        """The axes of a parameter that say which permutation others, of nested spaces, have.

        Not those that are a product with these.
        """
        if self.spec is None:
            return frozenset()
        found = set()
        for own in _blocks_with_origins(self.spec.axes[parameter]):
            spaces, positions = zip(*own, strict=True) if own else ((), ())
            for inner, outers in enumerate(companions(spaces, self.spec.nested)):
                found |= {positions[o] for o in outers} - {positions[inner]}
        return frozenset(found)

    @functools.cached_property
    def log_extents(self) -> Float[np.ndarray, "parameters 3"]:
        """Logarithms of the rows, columns and window of a matrix of every parameter, over `USUAL`.

        Zeros for vectors.
        """
        extents = [(*own[0].matrices[1:], own[0].window) if own else USUAL for own in self.blocks]
        return np.log(np.array(extents) / USUAL)

    @property
    def log_number(self) -> float:
        """Logarithm of the number of parameters' tensors over that of a small network."""
        return math.log(len(self.paths) / _USUAL_NUMBER)

    @functools.cached_property
    def sizes(self) -> Float[np.ndarray, " parameters"]:
        """The number of entries of every parameter."""
        return np.array([math.prod(shape) for shape in self.shapes], float)

    @functools.cached_property
    def usual_scales(self) -> Float[np.ndarray, " parameters"]:
        """``1/√rows`` of every parameter: the root mean square of LeCun's initialization.

        Ones for vectors.
        """
        rows = [own[0].matrices[1] if own else 1 for own in self.blocks]
        return np.array(rows, np.float32) ** -0.5

    def map(
        self, function: Callable[[list[jax.Array]], list[jax.Array]], leaves: Sequence[jax.Array]
    ) -> list[jax.Array]:
        """Applies a function to all matrices at once; vectors stay as they are.

        Args:
          function: from a list of ``[copies, rows, columns]``, one for every block of every
            parameter that is no vector, to such a list.
          leaves: the parameters, in the order of ``paths``.

        Returns:
          Leaves like the given ones.
        """
        pieces = [self._pieces(i, leaf) for i, leaf in enumerate(leaves) if self.blocks[i]]
        blocks = list(itertools.chain.from_iterable(filter(None, self.blocks)))
        flat = itertools.chain.from_iterable(pieces)
        batches = [block.batch(x) for block, x in zip(blocks, flat, strict=True)]
        mapped = map(Block.unbatch, blocks, function(batches))
        return [
            self._join(i, list(itertools.islice(mapped, len(self.blocks[i]))))
            if self.blocks[i]
            else leaf
            for i, leaf in enumerate(leaves)
        ]

    def _pieces(self, parameter: int, leaf: jax.Array) -> list[jax.Array]:
        if len(self.blocks[parameter]) == 1:
            return [leaf.reshape(self.blocks[parameter][0].shape)]
        return self._alone(parameter).view.split([leaf])

    def _join(self, parameter: int, pieces: list[jax.Array]) -> jax.Array:
        if len(pieces) == 1:
            return pieces[0].reshape(self.shapes[parameter])
        return self._alone(parameter).view.join(pieces)[0]

    def _alone(self, parameter: int) -> PermutationSpec:
        """The spec of one parameter, for its view."""
        path, spec = self.paths[parameter], self.spec
        if spec is None:
            raise ValueError(f"'{path}' has several blocks, and no spec says where they are in it.")
        return PermutationSpec((path,), (spec.axes[parameter],), spec.sizes, spec.fixed)


@functools.lru_cache(maxsize=64)
def matrices_of(spec: PermutationSpec, *, heads: bool = True) -> Matrices:
    """The roles and matrices of the parameters of a weight space.

    Args:
      spec: the weight space.
      heads: whether spaces that count copies (heads, experts) make a batch of matrices; else they
        are rows or columns like others. Spaces in which others are nested always do: rows or
        columns with an order of their own for each make a matrix of their own.
    """
    outer = frozenset(o for outers in spec.nested.values() for o in outers)
    copies = (_copies(spec) if heads else frozenset()) | outer
    described = [_describe(axes, spec, copies) for axes in spec.axes]
    roles, blocks = zip(*described, strict=True)
    return Matrices(spec.paths, spec.shapes, roles, blocks, spec)


def matrices_by_shape(params: PyTree) -> Matrices:
    """The same without a spec: parameters of at least two axes longer than 1 are ``"hidden"``.

    Args:
      params: the parameters, as arrays or ``jax.ShapeDtypeStruct``.
    """
    with_paths = jax.tree_util.tree_leaves_with_path(params)
    shapes = tuple(tuple(jnp.shape(leaf)) for _, leaf in with_paths)
    is_matrix = [sum(size > 1 for size in shape) > 1 for shape in shapes]
    roles = tuple("hidden" if matrix else "vector" for matrix in is_matrix)
    blocks = tuple(
        (Block(shape, (_last_long(shape),)),) if matrix else ()
        for shape, matrix in zip(shapes, is_matrix, strict=True)
    )
    return Matrices(tuple(path_string(path) for path, _ in with_paths), shapes, roles, blocks)


def _describe(
    axes: Sequence[Axis], spec: PermutationSpec, copies: frozenset[str]
) -> tuple[str, tuple[Block, ...]]:
    """The role and the blocks of a parameter."""
    lengths = [size_of(axis, spec.spaces) for axis in axes]
    outer = {o for axis in axes for space in spaces_of(axis) for o in spec.nested.get(space, ())}
    last = _last_long([1 if axis in outer else n for axis, n in zip(axes, lengths, strict=True)])
    is_fixed = [
        spec.fixed.issuperset(spaces_of(axis))
        for position, axis in enumerate(axes)
        if lengths[position] > 1 and (axis not in copies or position == last)
    ]
    if len(is_fixed) < 2:
        return "vector", ()
    role = "last" if is_fixed[-1] else "embedding" if all(is_fixed[:-1]) else "hidden"
    return role, tuple(_blocks(axes, last, spec, copies))


def _blocks(
    axes: Sequence[Axis], last: int, spec: PermutationSpec, copies: frozenset[str]
) -> Iterator[Block]:
    """The blocks of a parameter whose columns are in its axis ``last``."""
    for own in _blocks_with_origins(axes):
        spaces, positions = zip(*own, strict=True)
        of_last = [i for i, position in enumerate(positions) if position == last]
        counting = [i for i, space in enumerate(spaces) if space in copies and i != of_last[-1]]
        columns = [i for i in of_last if i not in counting]
        shape = tuple(spec.spaces[space] for space in spaces)
        rows = [i for i in range(len(own)) if i not in (*columns, *counting) and shape[i] > 1]
        window = [shape[i] for i in rows if axes[positions[i]] in spec.fixed and len(rows) > 1]
        yield Block(shape, tuple(columns), tuple(counting), math.prod(window))


def _blocks_with_origins(axes: Sequence[Axis]) -> Iterator[list[tuple[str, int]]]:
    """For every block of a parameter, and every axis of it, its space and where it comes from."""
    origin = {
        f"{space} of {position}": (space, position)
        for position, axis in enumerate(axes)
        for space in spaces_of(axis)
    }
    tagged = tuple(
        rename_axis(axis, lambda space, position=position: f"{space} of {position}")
        for position, axis in enumerate(axes)
    )
    for block in block_axes(tagged):
        yield list(map(origin.__getitem__, block))


def _last_long(lengths: Sequence[int]) -> int:
    """The position of the last axis that is longer than 1, or of the last one."""
    long = [position for position, length in enumerate(lengths) if length > 1]
    return long[-1] if long else len(lengths) - 1


def _copies(spec: PermutationSpec) -> frozenset[str]:
    """The spaces that count copies of the same thing: heads, experts.

    In a product of permutable spaces (``heads*width``) all but the last; in a tensor of three and
    more permutable axes those that never come last in any tensor of the weight space, or else all
    before the last two.
    """
    plain = [[s for s in own if s not in spec.fixed] for own in spec.view.spec.axes]
    never_last = set(spec.groups) - {own[-1] for own in plain if own}
    products = (axis for own in spec.axes for axis in own if isinstance(axis, Product))
    found = set()
    for product in products:
        factors = [f for f in product.factors if isinstance(f, str) and f not in spec.fixed]
        found.update(factors[:-1])
    for own in plain:
        if len(own) > 2 and found.isdisjoint(own):
            found.update(never_last.intersection(own[:-1]) or own[:-2])
    return frozenset(found)
