"""Where an inferred spec comes from: which operations tied axes together, and which froze them."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Mapping


@dataclasses.dataclass(frozen=True)
class Edge:
    """Two axes that an operation made one, or an axis and a part of it.

    Attributes:
      nodes: the ids of the two axes, as the inference numbered them.
      reason: the operation and its place in the user's source.
    """

    nodes: tuple[int, int]
    reason: str


@dataclasses.dataclass(frozen=True)
class Provenance:
    """The record of an inference.

    Attributes:
      axes: the node of every axis of every parameter.
      edges: what was tied or split, in the order in which it happened.
      frozen: for each node that an operation froze, the operation and its place.
      without_rule: the primitives that froze what they touch because nothing is known of them.
    """

    axes: Mapping[tuple[str, int], int]
    edges: tuple[Edge, ...]
    frozen: Mapping[int, str]
    without_rule: tuple[str, ...] = ()

    def explain(self, path: str, axis: int) -> str:
        """What froze an axis and what tied it to other parameters, nearest first."""
        start = self.axes[path, axis]
        lines = []
        named = {node: f"{path} axis {axis}" for (path, axis), node in reversed(self.axes.items())}
        for node, steps in self._reachable(start):
            route = "".join(f"\n    by {step}" for step in steps)
            if node in self.frozen:
                lines.append(f"  frozen by {self.frozen[node]}" + (route and f", reached{route}"))
            if node != start and node in named:
                lines.append(f"  tied to {named[node]}{route}")
        return "\n".join(lines) or "  nothing ties it to another parameter, and nothing froze it"

    def _reachable(self, start: int) -> Iterator[tuple[int, list[str]]]:
        """Every node that ties lead to, breadth first, with the operations on the way."""
        neighbours: dict[int, list[tuple[int, str]]] = collections.defaultdict(list)
        for edge in self.edges:
            a, b = edge.nodes
            neighbours[a].append((b, edge.reason))
            neighbours[b].append((a, edge.reason))
        routes: dict[int, list[str]] = {start: []}
        queue = collections.deque([start])
        while queue:
            node = queue.popleft()
            yield node, list(dict.fromkeys(routes[node]))
            for neighbour, reason in neighbours[node]:
                if neighbour not in routes:
                    routes[neighbour] = [*routes[node], reason]
                    queue.append(neighbour)
