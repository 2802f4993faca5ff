"""Parameters as layers want them: every axis in one space.

An axis that is a product of spaces is reshaped into several, one that is a sum is cut into
blocks. The user's tree keeps its shapes; the view is the way there and back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from unf_lopt._types import PyTree
from unf_lopt.symmetry import _axes
from unf_lopt.symmetry._arrays import namespace
from unf_lopt.symmetry._axes import Axis, Product, Sum


@dataclasses.dataclass(frozen=True)
class View:
    """A weight space whose tensors are the plain blocks of another one's parameters.

    Attributes:
      source: the spec of the user's tree.
      spec: the same symmetries on the blocks; all its axes are names of spaces.
    """

    source: Any
    spec: Any

    def split(self, leaves: Sequence[Any]) -> list[Any]:
        """Blocks, in the order of ``spec.paths``, of leaves in the order of ``source.paths``.

        Leaves have shape ``[*parameter.shape, ...]``; trailing axes are channels.
        """
        pairs = zip(leaves, self.source.axes, strict=True)
        return [
            block for leaf, axes in pairs for block in split_leaf(leaf, axes, self.source.spaces)
        ]

    def join(self, blocks: Sequence[Any]) -> list[Any]:
        """The inverse of :meth:`split`; the blocks may have other channels than the leaves had."""
        remaining = iter(blocks)
        return [_join(remaining, axes) for axes in self.source.axes]

    def flatten(self, tree: PyTree) -> tuple[list[Any], Callable[[Sequence[Any]], PyTree]]:
        """Blocks of a tree of the source's weight space, and the way back to such a tree.

        Raises:
          SpecError: the tree has other leaves, or a leaf another shape.
        """
        leaves, unflatten = self.source.flatten(tree)
        return self.split(leaves), lambda blocks: unflatten(self.join(blocks))


def block_axes(axes: Sequence[Axis]) -> Iterator[tuple[str, ...]]:
    """The spaces of the axes of every block of a parameter, in the order of ``View.split``.

    Args:
      axes: the axes of the parameter, as ``spec.axes`` has them.

    Returns:
      An iterator over blocks: for each the space of every axis. Products become several axes, and
      every term of a sum a block of its own: ``("x", a + b*c)`` has the blocks ``("x", "a")`` and
      ``("x", "b", "c")``.
    """
    spaces: list[str] = []
    for position, axis in enumerate(axes):
        if not isinstance(axis, str):
            for part in _alternatives(axis):
                yield from block_axes((*axes[:position], *part, *axes[position + 1 :]))
            return
        spaces.append(axis)
    yield tuple(spaces)


def _alternatives(axis: Product | Sum) -> list[tuple[Axis, ...]]:
    return [axis.factors] if isinstance(axis, Product) else [(term,) for term in axis.terms]


def split_leaf(x: Any, axes: Sequence[Axis], sizes: Mapping[str, int]) -> list[Any]:
    """The blocks of one parameter, ``[*shape, ...]``, in the order of :func:`block_axes`."""
    for position, axis in enumerate(axes):
        if isinstance(axis, str):
            continue
        before, after = axes[:position], axes[position + 1 :]
        lengths = [_axes.size_of(part, sizes) for part in _axes.parts_of(axis)]
        if isinstance(axis, Product):
            shape = np.shape(x)
            x = namespace(x).reshape(x, (*shape[:position], *lengths, *shape[position + 1 :]))
            return split_leaf(x, (*before, *axis.factors, *after), sizes)
        pieces = namespace(x).split(x, np.cumsum(lengths)[:-1], axis=position)
        return [
            block
            for piece, term in zip(pieces, axis.terms, strict=True)
            for block in split_leaf(piece, (*before, term, *after), sizes)
        ]
    return [x]


def join_leaf(blocks: Iterable[Any], axes: Sequence[Axis]) -> Any:
    """The inverse of :func:`split_leaf`."""
    return _join(iter(blocks), axes)


def _join(blocks: Iterator[Any], axes: Sequence[Axis]) -> Any:
    for position, axis in enumerate(axes):
        if isinstance(axis, str):
            continue
        before, after = axes[:position], axes[position + 1 :]
        pieces = [_join(blocks, (*before, *part, *after)) for part in _alternatives(axis)]
        if isinstance(axis, Sum):
            return namespace(*pieces).concatenate(pieces, axis=position)
        (piece,) = pieces
        shape, end = piece.shape, position + len(axis.factors)
        length = int(np.prod(shape[position:end], dtype=int))
        return namespace(piece).reshape(piece, (*shape[:position], length, *shape[end:]))
    return next(blocks)
