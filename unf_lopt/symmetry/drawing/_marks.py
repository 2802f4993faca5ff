"""Letters, colours and borders of the spaces of a picture."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from typing import Any, NamedTuple

from unf_lopt.symmetry import _axes
from unf_lopt.symmetry._axes import Axis, Product, Sum

# Okabe and Ito's colours, which people with any colour vision tell apart, and the text on each.
COLOURS = (
    ("#56b4e9", "#111111"),
    ("#e69f00", "#111111"),
    ("#009e73", "#111111"),
    ("#cc79a7", "#111111"),
    ("#0072b2", "#ffffff"),
    ("#f0e442", "#111111"),
    ("#d55e00", "#111111"),
)
# Where there are more groups than colours: (width, dashes) of what is drawn around the tile.
BORDERS = ((0.0, ""), (2.0, ""), (2.0, "3 2"))
_RUN = 3  # terms of a sum that are alike and still written out


class Mark(NamedTuple):
    """How a space is shown.

    Attributes:
      letter: stands on its tiles; empty for a fixed space of a single axis.
      size: of the space.
      axes: on how many axes of parameters it lies.
      colour: of its tiles and of the text on them; None for a fixed space.
      border: of its tiles, width and dashes.
      outer: the letters, or names, of the spaces that it is nested in.
    """

    letter: str
    size: int
    axes: int
    colour: tuple[str, str] | None = None
    border: tuple[float, str] = BORDERS[0]
    outer: tuple[str, ...] = ()


class Tile(NamedTuple):
    """A space within an axis; None for an axis of size 1, which has none."""

    space: str | None


class Sign(NamedTuple):
    """What stands between tiles: ×, + or a bracket."""

    text: str


def marks_of(spec: Any) -> dict[str, Mark]:
    """The marks of all spaces, groups before fixed spaces, in order of first appearance.

    Args:
      spec: a ``PermutationSpec``.
    """
    counts = collections.Counter(
        space for own in spec.axes for axis in own for space in dict.fromkeys(_axes.spaces_of(axis))
    )
    found = {}
    for number, (space, size) in enumerate(spec.groups.items()):
        turn, colour = divmod(number, len(COLOURS))
        border = BORDERS[turn % len(BORDERS)]
        found[space] = Mark(_letters(number), size, counts[space], COLOURS[colour], border)
    fixed = {space: size for space, size in spec.spaces.items() if space in spec.fixed}
    shared = [space for space in fixed if counts[space] > 1]
    for space, size in fixed.items():
        letter = _letters(shared.index(space)).lower() if space in shared else ""
        found[space] = Mark(letter, size, counts[space])
    for space, outers in spec.nested.items():
        letters = tuple(found[outer].letter or outer for outer in outers)
        found[space] = found[space]._replace(outer=letters)
    return found


def _letters(number: int) -> str:
    """A to Z, then AA, AB and so on."""
    rest, last = divmod(number, 26)
    return (_letters(rest - 1) if rest else "") + chr(ord("A") + last)


def parts_shown(axis: Axis) -> list[Tile | Sign]:
    """The tiles of an axis and the signs between them, from left to right.

    A factor or term that is made of several tiles itself is in brackets where it must be. Terms
    that are alike and follow each other in great number, as the gates of an LSTM, are one, with
    their number before it.
    """
    if isinstance(axis, str):
        return [Tile(axis)]
    if isinstance(axis, Product):
        if not axis.factors:
            return [Tile(None)]
        return _joined([_factor(factor) for factor in axis.factors], "×")
    return _joined(_terms(axis), "+")


def _terms(axis: Sum) -> list[list[Tile | Sign]]:
    runs: list[list[Any]] = []
    for term in axis.terms:
        if runs and runs[-1][0] == term:
            runs[-1][1] += 1
        else:
            runs.append([term, 1])
    found = []
    for term, count in runs:
        if count > _RUN:
            found.append([Sign(f"{count} ·"), *_factor(term)])
        else:
            found += [parts_shown(term)] * count
    return found


def _factor(axis: Axis) -> list[Tile | Sign]:
    shown = parts_shown(axis)
    return [Sign("("), *shown, Sign(")")] if len(shown) > 1 else shown


def _joined(parts: list[list[Tile | Sign]], sign: str) -> list[Tile | Sign]:
    found = list(parts[0])
    for part in parts[1:]:
        found += [Sign(sign), *part]
    return found


def described(axis: Axis, marks: Mapping[str, Mark]) -> str:
    """An axis in words: the names of its spaces, what they are and their sizes."""

    def name(space: str) -> str:
        own = marks[space]
        kind = f"{own.letter}{for_each(own)}, " if own.colour else "fixed, "
        return f"{space} ({kind}{own.size})"

    return _axes.show(axis, name)


def for_each(own: Mark) -> str:
    """That a group has a permutation of its own for each index of others, if it has."""
    return " for each " + " and ".join(own.outer) if own.outer else ""
