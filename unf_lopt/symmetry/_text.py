"""Specs as text: the table that a person reads, and what distinguishes two."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from unf_lopt.symmetry import _axes
from unf_lopt.symmetry._axes import Axis


def table(spec: Any) -> str:
    """The table of a ``PermutationSpec``; fixed spaces in square brackets."""
    rows = [("parameter", "shape", "axes")]
    for path, shape, axes in zip(spec.paths, spec.shapes, spec.axes, strict=True):
        text = ", ".join(shown(axis, spec.fixed) for axis in axes)
        rows.append((path, "×".join(map(str, shape)) or "scalar", text))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    groups = ", ".join(
        f"{name} ({size}{_for_each(spec.nested.get(name, ()))})"
        for name, size in spec.groups.items()
    )
    lines.append(f"groups: {groups or 'none'}")
    if spec.provenance and spec.provenance.without_rule:
        named = ", ".join(map(str, spec.provenance.without_rule.values()))
        lines.append(f"frozen for lack of a rule: {named}")
    return "\n".join(lines)


def _for_each(outers: Collection[str]) -> str:
    """What a group is nested in."""
    return f", of its own for each of {' and '.join(outers)}" if outers else ""


def shown(axis: Axis, fixed: Collection[str]) -> str:
    """An axis as people write it, its fixed spaces in square brackets."""
    return _axes.show(axis, lambda name: f"[{name}]" if name in fixed else name)


def difference(one: Any, other: Any) -> str:
    """What distinguishes two specs, one line a difference; empty if they are equal."""
    lines = []
    mine, theirs = (
        {path: tuple(map(_axes.show, own)) for path, own in zip(s.paths, s.axes, strict=True)}
        for s in (one, other)
    )
    for path in sorted(mine.keys() | theirs.keys()):
        if mine.get(path) != theirs.get(path):
            lines.append(f"'{path}': {mine.get(path)} against {theirs.get(path)}")
    for space in sorted(one.spaces.keys() | other.spaces.keys()):
        if one.spaces.get(space) != other.spaces.get(space):
            sizes = f"{one.spaces.get(space)} against {other.spaces.get(space)}"
            lines.append(f"size of '{space}': {sizes}")
    if one.fixed != other.fixed:
        lines.append(f"fixed: {sorted(one.fixed)} against {sorted(other.fixed)}")
    if one.nesting != other.nesting:
        lines.append(f"nested: {one.nested} against {other.nested}")
    return "\n".join(lines)
