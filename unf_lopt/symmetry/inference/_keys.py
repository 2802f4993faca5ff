"""Which uses of PRNG keys may be uses of one and the same key.

A key is known by how it was derived. JAX makes row ``i`` of a split and ``fold_in(key, i)`` alike,
whatever the number of rows, so both are *child* ``i`` of the key; a derivation is the key that it
starts from and a list of numbers. Where these are not known they are spans of numbers, and a loop
derives keys again and again, so what a variable of the program may hold is a set of derivations:
a state of a nondeterministic automaton that reads them. Two uses may be of one key if some
derivation leads to both states.

Different derivations are taken to give independent keys, as are different keys that come from
outside. Numbers drawn from one key in different ways, or from a key and from its descendants, are
taken to be related.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from unf_lopt.symmetry.inference._graph import AxisGraph, Node

# Some numbers: start, stop and stride, counted from the value of a symbol where there is one.
Span = tuple[Any, int, int, int]
FOLD_IN, OTHER = ("fold_in",), ("other",)


@dataclasses.dataclass(frozen=True)
class Use:
    """What one equation makes of a key.

    Attributes:
      kind: equal for two uses that make the same numbers of equal keys.
      axes: the axes along which these numbers are independent and alike.
      derives: whether all that it makes is keys.
      place: the equation.
    """

    kind: tuple[Any, ...]
    axes: tuple[Node, ...]
    derives: bool
    place: Any


class KeySet:
    """The keys that a variable may hold: a state of the automaton."""

    __slots__ = ("children", "number", "origins", "unknown", "uses", "wider")

    def __init__(self, number: int):
        self.number = number
        self.children: dict[Span, KeySet] = {}
        self.wider: list[KeySet] = []  # sets that these keys belong to as well
        self.origins: list[tuple[KeySet, bool]] = []  # and whether it is a child of them
        self.uses: list[Use] = []
        self.unknown = False  # whether there may be keys in it of which nothing is known

    def flow_into(self, wider: KeySet) -> None:
        """All keys of this set may be in another."""
        self.wider.append(wider)
        wider.origins.append((self, False))

    def extends(self, ancestor: KeySet) -> bool:
        """Whether every key of this set descends from one of the other, and is not that itself."""
        seen, stack = set(), [(self, False)]
        while stack:
            keys, is_descendant = item = stack.pop()
            if item in seen:
                continue
            seen.add(item)
            if keys is ancestor:
                if not is_descendant:
                    return False
            elif not keys.origins or keys.unknown:
                return False
            else:
                stack += [(origin, is_descendant or child) for origin, child in keys.origins]
        return True


class KeyTable:
    """All sets of keys of a program.

    Attributes:
      fixed: not a key, but what seeds and keys that are constants are children of.
    """

    def __init__(self) -> None:
        self._sets: list[KeySet] = []
        self._roots: list[KeySet] = []
        self._distinct: set[tuple[int, int]] = set()
        self.fixed = self.root()

    def new(self, unknown: bool = False) -> KeySet:
        """A set of its own, with no keys in it yet, or with any keys whatever."""
        keys = KeySet(len(self._sets))
        keys.unknown = unknown
        self._sets.append(keys)
        return keys

    def root(self) -> KeySet:
        """A key that comes from outside."""
        keys = self.new()
        self._roots.append(keys)
        return keys

    def child(self, keys: KeySet, span: Span) -> KeySet:
        """The children of these numbers of all keys of a set."""
        if span not in keys.children:
            child = keys.children[span] = self.new()
            child.origins.append((keys, True))
        return keys.children[span]

    def never_equal(self, a: KeySet, b: KeySet) -> None:
        """Notes that no key that is derived through one set is equal to one through the other.

        This is of the sets as steps of a derivation: at one and the same place of two derivations
        of one key, one of them cannot pass the first set while the other passes the second.
        """
        self._distinct.add(_pair(a, b))

    def constrain(self, graph: AxisGraph) -> None:
        """Ties the axes of the same numbers and freezes those of numbers that may be related."""
        unknown = self._descendants([keys for keys in self._sets if keys.unknown])
        lost = next((use for keys in unknown for use in keys.uses), None)
        if lost is not None:
            graph.reason = f"{lost.place}, which uses a key that cannot be followed"
            _freeze(graph, [use for keys in self._sets for use in keys.uses])
            return
        for a, b in self._coincidences():
            same = a is b
            for number, first in enumerate(a.uses):
                for other in a.uses[:number] if same else b.uses:
                    _reconcile(graph, first, other)
            self._freeze_descendants(graph, a, b)
            if not same:
                self._freeze_descendants(graph, b, a)

    def _coincidences(self) -> Iterator[tuple[KeySet, KeySet]]:
        """Pairs of sets that some derivation leads to."""
        seen: set[tuple[int, int]] = set()
        stack = [(root, root) for root in self._roots]
        while stack:
            a, b = stack.pop()
            pair = _pair(a, b)
            if pair in seen or pair in self._distinct:
                continue
            seen.add(pair)
            yield a, b
            stack += [(wider, b) for wider in a.wider]
            stack += [(a, wider) for wider in b.wider]
            stack += _common_children(a, b)

    def _freeze_descendants(self, graph: AxisGraph, a: KeySet, b: KeySet) -> None:
        """What is drawn from keys and what is made of their descendants may be related."""
        ends = [use for use in a.uses if not use.derives]
        if not ends or not b.children:
            return
        for keys in self._descendants(b.children.values()):
            for use in keys.uses:
                for end in ends:
                    _freeze_related(graph, end, use)

    def _descendants(self, start: Iterable[KeySet]) -> Iterator[KeySet]:
        """The sets that these lead to, and they themselves."""
        seen, stack = set(), list(start)
        while stack:
            keys = stack.pop()
            if keys.number not in seen:
                seen.add(keys.number)
                yield keys
                stack += [*keys.wider, *keys.children.values()]


def _pair(a: KeySet, b: KeySet) -> tuple[int, int]:
    return (min(a.number, b.number), max(a.number, b.number))


def _common_children(a: KeySet, b: KeySet) -> Iterator[tuple[KeySet, KeySet]]:
    """Children of two sets that may have the same number."""
    inexact = [span for span in b.children if not _is_known(span)]
    for span, child in a.children.items():
        is_known = _is_known(span)
        for other in inexact if is_known else b.children:
            if _may_meet(span, other):
                yield child, b.children[other]
        if is_known and span in b.children:
            yield child, b.children[span]


def _is_known(span: Span) -> bool:
    symbol, start, stop, _ = span
    return symbol is None and stop - start == 1


def _may_meet(a: Span, b: Span) -> bool:
    if a[0] != b[0]:
        return True
    (_, start, stop, stride), (_, other_start, other_stop, other_stride) = a, b
    overlap = max(start, other_start) < min(stop, other_stop)
    return overlap and (start - other_start) % math.gcd(stride, other_stride) == 0


def _reconcile(graph: AxisGraph, first: Use, other: Use) -> None:
    if first.kind != other.kind:
        _freeze_related(graph, first, other)
        return
    graph.reason = Related("may draw the same numbers as", first.place, other.place)
    for a, b in zip(first.axes, other.axes, strict=True):
        graph.unify(a, b)


def _freeze_related(graph: AxisGraph, first: Use, other: Use) -> None:
    graph.reason = Related(
        "shares its key, or one that it derives from, with", first.place, other.place
    )
    _freeze(graph, [first, other])


def _freeze(graph: AxisGraph, uses: Sequence[Use]) -> None:
    for use in uses:
        for node in use.axes:
            graph.freeze(node)


@dataclasses.dataclass(frozen=True)
class Related:
    """Why two draws are not independent, told as text only when somebody asks."""

    how: str
    first: Any
    other: Any

    def __str__(self) -> str:
        return f"{self.first}, which {self.how} {self.other}"
