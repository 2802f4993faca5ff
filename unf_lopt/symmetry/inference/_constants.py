"""Which permutations leave a constant array as it is, axis by axis.

A constant C may have axes of which permutations are free only if all of these leave it unchanged:
``C[g(i), …] = C[i, …]`` bit for bit. Three kinds are looked for. An axis along which C does not
vary is free. One along which it has few values, one after another (``np.repeat([1, 2, 3], 4)``),
is a sum of free segments. Two axes of a matrix with one value on its diagonal and another off it
(the identity) are permuted together. All others are frozen.

Each kind holds whatever is done to the other axes, so all axes of an array may have their own.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np

from unf_lopt.symmetry.inference._graph import AxisGraph, Node

# Data that a loss closes over have neighbours that happen to be equal: pixels that are always
# zero, classes without an example. Blocks that somebody made are few and have no single entries.
MOST_SEGMENTS = 16
SHORTEST_SEGMENT = 2


@dataclasses.dataclass(frozen=True)
class Pattern:
    """The permutations of an array's axes that leave it as it is.

    Attributes:
      segments: for each axis the sizes of its free segments, one if it is free as a whole; none if
        it is frozen or permuted with another.
      pairs: axes that are permuted together, two and two.
    """

    segments: tuple[tuple[int, ...], ...]
    pairs: tuple[tuple[int, int], ...] = ()

    def is_uniform(self, axis: int) -> bool:
        """Whether the array does not vary along an axis."""
        return len(self.segments[axis]) == 1

    def is_frozen(self, axis: int) -> bool:
        """Whether no permutation of an axis is free."""
        return not self.segments[axis] and axis not in itertools.chain(*self.pairs)

    def of_whole_axes(self) -> Pattern:
        """The same without segments and pairs."""
        return Pattern(tuple(own if len(own) == 1 else () for own in self.segments))

    def nodes(self, graph: AxisGraph, frozen: Iterable[Node]) -> list[Node]:
        """New axes that are as free as the pattern says; those that are frozen are given."""
        nodes = [
            graph.sum([graph.leaf(size) for size in own]) if own else node
            for own, node in zip(self.segments, frozen, strict=True)
        ]
        for first, second in self.pairs:
            nodes[first] = nodes[second] = graph.leaf(nodes[first].size)
        return nodes


class Constant(tuple[Node, ...]):
    """The axes of an array whose entries are known.

    Attributes:
      entries: an array of its shape whose entries are equal only where those of the array are.
      are_numbers: whether they are the very numbers of the array: integers or booleans.
      pattern: what each use of the array gets new axes by; None to use these axes as they are.
    """

    entries: np.ndarray
    are_numbers: bool
    pattern: Pattern | None

    @classmethod
    def of(
        cls,
        nodes: Iterable[Node],
        entries: np.ndarray,
        are_numbers: bool,
        pattern: Pattern | None = None,
    ) -> Constant:
        """Axes that exist already."""
        constant = cls(nodes)
        constant.entries, constant.are_numbers, constant.pattern = entries, are_numbers, pattern
        return constant


def entries_of(value: Any, dtype: Any = None) -> tuple[np.ndarray, bool]:
    """Integers that are equal only where the entries of an array are, bit for bit.

    Zero and minus zero are not equal, for their inverses are not.

    Args:
      value: an array or number, not of keys.
      dtype: its type, if a Python number does not say it.

    Returns:
      The integers, and whether they are the entries themselves.
    """
    array = np.asarray(value, dtype)
    if array.dtype.kind in "biu":
        return array, True
    if array.dtype.itemsize in (1, 2, 4, 8):
        return array.view(f"u{array.dtype.itemsize}"), False
    if array.dtype.kind == "c":
        parts = np.real(array).view("u8"), np.imag(array).view("u8")
        return labels(parts, array.shape), False
    return np.arange(array.size).reshape(array.shape), False  # of which nothing is known


def labels(arrays: Iterable[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Integers that are equal only where the entries of each of several integer arrays are.

    Args:
      arrays: of this shape, or broadcast to it.
      shape: of the result.
    """
    total, count = np.zeros(shape, np.int64), 1
    for array in arrays:
        if array.size == 1:
            continue
        ranks, own = _ranks(array)
        if count * own > 2**62:
            total, count = _ranks(total)
        total, count = total * own + ranks, count * own
    return total


def _ranks(array: np.ndarray) -> tuple[np.ndarray, int]:
    """Integers from 0 that are equal only where those are, and a number that all are below."""
    array = array.astype(np.int64, copy=False)  # larger ones become negative, each another
    low, high = int(array.min()), int(array.max())
    if high - low < 2**20:
        return array - low, high - low + 1
    values, ranks = np.unique(array, return_inverse=True)
    return ranks.reshape(array.shape), len(values)


def pattern_of(entries: np.ndarray) -> Pattern:
    """The permutations that leave an array of one or more entries as it is."""
    segments = tuple(_segments(entries, axis) for axis in range(entries.ndim))
    pairs: list[tuple[int, int]] = []
    remaining = [axis for axis, own in enumerate(segments) if not own]
    while remaining:
        axis, *others = remaining
        other = next((n for n in others if _is_diagonal(entries, axis, n)), None)
        if other is not None:
            pairs.append((axis, other))
        remaining = [n for n in others if n != other]
    return Pattern(segments, tuple(pairs))


def _segments(entries: np.ndarray, axis: int) -> tuple[int, ...]:
    """The sizes of the free segments of an axis; none if it is frozen."""
    slices = np.moveaxis(entries, axis, 0)
    first = slices[(slice(None), *(0,) * (slices.ndim - 1))]
    if _runs(first[1:] != first[:-1]):  # or else there is no need to compare whole slices
        differ = slices[1:] != slices[:-1]
        return _runs(differ.any(axis=tuple(range(1, slices.ndim))))
    return ()


def _runs(changes: np.ndarray) -> tuple[int, ...]:
    """Lengths of the runs between changes, none where these are no segments."""
    ends = [*(np.flatnonzero(changes) + 1).tolist(), len(changes) + 1]
    lengths = tuple(end - start for start, end in itertools.pairwise([0, *ends]))
    if len(lengths) == 1 or (len(lengths) <= MOST_SEGMENTS and min(lengths) >= SHORTEST_SEGMENT):
        return lengths
    return ()


def _is_diagonal(entries: np.ndarray, axis: int, other: int) -> bool:
    """Whether a matrix of two axes that vary is one value on its diagonal and one off it.

    At each place of the other axes, these may be other values.
    """
    size = entries.shape[axis]
    if entries.shape[other] != size:
        return False
    matrix = np.moveaxis(entries, (axis, other), (0, 1))
    if (matrix[0, 1] != matrix[1, 0]).any() or (matrix[0, 0] != matrix[1, 1]).any():
        return False  # cheap, and nearly always so
    diagonal = np.arange(size)
    if (matrix[diagonal, diagonal] != matrix[0, 0]).any():
        return False
    is_alike = matrix == matrix[0, 1]
    is_alike[diagonal, diagonal] = True
    return bool(is_alike.all())
