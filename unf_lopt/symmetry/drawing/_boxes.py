"""The boxes of a picture: one for each parameter, one for each space of the legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from unf_lopt.symmetry._axes import Axis
from unf_lopt.symmetry.drawing._marks import Mark, Sign, Tile, described, for_each, parts_shown
from unf_lopt.symmetry.drawing._svg import (
    SANS,
    Element,
    element,
    flowed,
    width_of,
    wrapped,
)

PAD = 10.0
TEXT, _NAME = 12.0, 13.0  # sizes of fonts: of all, and of paths
_LINE = 17.0
_TILE, _FRAME, _GAP = 22.0, 4.0, 6.0  # a tile's height, what an axis adds around it, between axes
INK, SOFT, FIXED, LINE, CARD = "#1c1b19", "#5d5a54", "#dddad3", "#cfcbc2", "#ffffff"


class Box(NamedTuple):
    """What is drawn at the origin, and its height."""

    drawn: Element
    height: float


def natural_width(path: str, shape: Sequence[int], axes: Sequence[Axis], marks: Mapping) -> float:
    """The width in which a parameter's path and its widest axis need one line each."""
    heading = width_of(_path(path), _NAME) + 2 * _GAP + width_of(_shape(shape), TEXT)
    widest = max((_axis_width(parts_shown(axis), marks) for axis in axes), default=0.0)
    return 2 * PAD + max(heading, widest)


def parameter(
    path: str, shape: Sequence[int], axes: Sequence[Axis], marks: Mapping[str, Mark], width: float
) -> Box:
    """The box of a parameter: its path, its shape, and its axes in their order.

    Args:
      path: as the spec has it.
      shape: of the parameter.
      axes: what each of its axes is made of.
      marks: of all spaces.
      width: of the box.
    """
    inner = width - 2 * PAD
    room = inner - 2 * _GAP - width_of(_shape(shape), TEXT)
    lines = wrapped(_path(path), max(room, inner / 3), _NAME)
    parts = [*_name(lines), _right(_shape(shape), width - PAD)]
    top = PAD + _LINE * len(lines) + 5
    drawn = [_axis(number, axis, marks, inner) for number, axis in enumerate(axes)]
    places = flowed([wide for _, wide, _ in drawn], inner, _GAP)
    heights = [0.0] * (1 + max((line for _, line in places), default=-1))
    for (_, _, high), (_, line) in zip(drawn, places, strict=True):
        heights[line] = max(heights[line], high)
    for (own, _, _), (left, line) in zip(drawn, places, strict=True):
        own.set("transform", f"translate({PAD + left:.1f} {top + sum(heights[:line]):.1f})")
        parts.append(own)
    height = top + sum(heights) + (PAD - _FRAME if axes else PAD - 5)
    words = ", ".join(described(axis, marks) for axis in axes)
    title = element("title", text=f"{_path(path)}, {_shape(shape)}{': ' if words else ''}{words}")
    group = element("g", title, _card(width, height), *parts, class_="parameter")
    return Box(group, height)


def legend(space: str, own: Mark, width: float) -> Box:
    """The entry of a space in the legend: its tile, its name, its size, how many axes it moves."""
    left = 44.0
    lines = wrapped(space, width - left, TEXT)
    tile, wide = _tile(Mark(own.letter, 0, own.axes, own.colour, own.border))
    tile.set("transform", f"translate({max(left - 8 - wide, 0.0):.1f} 3)")
    axes = f"{own.axes} {'axis' if own.axes == 1 else 'axes'}"
    said = f"size {own.size}, " + (f"permutes {axes}" if own.colour else f"fixed, {axes}")
    more = f"of its own{for_each(own)}" if own.outer else ""
    names = [
        element("text", text=line, x=left, y=_LINE * (number + 1) - 3, class_="ink", fill=INK)
        for number, line in enumerate(lines)
    ]
    notes = [said, *(wrapped(more, 1.12 * (width - left), TEXT, after=" ") if more else ())]
    for number, line in enumerate(notes, len(lines)):
        note = element("text", text=line, x=left, y=_LINE * (number + 1) - 4, font_family=SANS)
        note.attrib |= {"class": "soft", "fill": SOFT}
        names.append(note)
    kind = "group" if own.colour else "fixed"
    title = element("title", text=f"{space}: " + ", ".join(filter(None, (said, more))))
    group = element("g", title, tile, *names)
    group.set("class", f"legend {kind}")
    return Box(group, _LINE * (len(lines) + len(notes)) + 5)


def _path(path: str) -> str:
    return path or "(the only parameter)"


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "scalar"


def _name(lines: Sequence[str]) -> list[Element]:
    """The path: what is after its last slash in bold, and the way to it softer."""
    found = []
    for number, line in enumerate(lines):
        before, slash, last = line.rpartition("/") if number == len(lines) - 1 else (line, "", "")
        soft = element("tspan", text=before + slash, class_="soft", fill=SOFT)
        bold = element("tspan", text=last, class_="ink", fill=INK, font_weight="600")
        spans = [span for span in (soft, bold) if span.text]
        y = PAD + _LINE * number + 12
        text = element("text", *spans, x=PAD, y=y, font_size=_NAME)
        found.append(text)
    return found


def _right(shape: str, right: float) -> Element:
    place = {"x": right, "y": PAD + 12, "text_anchor": "end"}
    return element("text", text=shape, class_="soft", fill=SOFT, **place)


def _card(width: float, height: float) -> Element:
    place = {"x": 0.5, "y": 0.5, "width": width - 1, "height": height - 1, "rx": 6}
    return element("rect", class_="card", fill=CARD, stroke=LINE, **place)


def _axis(
    number: int, axis: Axis, marks: Mapping[str, Mark], limit: float
) -> tuple[Element, float, float]:
    """An axis at the origin, its width and its height; one of several tiles has a frame."""
    parts = parts_shown(axis)
    drawn = [_part(part, marks) for part in parts]
    framed = len(parts) > 1
    inside = limit - 2 * _FRAME
    places = flowed([wide for _, wide in drawn], inside, 2.0)
    wide = max(left + own for (left, _), (_, own) in zip(places, drawn, strict=True))
    lines = 1 + places[-1][1]
    height = lines * (_TILE + _FRAME)
    for (own, _), (left, line) in zip(drawn, places, strict=True):
        shift = _FRAME if framed else 0.0
        own.set(
            "transform", f"translate({left + shift:.1f} {line * (_TILE + _FRAME) + _FRAME:.1f})"
        )
    title = element("title", text=f"axis {number}: {described(axis, marks)}")
    full = wide + (2 * _FRAME if framed else 0.0)
    frame = {"x": 0.5, "y": 0.5, "width": full - 1, "height": height + _FRAME - 1, "rx": 6}
    outline = element("rect", class_="frame", fill="none", stroke=SOFT, **frame)
    content = [outline] if framed else []
    group = element("g", title, *content, *(own for own, _ in drawn), class_="axis")
    return group, full, height + _FRAME + (_FRAME if framed else 0.0)


def _axis_width(parts: Sequence[Tile | Sign], marks: Mapping[str, Mark]) -> float:
    widths = [_part(part, marks)[1] for part in parts]
    return sum(widths) + 2.0 * (len(widths) - 1) + 2 * _FRAME


def _part(part: Tile | Sign, marks: Mapping[str, Mark]) -> tuple[Element, float]:
    if isinstance(part, Sign):
        wide = width_of(part.text, TEXT) + 2
        text = element("text", text=part.text, x=wide / 2, y=15.5, text_anchor="middle", fill=SOFT)
        text.set("class", "soft")
        return element("g", text, class_="sign"), wide
    if part.space is None:
        return _tile(Mark("", 1, 0))
    return _tile(marks[part.space])


def _tile(own: Mark) -> tuple[Element, float]:
    """A tile: the letter of its space and the size, on the space's colour."""
    size = str(own.size) if own.size else ""
    text = " ".join(part for part in (own.letter, size) if part) or "–"
    wide = max(width_of(text, TEXT) + 12, _TILE)
    fill, ink = own.colour or (FIXED, INK)
    shade = "" if own.colour else "grey"
    border, dashes = own.border
    inset = border / 2
    shape = {"x": inset, "y": inset, "width": wide - border, "height": _TILE - border, "rx": 4}
    rect = element("rect", class_=shade, fill=fill, **shape)
    if border:
        rect.attrib |= {"stroke": INK, "stroke-width": f"{border:g}", "class": "border"}
        if dashes:
            rect.set("stroke-dasharray", dashes)
    spans = [
        element("tspan", text=own.letter + (" " if size else ""), font_weight="700"),
        element("tspan", text=size if own.letter else text),
    ]
    label = element("text", *(span for span in spans if (span.text or "").strip()))
    label.attrib |= {"x": f"{wide / 2:.1f}", "y": "15.5", "text-anchor": "middle", "fill": ink}
    if not own.colour:
        label.set("class", "ink")
    return element("g", rect, label, class_="tile"), wide
