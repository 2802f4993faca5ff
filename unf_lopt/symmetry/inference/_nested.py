"""Which groups of a loss have permutations of their own for every index of another space.

A group k is nested in a space h if the loss stays as it is when k is permuted by another
permutation at every index of h. That is so if it holds for every equation of the loss: an array
that has an axis of k must have one of h beside it, by which its entries know their permutation, and
wherever an equation makes two axes of k one, it must make the axes of h beside them one as well.
The walk over the loss has told which axes are one; here its record is read once more.

- An equation of `RULES` says which axes of its inputs and outputs are the same index. A pair of
  axes (h, k) must go to such a pair.
- A ``scan`` over the layers of a stack takes h off: within its body one layer is computed at a
  time, all by one permutation, which the walk has already found right. Nothing that has an axis of
  k may come in from outside of the stack or be carried on to the next layer.
- Any other equation must not touch an array that has an axis of k.
- What has two axes of k along which it varies, and depends on no input, must have both beside one
  axis of h: a constant could tell equal indices of two h from others, as an identity matrix does.

What fails is not nested.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jax.extend import core

from unf_lopt.symmetry._spec import PermutationSpec
from unf_lopt.symmetry.inference._graph import LEAF, PRODUCT, SUM, AxisGraph, Node
from unf_lopt.symmetry.inference._jaxprs import inner_jaxprs, scan_counts
from unf_lopt.symmetry.inference._nested_rules import CALLS, FACTORS, RULES, Pairs, new_axes

if TYPE_CHECKING:
    from unf_lopt.symmetry.inference._walk import Step

Axes = Sequence[Node]
# The leaves of every axis of one plain block of an array.
Block = tuple[tuple[Node, ...], ...]
# An array of more plain blocks than this is not looked at.
_MOST_BLOCKS = 64


class NotNested(Exception):
    """A group has no permutations of its own."""


def find_nesting(
    spec: PermutationSpec,
    graph: AxisGraph,
    nodes: Mapping[str, Node],
    inputs: Sequence[Axes],
    steps: Sequence[Step],
    jaxpr: core.Jaxpr,
) -> dict[str, tuple[str, ...]]:
    """The groups of a spec that are nested, and in which spaces.

    Args:
      spec: what a walk has found.
      graph: its axes.
      nodes: the node of every space that is a single one.
      inputs: the axes of parameters and model state.
      steps: the record of the walk.
      jaxpr: what was walked.

    Returns:
      The nesting. Of two spaces each of which could be nested in the other, the later one is.
    """
    leaves = {
        name: node.find()
        for name, node in nodes.items()
        if node.find().kind is LEAF and node.size > 1
    }
    beside, order = _spaces_beside(spec), list(spec.spaces)
    found: dict[str, list[str]] = {}
    for inner in sorted(beside.keys() & leaves.keys(), key=order.index, reverse=True):
        for outer in sorted(beside[inner] & leaves.keys(), key=order.index):
            if inner not in found.get(outer, ()):
                check = _Check(graph, leaves[inner], leaves[outer])
                if check.holds(inputs, steps, jaxpr):
                    found.setdefault(inner, []).append(outer)
    return _closed(found)


def _spaces_beside(spec: PermutationSpec) -> dict[str, set[str]]:
    """For every group the spaces that have an axis in every block in which it has one."""
    beside: dict[str, set[str]] = {}
    for axes in spec.view.spec.axes:
        for space in set(axes) & spec.groups.keys():
            others = set(axes) - {space}
            beside[space] = beside.get(space, others) & others
    return beside


def _closed(found: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    """Without outer spaces that are nested in one in which the inner group is not."""
    kept = {
        inner: tuple(o for o in outers if set(found.get(o, ())) <= set(outers))
        for inner, outers in found.items()
    }
    if kept != {inner: tuple(outers) for inner, outers in found.items()}:
        return _closed({inner: list(outers) for inner, outers in kept.items()})
    return {inner: outers for inner, outers in kept.items() if outers}


class _Check:
    """Whether a loss allows ``inner`` a permutation of its own for each index of ``outer``."""

    def __init__(self, graph: AxisGraph, inner: Node, outer: Node):
        self._graph, self._inner, self._outer = graph, inner, outer
        # What depends on an input. The entries of what does not may tell apart the pairs of axes
        # that it has, such as those of an identity matrix.
        self._variables: set[Any] = set()

    def holds(self, inputs: Sequence[Axes], steps: Sequence[Step], jaxpr: core.Jaxpr) -> bool:
        """Whether it does, of a whole loss."""
        self._variables = set(jaxpr.invars)
        try:
            self._check_steps(steps)
            is_constant = not all(map(self._is_variable, jaxpr.outvars))
            for axes in inputs:  # those of the state are also what it becomes
                self._check_array(axes, is_constant)
        except NotNested:
            return False
        return True

    def _check_steps(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if step.is_live:
                self._check_step(step)

    def _is_variable(self, atom: Any) -> bool:
        return not isinstance(atom, core.Literal) and atom in self._variables

    def _mark(self, variables: Sequence[Any], are_variable: Sequence[bool]) -> None:
        """Notes which of a jaxpr's variables depend on an input; one that is called twice anew."""
        for variable, is_variable in zip(variables, are_variable, strict=True):
            if is_variable:
                self._variables.add(variable)
            else:
                self._variables.discard(variable)

    def _check_step(self, step: Step) -> None:
        arrays, equation = [*step.inputs, *step.outputs], step.equation
        name = equation.primitive.name
        given = list(map(self._is_variable, equation.invars))
        self._mark(equation.outvars, [any(given)] * len(equation.outvars))
        if name == "scan" and self._check_scan(step):
            return
        if any(map(self._has_inner, arrays)):
            if name not in RULES and name not in CALLS:
                raise NotNested
            for axes, is_variable, uniform in zip(step.inputs, given, step.uniform, strict=True):
                self._check_array(axes, not is_variable, uniform)
            if name in RULES:
                self._check_relations(step, arrays)
        if name in CALLS:
            self._check_call(step, given)
        for axes, variable in zip(step.outputs, equation.outvars, strict=True):
            self._check_array(axes, not self._is_variable(variable))

    def _check_call(self, step: Step, given: Sequence[bool]) -> None:
        """The jaxprs of an equation; an output is constant if it is so of one of them."""
        jaxprs = list(inner_jaxprs(step.equation.params))
        for jaxpr in jaxprs:
            count = len(jaxpr.invars)
            # What is carried, scanned or passed comes last. Of other arguments (the constants of a
            # loop's body and condition) nothing is assumed.
            is_whole = count <= len(given) and step.equation.primitive.name != "while"
            self._mark(jaxpr.invars, given[len(given) - count :] if is_whole else [False] * count)
        for own in step.inner:
            self._check_steps(own)
        results = step.equation.outvars
        for jaxpr in jaxprs:
            if len(jaxpr.outvars) == len(results):
                inner = map(self._is_variable, jaxpr.outvars)
                outer = map(self._is_variable, results)
                self._mark(results, [a and b for a, b in zip(inner, outer, strict=True)])

    def _check_relations(self, step: Step, arrays: Sequence[Axes]) -> None:
        """Pairs of inputs and outputs go to pairs, and every one of an output comes from one."""
        count = len(step.inputs)
        blocks = [self._blocks(axes) if self._has_inner(axes) else [] for axes in arrays]
        name = step.equation.primitive.name
        relations = RULES[name](step)
        if name in FACTORS:
            blocks = [
                [_factored(block, sizes) for block in own]
                for own, sizes in zip(blocks, FACTORS[name](step), strict=True)
            ]
        if relations is None:  # all axes, end to end
            order = step.equation.params.get("dimensions")
            blocks = [self._flat(blocks[0], order), self._flat(blocks[1])]
            relations = [(0, 1, [(0, 0)])]
        made: set[tuple[int, int, tuple[int, int]]] = set()
        for one, other, pairs in relations:
            matched = self._relate(blocks[one], blocks[other], pairs)
            made |= {(other, image, place) for _, image, places in matched for place in places}
            if other < count:
                for side, array in enumerate((one, other)):
                    found = {(i, j)[side] for i, j, _ in matched}
                    axes = [pair[side] for pair in pairs]
                    for number, block in enumerate(blocks[array]):
                        if number not in found and any(self._inner in block[a] for a in axes):
                            raise NotNested
        new = new_axes(step)
        for output in range(count, len(arrays)):
            for number, block in enumerate(blocks[output]):
                for place in self._beside(block):
                    if (output, number, place) not in made and place[0] not in new:
                        raise NotNested

    def _check_scan(self, step: Step) -> bool:
        """Whether a scan is over the outer space, index by index; then it is checked."""
        count, carried = scan_counts(step.equation)
        scanned = step.inputs[count + carried :]
        results = step.outputs[carried:]
        leading = [axes[0].find() for axes in (*scanned, *results)]
        if not any(self._is_in(node, leading) for node in (self._inner, self._outer)):
            return False
        if any(node is not self._outer for node in leading):
            raise NotNested
        if any(map(self._has_inner, (*step.inputs[: count + carried], *step.outputs[:carried]))):
            raise NotNested
        for axes in (*scanned, *results):
            self._check_array(axes)
            for block in self._blocks(axes[1:]):
                leaves = set(itertools.chain.from_iterable(block))
                if {self._inner, self._outer} <= leaves:
                    raise NotNested
        return True

    def _is_in(self, leaf: Node, nodes: Sequence[Node]) -> bool:
        return any(leaf is own.find() for node in nodes for own in self._graph.leaves(node))

    def _has_inner(self, axes: Axes) -> bool:
        return self._is_in(self._inner, axes)

    def _check_array(
        self, axes: Axes, is_constant: bool = False, uniform: Sequence[bool] = ()
    ) -> None:
        """Every axis of the inner space has one of the outer beside it."""
        if self._has_inner(axes):
            flags = dict(enumerate(uniform))
            for block in self._blocks(axes):
                beside = self._beside(block).items()
                varying = {outer for (axis, _), outer in beside if not flags.get(axis)}
                if len(varying) > 1 and is_constant:
                    raise NotNested

    def _beside(self, block: Block) -> dict[tuple[int, int], tuple[int, int]]:
        """The place of the outer leaf beside every inner one: axis, and number of its leaf."""
        places = [(a, n) for a, leaves in enumerate(block) for n in range(len(leaves))]
        inner = [(a, n) for a, n in places if block[a][n] is self._inner]
        outer = [(a, n) for a, n in places if block[a][n] is self._outer]
        if inner and len(outer) not in (1, len(inner)):
            raise NotNested
        if len(outer) == 1:
            return dict.fromkeys(inner, outer[0])
        return dict(zip(inner, outer, strict=True)) if inner else {}

    def _flat(self, blocks: Sequence[Block], order: Sequence[int] | None = None) -> list[Block]:
        """Blocks with the leaves of all axes on one, the axes in an order.

        Raises:
          NotNested: another order changes which of several inner leaves is beside which outer one.
        """
        if order is not None and any(len(self._beside(block)) > 1 for block in blocks):
            raise NotNested
        return [
            (tuple(itertools.chain.from_iterable(block[a] for a in order or range(len(block)))),)
            for block in blocks
        ]

    def _blocks(self, axes: Axes) -> list[Block]:
        choices = [list(self._alternatives(node)) for node in axes]
        count = 1
        for own in choices:
            count *= len(own)
        if count > _MOST_BLOCKS:
            raise NotNested
        return list(itertools.product(*choices))

    def _alternatives(self, node: Node) -> Iterator[tuple[Node, ...]]:
        """The leaves of every plain block of an axis, those of size 1 left out."""
        node = node.find()
        if node.kind is SUM:
            for part in node.parts:
                yield from self._alternatives(part)
        elif node.kind is PRODUCT:
            parts = (list(self._alternatives(part)) for part in node.parts)
            for choice in itertools.product(*parts):
                yield tuple(itertools.chain.from_iterable(choice))
        else:
            yield () if node.size == 1 else (node,)

    def _relate(
        self, blocks: Sequence[Block], images: Sequence[Block], pairs: Pairs
    ) -> list[tuple[int, int, set[tuple[int, int]]]]:
        """Which blocks of two arrays have the same leaves where their axes are the same index.

        Returns:
          Their numbers, and the inner leaves of the second that are of the first.

        Raises:
          NotNested: a pair of inner and outer axis of the one is none of the other.
        """
        matched, to = [], dict(pairs)
        for (i, block), (j, image) in itertools.product(enumerate(blocks), enumerate(images)):
            shifts = {a: _shift(block[a], image[b]) for a, b in pairs}
            if None in shifts.values():
                continue
            mine, theirs = self._beside(block), self._beside(image)
            for (axis, n), (outer_axis, m) in mine.items():
                if axis in to:
                    place = to[axis], n + (shifts[axis] or 0)
                    if outer_axis not in to:
                        raise NotNested
                    expected = to[outer_axis], m + (shifts[outer_axis] or 0)
                    if theirs.get(place) != expected:
                        raise NotNested
            mapped = {(to[a], n + (shifts[a] or 0)) for a, n in mine if a in to}
            inside = {place for place in theirs if place[0] in to.values()}
            if inside - mapped:
                raise NotNested
            matched.append((i, j, mapped))
        return matched


def _factored(block: Block, sizes: Mapping[int, int]) -> Block:
    """The first factor and the rest of every axis, of sizes that are given or else 1.

    Raises:
      NotNested: the leaves of an axis are not those of two factors.
    """
    factors: list[tuple[Node, ...]] = []
    for axis, leaves in enumerate(block):
        count, size = 0, sizes.get(axis, 1)
        while size > 1 and count < len(leaves) and size % leaves[count].size == 0:
            size //= leaves[count].size
            count += 1
        if size > 1:
            raise NotNested
        factors += [leaves[:count], leaves[count:]]
    return tuple(factors)


def _shift(leaves: Sequence[Node], image: Sequence[Node]) -> int | None:
    """Where the leaves of an axis stand in that which it is made of; None if they do not."""
    shift = len(image) - len(leaves)
    longer, shorter = (image, leaves) if shift >= 0 else (leaves, image)
    start = abs(shift)
    is_suffix = all(a is b for a, b in zip(longer[start:], shorter, strict=True))
    return shift if is_suffix else None
