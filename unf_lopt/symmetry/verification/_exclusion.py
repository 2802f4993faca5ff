"""Ruling out whole families of symmetries at once, at points where nothing else can move.

A spec that is finer or freer than another one splits a group, or moves fixed axes: whole ones,
segments of them (a sum), factors (a product), several together. There are too many to try each.
But at a point where all parameters but one are uniform along the axes in question, whatever moves
them changes that one alone, so that a single number decides for all:

- **A group is not split** between two of its axes if, with the parameters uniform along all its
  other axes, permuting one of the two alone changes the loss. If such pairs connect all its axes,
  no split is a symmetry.
- **A fixed axis stays** if, with the parameters uniform along all fixed axes, the loss tells at
  which index of the axis other entries stand. Every permutation that a spec can express contains
  exchanges of two indices, so then none that moves the axis is a symmetry, be it of the whole
  axis, of segments or factors, alone or together with others.

Both rest on the spec's own groups being symmetries of any finer or freer spec.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from unf_lopt.symmetry import _axes
from unf_lopt.symmetry._axes import Axis, Product
from unf_lopt.symmetry.verification._draws import Point
from unf_lopt.symmetry.verification._loss import PromotedLoss
from unf_lopt.symmetry.verification._moves import Move, Occurrence, WeightSpace, random_permutation


@dataclasses.dataclass(frozen=True, order=True)
class Piece:
    """An axis of a block, at some indices of the fixed axes that stand outside of it.

    The columns ``gates·hidden`` of an LSTM have a piece for each gate: a finer spec may permute
    the hidden units of each by themselves, as a sum.
    """

    occurrence: Occurrence
    outside: tuple[tuple[int, int], ...] = ()

    def entries(self) -> dict[int, int]:
        """The axes of the block at which it stands at one index."""
        return dict(self.outside)


def describe(space: WeightSpace, pieces: Collection[Piece]) -> str:
    """``linear/b axis 0, lstm/w axis 2 at 1 of axis 1``."""
    told = []
    for piece in sorted(pieces):
        at = " and ".join(f"{index} of axis {axis}" for axis, index in piece.outside)
        told.append(space.describe([piece.occurrence]) + (f" at {at}" if at else ""))
    return ", ".join(told)


def pieces_of(space: WeightSpace, group: str, ignored: Collection[int]) -> list[Piece]:
    """The smallest parts of a group's axes that a finer spec can permute by themselves."""
    found = []
    for occurrence in space.occurrences({group}):
        if occurrence.block in ignored:
            continue
        outer = [
            axis
            for axis in _outside(space, occurrence)
            if space.blocks.axes[occurrence.block][axis] in space.spec.fixed
        ]
        sizes = [space.positions[occurrence.block].shape[axis] for axis in outer]
        for indices in itertools.product(*map(range, sizes)):
            found.append(Piece(occurrence, tuple(zip(outer, indices, strict=True))))
    return found


def move_of(space: WeightSpace, pieces: Collection[Piece], permutation: np.ndarray) -> Move:
    """Permutes some pieces, all by the same permutation."""
    move: list[np.ndarray | None] = [None] * len(space.spec.paths)
    changed: dict[int, np.ndarray] = {}
    for piece in sorted(pieces):
        block, axis = piece.occurrence.block, piece.occurrence.axis
        positions = changed.setdefault(block, space.positions[block].copy())
        where = _selection(positions.ndim, piece)
        positions[where] = np.take(positions, permutation, axis)[where]
    for block, positions in changed.items():
        tensor = space.owners[block]
        index = move[tensor]
        if index is None:
            shape = space.spec.shapes[tensor]
            index = move[tensor] = np.arange(int(np.prod(shape, dtype=int))).reshape(shape)
        index.reshape(-1)[space.positions[block]] = positions
    return move


class Exclusion:
    """Rules out splits of groups, and moves of fixed axes.

    Args:
      loss: the loss.
      space: the weight space under the spec.
      points: where to evaluate; their entries are taken for what is not uniform.
      ignored: blocks that are left as they are.
      rng: the source of permutations.
      clear: relative changes of the loss above this are no rounding.
      max_tests: the largest number of evaluations for a group or a fixed axis.

    Attributes:
      tests: how often the loss was evaluated.
      excluded: the fixed axes that no symmetry moves; parameters may vary along them.
    """

    def __init__(
        self,
        loss: PromotedLoss,
        space: WeightSpace,
        points: Sequence[Point],
        ignored: Collection[int],
        rng: np.random.Generator,
        *,
        clear: float,
        max_tests: int,
    ):
        self._loss, self._space, self._points = loss, space, points
        self._ignored, self._rng = ignored, rng
        self._clear, self._max_tests = clear, max_tests
        self.tests = 0
        self.excluded: set[Occurrence] = set()

    def components(self, group: str) -> list[frozenset[Piece]]:
        """The pieces of a group in sets that no symmetry splits."""
        pieces = pieces_of(self._space, group, self._ignored)
        components = [frozenset([piece]) for piece in pieces]
        limit = self.tests + self._max_tests
        for one, other in itertools.combinations(pieces, 2):
            if len(components) == 1 or self.tests >= limit:
                break
            first, second = (next(c for c in components if p in c) for p in (one, other))
            if first is not second and self._are_tied(group, one, other):
                components = [c for c in components if c not in (first, second)]
                components.append(first | second)
        return components

    def exclude_fixed(self, axes: Sequence[Occurrence]) -> dict[Occurrence, list[int] | None]:
        """Rules out as many fixed axes as it can: each that is may help with those that are left.

        Returns:
          For the other axes what :meth:`alike` says of them.
        """
        left: dict[Occurrence, list[int] | None] = dict.fromkeys(axes)
        count = len(left) + 1
        while len(left) < count:
            count = len(left)
            found = {axis: self._alike_or_excluded(axis) for axis in left}
            left = {axis: alike for axis, alike in found.items() if alike != []}
        return left

    def _alike_or_excluded(self, axis: Occurrence) -> list[int] | None:
        alike = self.alike(axis)
        if alike == []:
            self.excluded.add(axis)
        return alike

    def alike(self, axis: Occurrence) -> list[int] | None:
        """The indices of a fixed axis that the loss does not tell from others; None: not tried."""
        size = self._space.positions[axis.block].shape[axis.axis]
        if size > self._max_tests:
            return None
        differ = np.eye(size, dtype=bool)
        for point in self._points:
            values = self._with_one_other(point, axis)
            if values is not None:
                scale = np.max(np.abs(values))
                differ |= np.abs(values[:, None] - values[None, :]) > self._clear * scale
            if differ.all():
                return []
        return [int(index) for index in np.flatnonzero(~differ.all(axis=1))]

    def _are_tied(self, group: str, one: Piece, other: Piece) -> bool:
        for point in self._points:
            inputs = self._uniform(point, {group}, {one, other})
            permutation = random_permutation(self._rng, self._space.spec.spaces[group])
            moved = list(inputs)
            index = move_of(self._space, [one], permutation)
            for position, own in zip(self._space.inputs, index, strict=True):
                if own is not None:
                    moved[position] = np.take(inputs[position], own)
            before, after = self._value(inputs), self._value(moved)
            if abs(after - before) > self._clear * max(abs(before), abs(after)):
                return True
        return False

    def _with_one_other(self, point: Point, axis: Occurrence) -> np.ndarray | None:
        """The loss with other entries at each index of a fixed axis in turn, else uniform."""
        space, fixed = self._space, self._space.spec.fixed
        tensor = space.inputs[space.owners[axis.block]]
        positions = space.positions[axis.block]
        original = point.inputs[tensor].reshape(-1)[positions]
        movable = self._movable(axis.block, fixed)
        lines = _uniform_along(original, [n for n in movable if n != axis.axis])
        usual = np.take(lines, [0], axis.axis)
        unlike = [
            index
            for index in range(1, positions.shape[axis.axis])
            if not np.array_equal(np.take(lines, [index], axis.axis), usual)
        ]
        if not unlike:
            return None
        other = np.take(lines, unlike[:1], axis.axis)
        base = self._uniform(point, fixed, ())
        values = []
        for index in range(positions.shape[axis.axis]):
            inputs = list(base)
            inputs[tensor] = base[tensor].copy()
            where = np.take(positions, [index], axis.axis)
            inputs[tensor].reshape(-1)[where] = other
            values.append(self._value(inputs))
        return np.array(values)

    def _uniform(self, point: Point, spaces: Collection[str], kept: Collection[Piece]) -> list[Any]:
        """The inputs made uniform along the axes of some spaces, but for some pieces."""
        space, inputs = self._space, list(point.inputs)
        for block in range(len(space.blocks.axes)):
            tensor = space.inputs[space.owners[block]]
            along = self._movable(block, spaces)
            if block in self._ignored or not along:
                continue
            positions = space.positions[block]
            original = point.inputs[tensor].reshape(-1)[positions]
            new = _uniform_along(original, along)
            own = [piece for piece in kept if piece.occurrence.block == block]
            for piece in own:
                varied = {p.occurrence.axis for p in own if p.outside == piece.outside}
                where = _selection(positions.ndim, piece)
                new[where] = _uniform_along(original, set(along) - varied)[where]
            if inputs[tensor] is point.inputs[tensor]:
                inputs[tensor] = inputs[tensor].copy()
            inputs[tensor].reshape(-1)[positions] = new
        return inputs

    def _movable(self, block: int, spaces: Collection[str]) -> list[int]:
        """The axes of a block that lie in some spaces and are not excluded."""
        return [
            axis
            for axis, own in enumerate(self._space.blocks.axes[block])
            if own in spaces and Occurrence(block, axis) not in self.excluded
        ]

    def _value(self, inputs: Sequence[Any]) -> complex:
        """The loss; not a number, which tells nothing apart, where it is not finite."""
        self.tests += 1
        value = self._loss(inputs).loss
        return value if np.isfinite(value) else np.nan


def parts_in_doubt(space: WeightSpace) -> list[str]:
    """Axes that are made of several fixed spaces: a freer spec may move across their bounds."""
    found = []
    for path, axes in zip(space.spec.paths, space.spec.axes, strict=True):
        for position, axis in enumerate(axes):
            fixed = [s for s in _axes.spaces_of(axis) if s in space.spec.fixed]
            if len(fixed) > 1:
                found.append(f"{path} axis {position} is made of {len(fixed)} fixed parts")
    return found


def _outside(space: WeightSpace, occurrence: Occurrence) -> list[int]:
    """The axes of a block that stand before one in the same axis of its tensor, in a product."""
    tensor = space.owners[occurrence.block]
    number = occurrence.block - space.owners.index(tensor)
    start = 0
    for width in _widths(space.spec.axes[tensor])[number]:
        if occurrence.axis < start + width:
            return list(range(start, occurrence.axis))
        start += width
    raise ValueError(f"block {occurrence.block} has no axis {occurrence.axis}.")


def _widths(axes: Sequence[Axis]) -> list[tuple[int, ...]]:
    """For every block of a tensor how many axes of the block each axis of the tensor became."""
    return list(itertools.product(*map(_blocks_of, axes)))


def _blocks_of(axis: Axis) -> list[int]:
    """For each block that an axis is cut into, how many axes it has there."""
    if isinstance(axis, str):
        return [1]
    parts = [_blocks_of(part) for part in _axes.parts_of(axis)]
    if isinstance(axis, Product):
        return [sum(own) for own in itertools.product(*parts)]
    return [width for own in parts for width in own]


def _selection(rank: int, piece: Piece) -> tuple[Any, ...]:
    at = piece.entries()
    return tuple(slice(at[n], at[n] + 1) if n in at else slice(None) for n in range(rank))


def _uniform_along(x: np.ndarray, axes: Collection[int]) -> np.ndarray:
    """A copy with the first entries along some axes in the place of all."""
    first = x[tuple(slice(0, 1) if axis in axes else slice(None) for axis in range(x.ndim))]
    return np.broadcast_to(first, x.shape).copy()
