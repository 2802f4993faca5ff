"""Array axes during an inference: what each is made of, and which are one and the same.

An axis is a *leaf*, permuted by a permutation of its own unless it is frozen; a *product* of
axes, row-major, as a reshape joins or splits them; or a *sum* of segments, as a concatenation
joins them. Making two axes one takes the common refinement of what they are made of. Every
operation only adds constraints (merges, splits or freezes), so what an equation once asked for
stays true: one pass over a jaxpr is enough.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

LEAF, PRODUCT, SUM = "leaf", "product", "sum"


class Node:
    """One axis. ``forward`` leads to the axis that it has been made one with.

    A ``uniform`` axis is one along which its array does not vary. It is never made one with
    another: each use of the array gives it a new node in the place of this.
    """

    __slots__ = ("forward", "frozen", "kind", "number", "parts", "size", "uniform")

    def __init__(self, number: int, size: int, frozen: bool):
        self.number = number
        self.size = size
        self.kind = LEAF
        self.parts: Sequence[Node] = ()
        self.frozen = frozen  # of a leaf
        self.forward: Node | None = None
        self.uniform = False

    def find(self) -> Node:
        """The axis that stands for all that have been made one with this."""
        node = self
        while node.forward is not None:
            if node.forward.forward is not None:
                node.forward = node.forward.forward
            node = node.forward
        return node


class AxisGraph:
    """All axes of an inference, and the record of what was done to them.

    Attributes:
      reason: what the operations that follow are done for; recorded with each.
      edges: ``(node number, node number, reason)`` of every merge and split.
      frozen_by: ``{node number: reason}`` of every leaf that was frozen.
    """

    def __init__(self) -> None:
        self.reason: Any = None
        self.edges: list[tuple[int, int, Any]] = []
        self.frozen_by: dict[int, Any] = {}
        self._nodes: list[Node] = []

    # ------------------------------------------------------------------------------ new axes
    def leaf(self, size: int, frozen: bool = False) -> Node:
        """A new axis, tied to no other."""
        node = self._new(size, frozen)
        if frozen and self.reason is not None:
            self.frozen_by[node.number] = self.reason
        return node

    def uniform(self, size: int) -> Node:
        """A new axis along which nothing varies."""
        node = self._new(size, False)
        node.uniform = True
        return node

    def _new(self, size: int, frozen: bool) -> Node:
        node = Node(len(self._nodes), int(size), frozen)
        self._nodes.append(node)
        return node

    def numbered(self, number: int) -> Node:
        """The axis that stands for the node of this number."""
        return self._nodes[number].find()

    def product(self, factors: Sequence[Node]) -> Node:
        """The axis that indexes all the factors, row-major."""
        return self._compose(PRODUCT, [f for f in factors if f.size != 1], factors, math.prod)

    def sum(self, segments: Sequence[Node]) -> Node:
        """The axis whose segments these are, one after the other."""
        return self._compose(SUM, [s for s in segments if s.size != 0], segments, sum)

    def _compose(
        self,
        kind: str,
        parts: Sequence[Node],
        given: Sequence[Node],
        combine: Callable[[Iterator[int]], int],
    ) -> Node:
        if len(parts) == 1:
            return parts[0]
        node = self.leaf(combine(part.size for part in given))
        if parts:
            node.kind, node.parts = kind, parts
            self._link(node, parts)
        return node

    def factors(self, node: Node) -> list[Node]:
        """What an axis is the product of, none of it a product itself; nothing for size 1."""
        return [part for part in _opened(node, (PRODUCT,)) if part.size != 1]

    def segments(self, node: Node) -> list[Node]:
        """What an axis is the sum of, none of it a sum itself; nothing for size 0."""
        return [part for part in _opened(node, (SUM,)) if part.size != 0]

    def leaves(self, node: Node) -> Iterator[Node]:
        """The leaves that an axis is made of."""
        return _opened(node, (PRODUCT, SUM))

    def parts_of_nodes(self) -> dict[int, tuple[int, ...]]:
        """For every node that there has been, the numbers of the leaves that it is made of now."""
        return {
            node.number: tuple(leaf.number for leaf in self.leaves(node) if leaf.size != 1)
            for node in self._nodes
        }

    # ------------------------------------------------------------------------------ constraints
    def freeze(self, node: Node) -> None:
        """No permutation of anything that the axis is made of."""
        for leaf in self.leaves(node):
            if not leaf.frozen:
                leaf.frozen = True
                self.frozen_by[leaf.number] = self.reason

    def unify(self, a: Node, b: Node) -> None:
        """Makes two axes of equal size one: the common refinement of what they are made of."""
        a, b = a.find(), b.find()
        if a is b or a.size == 1 or a.size == b.size == 0:  # an empty product may have the other
            return
        if a.size != b.size:
            raise ValueError(f"axes of sizes {a.size} and {b.size} cannot be one ({self.reason}).")
        if b.kind is LEAF and (a.kind is not LEAF or a.number < b.number):
            a, b = b, a
        if a.kind is LEAF:
            self._absorb(a, b)
        elif a.kind is b.kind is SUM:
            self._unify_sums(a, b)
        elif a.kind is b.kind is PRODUCT:
            self._unify_products(a, b)
        else:
            product, other = (a, b) if a.kind is PRODUCT else (b, a)
            factors = self.factors(product)
            self._unify_each(factors, self.split_product(other, [f.size for f in factors]))
            self._forward(other, product)

    def split_product(self, node: Node, sizes: Sequence[int]) -> list[Node]:
        """The factors of an axis, row-major, with these sizes; frozen where it has no such."""
        wanted = [size for size in sizes if size != 1]
        found: list[Node] = []
        for have, want in common_blocks(self.factors(node), wanted):
            found += self._resize(have, want)
        parts = iter(found)
        return [next(parts) if size != 1 else self.leaf(1) for size in sizes]

    def split_sum(self, node: Node, sizes: Sequence[int]) -> list[Node]:
        """The segments of an axis with these sizes; frozen where it has no such."""
        node = node.find()
        wanted = [size for size in sizes if size != 0]
        if len(wanted) <= 1:
            found = [node]
        elif node.kind is LEAF:
            found = self._refine(node, SUM, wanted)
        elif node.kind is SUM:
            found = self._regroup(self.segments(node), wanted)
        else:
            found = self._cut_product(node, wanted)
        parts = iter(found)
        return [next(parts) if size != 0 else self.leaf(0) for size in sizes]

    # -------------------------------------------------------------------------------- the parts
    def _link(self, node: Node, parts: Sequence[Node]) -> None:
        self.edges += [(node.number, part.number, self.reason) for part in parts]

    def _forward(self, node: Node, to: Node) -> None:
        node, to = node.find(), to.find()
        if node is not to:
            node.forward = to
            self.edges.append((node.number, to.number, self.reason))

    def _absorb(self, leaf: Node, node: Node) -> None:
        if leaf.frozen:
            for other in self.leaves(node):
                other.frozen = True
        self._forward(leaf, node)

    def _unify_each(self, left: Sequence[Node], right: Sequence[Node]) -> None:
        for a, b in zip(left, right, strict=True):
            self.unify(a, b)

    def _unify_sums(self, a: Node, b: Node) -> None:
        sizes = _common_lengths([s.size for s in self.segments(a)], self.segments(b))
        self._unify_each(self.split_sum(a, sizes), self.split_sum(b, sizes))
        self._forward(b, a)

    def _unify_products(self, a: Node, b: Node) -> None:
        for left, right in common_blocks(self.factors(a), self.factors(b)):
            if len(left) > 1 and len(right) > 1:
                sizes = _refinement([n.size for n in left], [n.size for n in right])
                if sizes is None:
                    self._freeze_all([*left, *right])
                    continue
                left = self.split_product(self.product(left), sizes)
                right = self.split_product(self.product(right), sizes)
                self._unify_each(left, right)
            else:
                self.unify(self.product(left), self.product(right))
        self._forward(b, a)

    def _refine(self, leaf: Node, kind: str, sizes: Sequence[int]) -> list[Node]:
        """Splits a leaf in place: all that have it see the parts."""
        parts = [self._new(size, leaf.frozen) for size in sizes]
        leaf.kind, leaf.parts = kind, parts
        self._link(leaf, parts)
        return parts

    def _resize(self, have: Sequence[Node], want: Sequence[int]) -> list[Node]:
        """Factors of other sizes but the same product."""
        if len(want) == 1:
            return [self.product(have)]
        if len(have) == 1:
            return self._factorize(have[0].find(), want)
        sizes = _refinement([node.size for node in have], want)
        if sizes is None:
            return self._freeze_all(have, want)
        remaining = iter(sizes)
        refined: list[Node] = []
        for node in have:
            refined += self.split_product(node, list(_take_product(remaining, node.size)))
        parts = iter(refined)
        return [self.product(list(_take_product(parts, size))) for size in want]

    def _factorize(self, node: Node, sizes: Sequence[int]) -> list[Node]:
        if node.kind is PRODUCT:
            return self.split_product(node, sizes)
        if node.kind is LEAF:
            return self._refine(node, PRODUCT, sizes)
        # A sum of axes with a common minor factor k: (a·k + b·k) = (a + b)·k.
        minor = sizes[-1]
        segments = self.segments(node)
        if any(segment.size % minor for segment in segments):
            return self._freeze_all([node], sizes)
        pairs = [self.split_product(s, (s.size // minor, minor)) for s in segments]
        for (_, first), (_, other) in itertools.pairwise(pairs):
            self.unify(first, other)
        majors = self.sum([major for major, _ in pairs])
        node.kind, node.parts = PRODUCT, [majors, pairs[0][1]]
        self._link(node, node.parts)
        return self.split_product(node, sizes)

    def _regroup(self, segments: Sequence[Node], sizes: Sequence[int]) -> list[Node]:
        cuts = _common_lengths(sizes, segments)
        remaining = iter(cuts)
        pieces: list[Node] = []
        for segment in segments:
            pieces += self.split_sum(segment, list(_take_sum(remaining, segment.size)))
        parts = iter(pieces)
        return [self.sum(list(_take_sum(parts, size))) for size in sizes]

    def _cut_product(self, node: Node, sizes: Sequence[int]) -> list[Node]:
        """Segments of a product: those of its major factor, if they end where its entries do."""
        factors = self.factors(node)
        for outer in range(1, len(factors)):
            minor = factors[outer:]
            length = math.prod(factor.size for factor in minor)
            if any(size % length for size in sizes):
                continue
            major = [size // length for size in sizes]
            if outer == 1:
                cut = self.split_sum(factors[0], major)
            else:
                cut = self._freeze_all(factors[:outer], major)
            return [self.product([segment, *minor]) for segment in cut]
        return self._freeze_all(factors, sizes)

    def _freeze_all(self, nodes: Sequence[Node], sizes: Sequence[int] = ()) -> list[Node]:
        """Freezes what does not fit together; returns new frozen axes of these sizes."""
        for node in nodes:
            self.freeze(node)
        return [self.leaf(size, frozen=True) for size in sizes]


def is_fixed(node: Node) -> bool:
    """Whether no permutation of anything that an axis is made of is left."""
    return all(leaf.frozen or leaf.size == 1 for leaf in _opened(node, (PRODUCT, SUM)))


def _opened(node: Node, kinds: tuple[str, ...]) -> Iterator[Node]:
    """An axis, or the parts that it has if it is of these kinds, in order, however deep."""
    pending = [node]
    while pending:
        node = pending.pop().find()
        if node.kind in kinds:
            pending.extend(reversed(node.parts))
        else:
            yield node


def common_blocks(left: Sequence[Any], right: Sequence[Any]) -> Iterator[tuple[list, list]]:
    """Cuts two lists of factors (nodes or sizes) of equal product into the smallest such pairs."""
    remaining_left, remaining_right = list(left), list(right)
    while remaining_left:
        a, b = [remaining_left.pop(0)], [remaining_right.pop(0)]
        size_a, size_b = _size(a[0]), _size(b[0])
        while size_a != size_b:
            if size_a < size_b:
                a.append(remaining_left.pop(0))
                size_a *= _size(a[-1])
            else:
                b.append(remaining_right.pop(0))
                size_b *= _size(b[-1])
        yield a, b


def _size(item: Any) -> int:
    return item.size if isinstance(item, Node) else item


def _refinement(left: Sequence[int], right: Sequence[int]) -> list[int] | None:
    """The coarsest list of factors that refines both, or None where there is none."""
    bounds = {*itertools.accumulate(left, initial=1, func=_times)}
    bounds |= {*itertools.accumulate(right, initial=1, func=_times)}
    ordered = sorted(bounds)
    if any(larger % smaller for smaller, larger in itertools.pairwise(ordered)):
        return None
    return [larger // smaller for smaller, larger in itertools.pairwise(ordered)]


def _times(a: int, b: int) -> int:
    return a * b


def _common_lengths(sizes: Sequence[int], segments: Sequence[Node]) -> list[int]:
    """Lengths between all the cuts of both lists."""
    cuts = {*itertools.accumulate(sizes, initial=0)}
    cuts |= {*itertools.accumulate((segment.size for segment in segments), initial=0)}
    return [end - start for start, end in itertools.pairwise(sorted(cuts))]


def _take_product(items: Iterator[Any], size: int) -> Iterator[Any]:
    taken = 1
    while taken < size:
        item = next(items)
        taken *= _size(item)
        yield item


def _take_sum(items: Iterator[Any], size: int) -> Iterator[Any]:
    taken = 0
    while taken < size:
        item = next(items)
        taken += _size(item)
        yield item
