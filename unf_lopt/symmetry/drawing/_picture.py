"""The picture of a spec: a title, a legend, and the boxes in columns."""

from __future__ import annotations

import dataclasses
import math
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from unf_lopt._files import write_whole
from unf_lopt.symmetry._axes import Product, Sum
from unf_lopt.symmetry.drawing import _boxes
from unf_lopt.symmetry.drawing._boxes import INK, SOFT, TEXT, Box
from unf_lopt.symmetry.drawing._marks import marks_of
from unf_lopt.symmetry.drawing._svg import MONO, SANS, Element, element, seen, wrapped, written

_MARGIN, _BETWEEN = 16.0, 10.0
_NARROW, _WIDE = 210.0, 260.0  # a column
_COLUMNS = 3
_PAGE = "#fbfaf7"
# For a reader whose page is dark; names are within the picture, which may stand inside a page.
_STYLE = """
.unf-spec { max-width: 100%; height: auto }
@media (prefers-color-scheme: dark) {
.unf-spec .page { fill: #151517 }
.unf-spec .card { fill: #1d1d20; stroke: #4a494e }
.unf-spec .ink { fill: #eceae6 }
.unf-spec .soft { fill: #b3b0aa }
.unf-spec .grey { fill: #47464b }
.unf-spec .frame { stroke: #b3b0aa }
.unf-spec .border { stroke: #ffffff }
}
"""


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image as SVG; a notebook shows it.

    Attributes:
      svg: the whole file, as text.
    """

    svg: str = dataclasses.field(repr=False)

    def save(self, path: str | os.PathLike[str]) -> pathlib.Path:
        """Writes the picture to a file, which is there whole or not at all.

        Args:
          path: the file, in a folder that is there.

        Returns:
          The path.

        Raises:
          OSError: it cannot be written there.
          ValueError: the name ends in something else than ``.svg``.
        """
        path = pathlib.Path(path)
        if path.is_dir():
            raise IsADirectoryError(f"save({str(path)!r}): this is a folder; name a file in it.")
        if path.suffix.lower() != ".svg":
            raise ValueError(f"save({str(path)!r}): the picture is SVG; name a file in .svg.")
        if not path.parent.is_dir():
            raise FileNotFoundError(f"save({str(path)!r}): there is no folder {path.parent}.")
        write_whole(path, self.svg.encode())
        return path

    def _repr_svg_(self) -> str:
        return self.svg


def draw(spec: Any, title: str = "") -> Picture:
    """A picture of a spec; see ``PermutationSpec.draw``.

    Args:
      spec: a ``PermutationSpec``.
      title: the heading.
    """
    marks = marks_of(spec)
    parameters = list(zip(spec.paths, spec.shapes, spec.axes, strict=True))
    columns = max(1, min(_COLUMNS, math.ceil(math.sqrt(len(parameters)))))
    natural = max((_boxes.natural_width(*own, marks) for own in parameters), default=0.0)
    column = max(_NARROW, min(_WIDE, natural))
    width = columns * column + (columns - 1) * _BETWEEN
    boxes = [_boxes.parameter(*own, marks, column) for own in parameters]
    entries = [_boxes.legend(space, own, column) for space, own in marks.items() if own.letter]
    heading, top = _heading(title or "Permutation symmetry", _notes(spec), width)
    legend, legend_height = _rows(entries, columns, column)
    content, height = _columns(boxes, columns, column)
    below = top + legend_height + (_BETWEEN if entries else 0.0)
    full, high = width + 2 * _MARGIN, below + height + 2 * _MARGIN
    root = element(
        "svg",
        element("title", text=title or "Permutation symmetry"),
        _lines_of("desc", map(seen, str(spec).splitlines())),
        _lines_of("style", _STYLE.splitlines()),
        element("rect", class_="page", fill=_PAGE, width=full, height=high, rx=8),
        _moved(heading, _MARGIN, _MARGIN),
        _moved(legend, _MARGIN, _MARGIN + top),
        _moved(content, _MARGIN, _MARGIN + below),
        xmlns="http://www.w3.org/2000/svg",
        class_="unf-spec",
        viewBox=f"0 0 {full:g} {high:g}",
        width=full,
        height=high,
        role="img",
        font_family=MONO,
        font_size=TEXT,
    )
    return Picture(written(root))


def _lines_of(tag: str, lines: Iterable[str]) -> Element:
    own = element(tag)
    own.text = "\n".join(lines)
    return own


def _notes(spec: Any) -> str:
    """What letters, colours and signs mean, as far as they occur."""
    groups, axes = len(spec.groups), [axis for own in spec.axes for axis in own]
    count = f"{len(spec.paths)} {'parameter' if len(spec.paths) == 1 else 'parameters'}"
    if not groups:
        return f"{count}. No axis can be permuted: all are fixed."
    notes = [
        f"{count}, {groups} {'group' if groups == 1 else 'groups'} of permutations.",
        "Axes with the same letter are permuted together, grey ones are fixed.",
    ]
    if spec.nested:
        notes.append("A for each B: every index of B has its own permutation of A.")
    kinds = {type(part) for axis in axes for part in _composites(axis)}
    if Product in kinds:
        notes.append("A\u00a0×\u00a0B is one axis that indexes both, A outside.")
    if Sum in kinds:
        notes.append("A\u00a0+\u00a0B is one axis with these segments.")
    return " ".join(notes)


def _composites(axis: Any) -> Iterable[Product | Sum]:
    if isinstance(axis, Product | Sum):
        parts = axis.factors if isinstance(axis, Product) else axis.terms
        if parts:
            yield axis
        for part in parts:
            yield from _composites(part)


def _heading(title: str, notes: str, width: float) -> tuple[Element, float]:
    """The title and the notes under it, and their height."""
    # Letters of a font with serifs or without are narrower than monospaced ones.
    titles = wrapped(title, width * 1.05, 17.0, after=" ")
    lines = wrapped(notes, width * 1.12, 13.0, after=" ")
    large = {"class_": "ink", "fill": INK, "font_size": 17, "font_weight": 600}
    small = {"class_": "soft", "fill": SOFT, "font_size": 13}
    texts = [element("text", text=t, x=0, y=16 + 22 * n, **large) for n, t in enumerate(titles)]
    start = 22 * len(titles)
    texts += [
        element("text", text=t, x=0, y=start + 15 + 18 * n, **small) for n, t in enumerate(lines)
    ]
    return element("g", *texts, font_family=SANS), start + 18.0 * len(lines) + 14


def _rows(boxes: Sequence[Box], columns: int, width: float) -> tuple[Element, float]:
    """Boxes from left to right in rows, and the height of all."""
    group, top = element("g"), 0.0
    for first in range(0, len(boxes), columns):
        row = boxes[first : first + columns]
        for number, box in enumerate(row):
            group.append(_moved(box.drawn, number * (width + _BETWEEN), top))
        top += max(box.height for box in row) + 4
    return group, top


def _columns(boxes: Sequence[Box], columns: int, width: float) -> tuple[Element, float]:
    """Boxes from the top down in columns about equally high, and the height of the highest."""
    if not boxes:
        return element("g"), 0.0
    limit = max([sum(b.height + _BETWEEN for b in boxes) / columns, *(b.height for b in boxes)])
    while max(column for column, _ in _filled(boxes, limit)) >= columns:
        limit += 10
    places = _filled(boxes, limit)
    group = element("g")
    for box, (column, top) in zip(boxes, places, strict=True):
        group.append(_moved(box.drawn, column * (width + _BETWEEN), top))
    return group, max(top + box.height for box, (_, top) in zip(boxes, places, strict=True))


def _filled(boxes: Sequence[Box], limit: float) -> list[tuple[int, float]]:
    """The column and the top of each box, where no column is higher than the limit."""
    places, column, top = [], 0, 0.0
    for box in boxes:
        if top and top + box.height > limit:
            column, top = column + 1, 0.0
        places.append((column, top))
        top += box.height + _BETWEEN
    return places


def _moved(own: Element, left: float, top: float) -> Element:
    own.set("transform", f"translate({left:.1f} {top:.1f})")
    return own
