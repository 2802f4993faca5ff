"""From the nodes of an axis graph to the axes of a spec, with names that tell where they are."""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from unf_lopt.symmetry import _axes
from unf_lopt.symmetry._axes import Axis, Product, Sum
from unf_lopt.symmetry._spec import PermutationSpec
from unf_lopt.symmetry.inference._graph import LEAF, SUM, AxisGraph, Node, is_fixed


class AxisReader:
    """Reads nodes as axes whose spaces are keys: the numbers of nodes, as text.

    An axis all of whose parts are fixed is one fixed space, unless a part of it is a space of
    another parameter too. A sum of equal segments (the gates of an LSTM) is a product of a fixed
    space and the segment.

    Args:
      graph: the graph.
      arrays: the axes of all arrays that will be read, which decide what is read as one space.
    """

    def __init__(self, graph: AxisGraph, arrays: Sequence[Sequence[Node]]):
        self._graph = graph
        self.sizes: dict[str, int] = {}
        self.fixed: set[str] = set()
        self._runs: dict[str, set[tuple[str, ...]]] = collections.defaultdict(set)
        for node in itertools.chain.from_iterable(arrays):
            for run in self._fixed_runs(node):
                for key in run:
                    self._runs[key].add(run)

    def read(self, node: Node) -> Axis:
        """The axis of a node; every space that it names gets its size in ``sizes``."""
        node = node.find()
        if node.kind is SUM and not is_fixed(node):
            return self._read_sum(node)
        factors: list[Axis] = []
        for fixed, group in itertools.groupby(self._graph.factors(node), is_fixed):
            run = list(group)
            factors += self._read_fixed(run) if fixed else map(self._read_free, run)
        return _product(factors)

    def _read_free(self, node: Node) -> Axis:
        return self._name(node_key(node), node.size) if node.kind is LEAF else self.read(node)

    def _read_fixed(self, nodes: Sequence[Node]) -> list[Axis]:
        keys = tuple(map(node_key, nodes))
        if len(keys) == 1 or any(self._runs[key] != {keys} for key in keys):
            pairs = zip(keys, nodes, strict=True)
            return [self._name(key, node.size, fixed=True) for key, node in pairs]
        size = math.prod(node.size for node in nodes)
        return [self._name("*".join(keys), size, fixed=True)]

    def _read_sum(self, node: Node) -> Axis:
        segments = [segment.find() for segment in self._graph.segments(node)]
        terms: list[Axis] = []
        for fixed, group in itertools.groupby(segments, is_fixed):
            run = list(group)
            if fixed and len(run) > 1:
                size = sum(segment.size for segment in run)
                terms.append(self._name("+".join(map(node_key, run)), size, fixed=True))
            else:
                terms += map(self.read, run)
        if len(terms) == len(segments) and len(set(terms)) == 1:
            gates = self._name(f"gates of {node_key(node)}", len(terms), fixed=True)
            return _product([gates, terms[0]])
        return Sum(tuple(terms))

    def _fixed_runs(self, node: Node) -> Iterator[tuple[str, ...]]:
        factors = self._graph.factors(node)
        for fixed, run in itertools.groupby(factors, is_fixed):
            if fixed:
                yield tuple(map(node_key, run))
        for factor in factors:
            if factor.find().kind is SUM and not is_fixed(factor):
                for segment in self._graph.segments(factor):
                    yield from self._fixed_runs(segment)

    def _name(self, key: str, size: int, fixed: bool = False) -> str:
        self.sizes[key] = size
        if fixed:
            self.fixed.add(key)
        return key


def node_key(node: Node) -> str:
    """What a node's space is called before it has a name."""
    return str(node.find().number)


def _product(factors: Sequence[Axis]) -> Axis:
    flat: list[Axis] = []
    for factor in factors:
        flat += factor.factors if isinstance(factor, Product) else [factor]
    return flat[0] if len(flat) == 1 else Product(tuple(flat))


def make_spec(
    graph: AxisGraph, arrays: Mapping[str, Sequence[Node]], names: Mapping[str, str] | None = None
) -> PermutationSpec:
    """The spec of some arrays, its spaces named after the first axis that each occupies.

    Args:
      graph: the graph.
      arrays: the axes of every parameter, by its path.
      names: names that some spaces have already, by the numbers of their nodes.

    Returns:
      The spec. The name ``"layer/w:1"`` is axis 1 of that parameter, ``"layer/w:1.0"`` the first
      part of it.
    """
    reader = AxisReader(graph, list(arrays.values()))
    axes = {path: tuple(map(reader.read, nodes)) for path, nodes in arrays.items()}
    names = {**_names(axes), **(names or {})}
    order = dict.fromkeys(k for own in axes.values() for axis in own for k in _axes.spaces_of(axis))
    sizes = tuple((key, reader.sizes[key]) for key in order)
    unnamed = PermutationSpec(tuple(axes), tuple(axes.values()), sizes, frozenset(reader.fixed))
    return unnamed.renamed(names.__getitem__)


def nodes_of_spaces(graph: AxisGraph, arrays: Mapping[str, Sequence[Node]]) -> dict[str, Node]:
    """The node of every space of :func:`make_spec` that is a single axis, by the space's name."""
    reader = AxisReader(graph, list(arrays.values()))
    names = _names({path: tuple(map(reader.read, nodes)) for path, nodes in arrays.items()})
    return {name: graph.numbered(int(key)) for key, name in names.items() if key.isdecimal()}


def _names(axes: Mapping[str, Sequence[Axis]]) -> dict[str, str]:
    """Every space by the place where it is a whole axis first, or else a part of one."""
    whole: dict[str, str] = {}
    parts: dict[str, str] = {}
    for path, own in axes.items():
        for position, axis in enumerate(own):
            if isinstance(axis, str):
                whole.setdefault(axis, f"{path}:{position}")
            for number, space in enumerate(_axes.spaces_of(axis)):
                parts.setdefault(space, f"{path}:{position}.{number}")
    return {**parts, **whole}
