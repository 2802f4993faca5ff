"""Elements of an SVG, and how much room text takes in it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree

Element = ElementTree.Element

MONO = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace"
SANS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
_ADVANCE = 0.605  # of a monospaced character, in sizes of the font

# What XML has no way to write, and what would turn around or break the text beside it.
_UNSEEN = re.compile(
    "[^\x20-\x7e\xa0-\u2027\u2030-\u2065\u206a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)


def seen(text: str) -> str:
    """The text with every character that cannot be written, or not be seen, as its code."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def element(tag: str, *children: Element, text: str = "", **attributes: object) -> Element:
    """An element.

    Args:
      tag: its name.
      children: in this order.
      text: before the children.
      attributes: ``font_size`` is ``font-size``, ``class_`` is ``class``; numbers are rounded.
    """
    named = {name.strip("_").replace("_", "-"): value for name, value in attributes.items()}
    own = Element(
        tag, {name: seen(_written(value)) for name, value in named.items() if value != ""}
    )
    own.text = seen(text) or None
    own.extend(children)
    return own


def written(root: Element) -> str:
    """The element as text, each of its parts on a line of its own."""
    for group in root.iter("g"):
        for child in group:
            child.tail = "\n"
    for child in root:
        child.tail = "\n"
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _written(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


def width_of(text: str, size: float) -> float:
    """The width of a text in a monospaced font of a size."""
    return size * _ADVANCE * sum(map(_cells, seen(text)))


def _cells(character: str) -> int:
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def wrapped(text: str, width: float, size: float, after: str = "/") -> list[str]:
    """A text in lines no wider than a width, broken after a character where that is possible.

    There are as few lines as can be, and they are about equally long; joined they are the text.
    """
    lines = _filled(text, width, size, after)
    while len(lines) > 1:
        width -= size / 2
        narrower = _filled(text, width, size, after)
        if len(narrower) > len(lines):
            break
        lines = narrower
    return lines


def _filled(text: str, width: float, size: float, after: str) -> list[str]:
    """Each line is as long as it can be."""
    lines, line = [], ""
    for piece in _pieces(seen(text), after, width, size):
        if line and width_of(line + piece, size) > width:
            lines.append(line)
            line = ""
        line += piece
    return [*lines, line]


def _pieces(text: str, after: str, width: float, size: float) -> Iterator[str]:
    for piece in re.findall(f"[^{re.escape(after)}]*{re.escape(after)}|.+$", text):
        while width_of(piece, size) > width and len(piece) > 1:
            count = 1
            while width_of(piece[: count + 1], size) <= width:
                count += 1
            yield piece[:count]
            piece = piece[count:]
        yield piece


def flowed(widths: Sequence[float], limit: float, gap: float) -> list[tuple[float, int]]:
    """Where things stand that follow each other in lines: the left edge and the line of each."""
    places, left, line = [], 0.0, 0
    for width in widths:
        if left and left + width > limit:
            left, line = 0.0, line + 1
        places.append((left, line))
        left += width + gap
    return places
