"""Where an inferred spec comes from: which operations tied axes together, and which froze them."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

_SHOWN_TIES = 8


@dataclasses.dataclass(frozen=True)
class Provenance:
    """The record of an inference. Axes are known by the numbers of its nodes.

    Attributes:
      axes: the node of every axis of every parameter, ``{(path, position): node}``.
      parts: for each node the smallest axes that it turned out to be made of.
      edges: ``(node, node, reason)`` of every tie and split, in the order of the program.
      frozen: for each node that an operation froze, the reason. A reason is text, or an object
        that becomes text when it is shown or pickled: the operation and its place in the user's
        source.
      without_rule: the primitives that froze what they touched because no rule knows them, each
        with the first place where it was met.
    """

    axes: Mapping[tuple[str, int], int]
    parts: Mapping[int, tuple[int, ...]]
    edges: tuple[tuple[int, int, Any], ...]
    frozen: Mapping[int, Any]
    without_rule: Mapping[str, Any]

    def explain(self, path: str, axis: int) -> str:
        """What froze each part of an axis, and what tied it to other parameters, nearest first."""
        start = self.axes[path, axis]
        told: dict[str, list[int]] = {}
        for number, part in enumerate(dict.fromkeys(self.parts[start])):
            told.setdefault("\n".join(self._explain_part(start, part)), []).append(number)
        if len(told) == 1:
            return next(iter(told))
        blocks = (
            f"  part {', '.join(map(str, numbers))}:\n{text}" for text, numbers in told.items()
        )
        return "\n".join(blocks) or "    an axis of size 1: there is nothing to permute"

    def _explain_part(self, start: int, part: int) -> Iterator[str]:
        named = {node: f"{path} axis {axis}" for (path, axis), node in self.axes.items()}
        frozen = tied = 0
        for node, steps in self._reachable(start, part):
            route = "".join(f"\n      by {step}" for step in steps)
            if node in self.frozen:
                frozen += 1
                if frozen == 1:
                    yield f"    frozen: {self.frozen[node]}{route and ', through' + route}"
            elif node != start and node in named:
                tied += 1
                if tied <= _SHOWN_TIES:
                    yield f"    tied to {named[node]}{route}"
        if tied > _SHOWN_TIES:
            yield f"    and to {tied - _SHOWN_TIES} more"
        if not frozen and not tied:
            yield "    nothing froze it, and nothing ties it to another parameter"

    def _reachable(self, start: int, part: int) -> Iterator[tuple[int, list[str]]]:
        """Every node that has the part, breadth first, and the operations on the way to it."""
        neighbours = collections.defaultdict(list)
        for a, b, reason in self.edges:
            if part in self.parts[a] and part in self.parts[b]:
                neighbours[a].append((b, reason))
                neighbours[b].append((a, reason))
        routes: dict[int, list[Any]] = {start: []}
        queue = collections.deque([start])
        while queue:
            node = queue.popleft()
            yield node, list(dict.fromkeys(map(str, routes[node])))
            for neighbour, reason in neighbours[node]:
                if neighbour not in routes:
                    routes[neighbour] = [*routes[node], reason]
                    queue.append(neighbour)

    def __getstate__(self) -> dict[str, Any]:
        """As text: a reason may hold a traceback, which cannot be pickled."""
        state = dict(self.__dict__)
        state["edges"] = tuple((a, b, str(reason)) for a, b, reason in self.edges)
        for name in ("frozen", "without_rule"):
            state[name] = {key: str(reason) for key, reason in state[name].items()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
