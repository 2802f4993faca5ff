"""Spaces nested in others: a permutation of its own for every index of the outer ones.

The width of an attention's heads is one: the heads may change places, and within each head the
units may, whatever those of other heads do. The group is the wreath product of both.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from unf_lopt.symmetry import _views
from unf_lopt.symmetry._arrays import namespace
from unf_lopt.symmetry._axes import Axis, spaces_of
from unf_lopt.symmetry._errors import SpecError

Nested = Mapping[str, tuple[str, ...]]


def companions(axes: Sequence[str], nested: Nested) -> tuple[tuple[int, ...], ...]:
    """Which axes of a block say which permutation applies to each of its axes.

    Args:
      axes: the space of every axis of a plain block.
      nested: ``{inner space: its outer spaces}``.

    Returns:
      For every axis the positions of its outer axes, in the order in which ``nested`` has them;
      none for an axis whose space is not nested. Where an outer space has one axis in the block,
      it is that; where it has as many as the inner one, the first goes with the first, and so on.

    Raises:
      SpecError: an outer space has no axis in the block, or another number of them.
    """
    found = []
    for position, space in enumerate(axes):
        own = []
        for outer in nested.get(space, ()):
            places = [i for i, other in enumerate(axes) if other == outer]
            inner = [i for i, other in enumerate(axes) if other == space]
            if len(places) not in (1, len(inner)):
                raise SpecError(
                    f"'{space}' is nested in '{outer}', but axes {tuple(axes)} have {len(inner)} "
                    f"of the one and {len(places)} of the other: every axis of a nested space "
                    "needs one of its outer space beside it."
                )
            own.append(places[inner.index(position) if len(places) > 1 else 0])
        found.append(tuple(own))
    return tuple(found)


def checked_nesting(spec: Any) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """A spec's nesting with spaces in the spec's order.

    Raises:
      SpecError: it is none: a space is unknown, fixed or nested in itself, an outer space is nested
        in one in which the inner one is not, or a block lacks an outer axis.
    """
    order = {space: number for number, (space, _) in enumerate(spec.sizes)}
    nested = {inner: tuple(outers) for inner, outers in spec.nesting}
    for inner, outers in nested.items():
        unknown = sorted({inner, *outers} - order.keys())
        if unknown:
            raise SpecError(f"nested: {unknown} are no spaces; they are {list(order)}.")
        if inner in spec.fixed:
            raise SpecError(f"nested: '{inner}' is fixed; only a group has permutations.")
        if not outers or inner in outers or len(set(outers)) < len(outers):
            raise SpecError(f"nested: '{inner}' in {outers}: name one or more other spaces, once.")
        missing = sorted({o for outer in outers for o in nested.get(outer, ())} - set(outers))
        if missing:
            raise SpecError(
                f"nested: '{inner}' is nested in {outers}, of which one is nested in {missing}; "
                f"so must '{inner}' be, and never in itself."
            )
    in_order = {
        inner: tuple(sorted(nested[inner], key=order.__getitem__))
        for inner in sorted(nested, key=order.__getitem__)
    }
    for path, axes in zip(spec.paths, spec.axes, strict=True):
        for block in _views.block_axes(axes):
            try:
                companions(block, in_order)
            except SpecError as error:
                raise SpecError(f"'{path}': {error}") from None
    return tuple(in_order.items())


def permuted_block(
    x: Any,
    axes: Sequence[str],
    permutation: Mapping[str, Any],
    nested: Nested,
    but: Collection[int] = (),
) -> Any:
    """A plain block with a group element applied to it.

    Args:
      x: ``[*block, ...]``; trailing axes are channels.
      axes: the space of every axis of the block.
      permutation: ``{space: index array}``, of a nested space ``[*outer sizes, size]``.
      nested: ``{inner space: its outer spaces}``.
      but: positions of axes that stay as they are.
    """
    is_moved = [space in permutation and i not in but for i, space in enumerate(axes)]
    moved = list(itertools.compress(axes, is_moved))
    if not moved:
        return x
    xp = namespace(x, *(permutation[space] for space in moved))
    if nested.keys().isdisjoint(moved):
        for position, space in enumerate(axes):
            if is_moved[position]:
                x = xp.take(x, xp.asarray(permutation[space]), axis=position)
        return x
    index = []
    for position, (space, outer) in enumerate(zip(axes, companions(axes, nested), strict=True)):
        places = (*outer, position) if is_moved[position] else (position,)
        own = permutation[space] if is_moved[position] else np.arange(x.shape[position])
        ascending = sorted(places)
        own = xp.transpose(xp.asarray(own), [places.index(place) for place in ascending])
        index.append(own.reshape([x.shape[p] if p in places else 1 for p in range(len(axes))]))
    return x[tuple(index)]


def permuted_parameter(
    x: Any,
    axes: Sequence[Axis],
    sizes: Mapping[str, int],
    permutation: Mapping[str, Any],
    nested: Nested,
) -> Any:
    """The same for a parameter whose axes are made of spaces."""
    permutation = {
        space: index
        for space, index in permutation.items()
        if any(space in spaces_of(axis) for axis in axes)
    }
    blocks = zip(_views.split_leaf(x, axes, sizes), _views.block_axes(axes), strict=True)
    moved = [permuted_block(block, own, permutation, nested) for block, own in blocks]
    return _views.join_leaf(moved, axes)


def composed(first: Mapping[str, Any], second: Mapping[str, Any], nested: Nested) -> dict[str, Any]:
    """The index arrays of ``first`` and then ``second``: those of the one, moved by the other."""
    found = {name: namespace(index).asarray(index) for name, index in second.items()}
    for name, index in first.items():
        index = namespace(index).asarray(index)
        found[name] = permuted_block(index, (*nested.get(name, ()), name), second, nested)
    return found


def inverted(permutation: Mapping[str, Any], nested: Nested) -> dict[str, Any]:
    """The index arrays of the inverse: outer spaces first, for they move those of inner ones."""
    found: dict[str, Any] = {}
    for name in sorted(permutation, key=lambda name: len(nested.get(name, ()))):
        xp, outer = namespace(permutation[name]), nested.get(name, ())
        own = xp.argsort(xp.asarray(permutation[name]), axis=-1)
        of_outer = {space: found[space] for space in outer if space in found}
        found[name] = permuted_block(own, (*outer, name), of_outer, nested)
    return {name: found[name] for name in permutation}
