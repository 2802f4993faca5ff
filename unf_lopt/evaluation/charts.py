"""Charts as SVG for a page without a network; colours and fonts are the page's."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

WIDTH, HEIGHT = 440, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 10, 40
_COLOURS = 8
_ROW = 22  # of a chart of dots


class Series(NamedTuple):
    """A line.

    Attributes:
      name: of the legend.
      values: one a place, [places]; what is not finite is not drawn.
      low: the band's lower edge, or None for no band.
      high: its upper edge.
      dashed: whether the line is broken.
      colour: which of the page's.
    """

    name: str
    values: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    dashed: bool = False
    colour: int = 0


class Dot(NamedTuple):
    """A dot and its interval.

    Attributes:
      value: 0 where it is not reached.
      bounds: the interval, or None.
      colour: which of the page's.
    """

    value: float
    bounds: Sequence[float] | None
    colour: int


class Scale:
    """From values to pixels, and ticks between.

    Args:
      low: the smallest value.
      high: the largest.
      start: the smallest's pixel.
      end: the largest's.
      log: whether equal ratios are equally far apart.
    """

    def __init__(self, low: float, high: float, start: float, end: float, *, log: bool):
        self._log = log
        self._low, self._high = self._of(low), self._of(high)
        if not self._high > self._low:
            self._low, self._high = self._low - 0.5, self._high + 0.5
        self._start, self._end = start, end

    def __call__(self, value: Any) -> Any:
        """The pixel, or pixels, of a value."""
        share = (self._of(value) - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)

    def ticks(self) -> list[float]:
        """Round values between, few enough to be told apart."""
        if not self._log:
            step = _round_step((self._high - self._low) / 4)
            first = math.ceil(self._low / step - 1e-9)
            return [n * step for n in range(first, math.floor(self._high / step + 1e-9) + 1)]
        decades = self._high - self._low
        if decades > 2.2:
            step = max(1, round(decades / 5))
            first, last = math.ceil(self._low - 1e-9), math.floor(self._high + 1e-9)
            return [10.0**n for n in range(first, last + 1, step)]
        first, last = math.floor(self._low), math.ceil(self._high)
        found = [m * 10.0**n for n in range(first, last + 1) for m in (1, 2, 3, 5)]
        found = [x for x in found if decades < 1 or not f"{x:e}".startswith("3")]
        inside = [x for x in found if self._low <= math.log10(x) <= self._high]
        return inside if len(inside) > 1 else [10**self._low, 10**self._high]

    def _of(self, value: Any) -> Any:
        return np.log10(value) if self._log else np.asarray(value, float)


def lines(
    places: np.ndarray,
    series: Sequence[Series],
    *,
    title: str,
    note: str,
    unit: str,
    log_x: bool = False,
    log_y: bool = True,
    ceiling: float | None = None,
    at_rest: str = "end",
) -> str:
    """A figure with lines, bands, a legend and a reading of the values.

    Args:
      places: where the values are, [places].
      series: the lines.
      title: of the figure.
      note: under it, what lines and bands are.
      unit: of the places, for their axis and for the reading.
      log_x: whether the places' axis is logarithmic.
      log_y: whether the values' axis is, where all are positive.
      ceiling: values above are cut off, so that one line that diverges leaves room for the others.
      at_rest: which values the legend has while nothing is read: "end" or "lowest".
    """
    low, high, log_y = _range(series, log_y, ceiling)
    x = Scale(places[0], places[-1], _LEFT, WIDTH - _RIGHT, log=log_x)
    y = Scale(low, high, HEIGHT - _BOTTOM, _TOP, log=log_y)
    parts = [
        _frame(),
        *(_tick_x(x, tick) for tick in x.ticks()),
        *(_tick_y(y, t) for t in y.ticks()),
    ]
    parts.append(
        f'<text x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{HEIGHT - 4}" text-anchor="middle">'
        f"{html.escape(unit)}</text>"
    )
    pixels = x(places)
    parts += [_line(pixels, own, y, (low, high)) for own in series]
    parts.append(f'<line class="cursor" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}" x1="0" x2="0"/>')
    described = "; ".join(f"{own.name} ends at {_short(own.values[-1])}" for own in series)
    data = {
        "unit": unit,
        "pixels": [round(float(pixel), 1) for pixel in pixels],
        "places": [_short(place) for place in places],
        "values": [[_json(value) for value in own.values] for own in series],
        "rest": [_json(_at_rest(own, at_rest)) for own in series],
    }
    how = f"Values at the {at_rest}" if at_rest == "end" else "Lowest values"
    reading = f"{how}. Point at the chart, or focus it and use the arrow keys."
    legend = _legend(series, at_rest)
    return _figure(title, note, "".join(parts), HEIGHT, described, legend, data, reading)


def dots(
    rows: Mapping[str, Sequence[Dot]], *, title: str, note: str, colours: Mapping[str, int]
) -> str:
    """A figure with dots and intervals in each row, on a logarithmic axis; 1 is marked.

    What is not reached is an empty dot at the left edge.

    Args:
      rows: by name, from the top down.
      title: of the figure.
      note: under it.
      colours: the names of colours, for the legend.
    """
    all_dots = [own for row in rows.values() for own in row]
    reached = [own.value for own in all_dots if own.value > 0]
    ends = [bound for own in all_dots for bound in own.bounds or () if bound > 0]
    low, high = min([0.5, *reached, *ends]), max([2.0, *reached, *ends])
    names = min(max(map(len, rows), default=1) * 7.2 + 8, WIDTH * 0.46)
    height = _TOP + _ROW * len(rows) + _BOTTOM - 10
    x = Scale(low, high, names + 14, WIDTH - _RIGHT, log=True)
    bottom = height - _BOTTOM + 10
    parts = [
        f'<line class="grid" x1="{x(t):.1f}" x2="{x(t):.1f}" y1="{_TOP}" y2="{bottom}"/>'
        f'<text x="{x(t):.1f}" y="{bottom + 18}" text-anchor="middle">{_short(t)}×</text>'
        for t in _octaves(low, high)
    ]
    parts.append(f'<line class="one" x1="{x(1):.1f}" x2="{x(1):.1f}" y1="{_TOP}" y2="{bottom}"/>')
    for place, (name, row) in enumerate(rows.items()):
        middle = _TOP + _ROW * (place + 0.5)
        parts.append(_name(name, names, middle))
        for number, own in enumerate(row):
            shift = 7 * (number - (len(row) - 1) / 2)
            parts.append(_dot(own, x, middle + shift, names + 14))
    described = "; ".join(
        f"{name}: {', '.join(f'{own.value:.2f}' if own.value else 'not reached' for own in row)}"
        for name, row in rows.items()
    )
    legend = "".join(
        f'<li class="s{number % _COLOURS}"><span class="swatch"></span><span class="name">'
        f"{html.escape(name)}</span></li>"
        for name, number in colours.items()
    )
    return _figure(title, note, "".join(parts), height, described, legend)


def _figure(
    title: str,
    note: str,
    inside: str,
    height: float,
    described: str,
    legend: str,
    data: Any = None,
    reading: str = "",
) -> str:
    readable = data is not None
    island = json.dumps(data).replace("</", "<\\/") if readable else ""
    return (
        f"<figure{' data-readable' if readable else ''}>"
        f"<figcaption>{html.escape(title)}<small>{html.escape(note)}</small></figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img"{" tabindex=0" if readable else ""} '
        f'aria-label="{html.escape(f"{title}. {described}")}">'
        f"<title>{html.escape(title)}</title>{inside}</svg>"
        + (
            f'<output class="reading" aria-live="polite">{html.escape(reading)}</output>'
            if readable
            else ""
        )
        + (f'<ul class="legend">{legend}</ul>' if legend else "")
        + (f'<script type="application/json">{island}</script>' if readable else "")
        + "</figure>"
    )


def _at_rest(own: Series, which: str) -> float:
    finite = own.values[np.isfinite(own.values)]
    return float(finite.min()) if which == "lowest" and finite.size else float(own.values[-1])


def _legend(series: Sequence[Series], at_rest: str) -> str:
    return "".join(
        f'<li class="s{own.colour % _COLOURS}"><span class="swatch{_broken(own)}">'
        f'</span><span class="name">{html.escape(own.name)}</span><span class="value">'
        f"{_short(_at_rest(own, at_rest))}</span></li>"
        for own in series
    )


def _broken(own: Series) -> str:
    return " broken" if own.dashed else ""


def _range(series: Sequence[Series], log: bool, ceiling: float | None) -> tuple[float, float, bool]:
    arrays = [x for own in series for x in (own.values, own.low, own.high) if x is not None]
    values = np.concatenate(arrays) if arrays else np.array([0.0, 1.0])
    values = values[np.isfinite(values)]
    if ceiling is not None and np.isfinite(ceiling):
        values = np.minimum(values, ceiling)
    if not values.size:
        return 0.0, 1.0, False
    log = log and bool(np.all(values > 0))
    low, high = float(values.min()), float(values.max())
    return (low / 1.15, high * 1.15, True) if log else (min(low, 0.0), high, False)


def _line(pixels: np.ndarray, own: Series, y: Scale, limits: tuple[float, float]) -> str:
    def heights(values: np.ndarray) -> np.ndarray:
        return y(np.clip(values, *limits))

    found = ""
    if own.low is not None and own.high is not None:
        there = np.isfinite(own.low) & np.isfinite(own.high)
        upper = _points(pixels[there], heights(own.high[there]))
        lower = _points(pixels[there][::-1], heights(own.low[there])[::-1])
        found = f'<polygon class="band s{own.colour % _COLOURS}" points="{upper} {lower}"/>'
    there = np.isfinite(own.values)
    points = _points(pixels[there], heights(own.values[there]))
    dashed = " dashed" if own.dashed else ""
    return f'{found}<polyline class="mean s{own.colour % _COLOURS}{dashed}" points="{points}"/>'


def _points(x: np.ndarray, y: np.ndarray) -> str:
    return " ".join(f"{own:.1f},{other:.1f}" for own, other in zip(x, y, strict=True))


def _name(name: str, right: float, y: float) -> str:
    longest = int((right - 4) / 7)
    shown = name if len(name) <= longest else name[: longest - 1] + "…"
    return (
        f'<text class="name" x="{right:.0f}" y="{y + 4:.1f}" text-anchor="end">'
        f"{html.escape(shown)}<title>{html.escape(name)}</title></text>"
    )


def _dot(own: Dot, x: Scale, y: float, left: float) -> str:
    found, colour = "", f"s{own.colour % _COLOURS}"
    if own.bounds and own.bounds[1] > 0:
        low = x(own.bounds[0]) if own.bounds[0] > 0 else left
        found = (
            f'<line class="range {colour}" x1="{low:.1f}" x2="{x(own.bounds[1]):.1f}" '
            f'y1="{y:.1f}" y2="{y:.1f}"/>'
        )
    place = x(own.value) if own.value > 0 else left
    hollow = "" if own.value > 0 else " hollow"
    return f'{found}<circle class="mark {colour}{hollow}" cx="{place:.1f}" cy="{y:.1f}" r="4"/>'


def _frame() -> str:
    return (
        f'<rect class="frame" x="{_LEFT}" y="{_TOP}" width="{WIDTH - _LEFT - _RIGHT}" '
        f'height="{HEIGHT - _TOP - _BOTTOM}"/>'
    )


def _tick_x(x: Scale, tick: float) -> str:
    return (
        f'<text x="{x(tick):.1f}" y="{HEIGHT - _BOTTOM + 16}" text-anchor="middle">'
        f"{_short(tick)}</text>"
    )


def _tick_y(y: Scale, tick: float) -> str:
    return (
        f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(tick):.1f}" '
        f'y2="{y(tick):.1f}"/><text x="{_LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">'
        f"{_short(tick)}</text>"
    )


def _octaves(low: float, high: float) -> list[float]:
    first, last = math.ceil(math.log2(low) - 1e-9), math.floor(math.log2(high) + 1e-9)
    return [2.0**n for n in range(first, last + 1, max(1, (last - first) // 6))]


def _round_step(step: float) -> float:
    unit = 10.0 ** math.floor(math.log10(step))
    return next(m * unit for m in (1, 2, 5, 10) if m * unit >= step * (1 - 1e-9))


def _short(value: float) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{value:,.0f}" if value and float(value).is_integer() else f"{value:.3g}"


def _json(value: float) -> float | None:
    return float(f"{value:.4g}") if np.isfinite(value) else None
