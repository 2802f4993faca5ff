"""Larger groups on axes that a spec makes of several parts: a product or sum as one space.

A spec that says ``heads*width`` where all units may change places lacks symmetries although no
axis of it is fixed. A freer spec can make one space of neighbouring factors or terms, wherever
these stand side by side; if they stand in other places too, it splits their groups there, and
splits are ruled out by themselves. Next to a group in a sum a fixed segment may also give a
single entry to it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from unf_lopt.symmetry import _axes
from unf_lopt.symmetry._axes import Axis, Product, Sum
from unf_lopt.symmetry.verification._moves import Move, WeightSpace


@dataclasses.dataclass(frozen=True)
class Merge:
    """Neighbouring parts of an axis that might be one space.

    Attributes:
      whole: the parts, as a product or sum.
      start: the first entry of them that moves.
      stop: the end of those that move.
    """

    whole: Product | Sum
    start: int
    stop: int


def merges_of(space: WeightSpace) -> list[Merge]:
    """All merges that contain a group, each once."""
    axes = (axis for own in space.spec.axes for axis in own)
    return list(dict.fromkeys(merge for axis in axes for merge in _merges(axis, space)))


def _merges(axis: Axis, space: WeightSpace) -> Iterator[Merge]:
    if isinstance(axis, str):
        return
    parts = _axes.parts_of(axis)
    for part in parts:
        yield from _merges(part, space)
    for start in range(len(parts)):
        for stop in range(start + 2, len(parts) + 1):
            run = type(axis)(parts[start:stop])
            if not space.spec.fixed.issuperset(_axes.spaces_of(run)):
                yield Merge(run, 0, _axes.size_of(run, space.spec.spaces))
                if isinstance(run, Sum) and stop == start + 2:
                    yield from _with_one_entry(run, space)


def _with_one_entry(pair: Sum, space: WeightSpace) -> Iterator[Merge]:
    """A group and the entry of its fixed neighbour that stands next to it."""
    first, second = (_axes.size_of(term, space.spec.spaces) for term in pair.terms)
    fixed = [space.spec.fixed.issuperset(_axes.spaces_of(term)) for term in pair.terms]
    if fixed[0]:
        yield Merge(pair, first - 1, first + second)
    if fixed[1]:
        yield Merge(pair, 0, first + 1)


def merged_move(space: WeightSpace, merge: Merge, rng: np.random.Generator) -> Move:
    """A random permutation of the merged parts, wherever they stand side by side."""
    length = _axes.size_of(merge.whole, space.spec.spaces)
    index = np.arange(length)
    index[merge.start : merge.stop] = rng.permutation(index[merge.start : merge.stop])
    move: list[np.ndarray | None] = []
    for shape, axes in zip(space.spec.shapes, space.spec.axes, strict=True):
        entries = np.arange(int(np.prod(shape, dtype=int))).reshape(shape)
        for position, axis in enumerate(axes):
            marked = _with_run(axis, merge.whole)
            along = _axes.index_of(marked, {_RUN: index}, {**space.spec.spaces, _RUN: length}, np)
            entries = np.take(entries, along, position)
        move.append(entries)
    return move


_RUN = "the merged parts"


def _with_run(axis: Axis, run: Product | Sum) -> Axis:
    """The axis with a space of its own in the place of each run of parts."""
    if isinstance(axis, str):
        return axis
    parts, wanted = list(_axes.parts_of(axis)), list(_axes.parts_of(run))
    found: list[Axis] = []
    while parts:
        if type(axis) is type(run) and parts[: len(wanted)] == wanted:
            found.append(_RUN)
            parts = parts[len(wanted) :]
        else:
            found.append(_with_run(parts.pop(0), run))
    return type(axis)(tuple(found))
