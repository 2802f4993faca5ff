"""Set partitions whose blocks join only axes of one space: the basis of equivariant maps."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import cast

from unf_lopt.symmetry import PermutationSpec, SpecError, companions

Block = tuple[int, ...]
Partition = tuple[Block, ...]


def partitions(items: Sequence[int]) -> Iterator[Partition]:
    """All set partitions of ``items``, each with its blocks ordered by their first item."""
    if not items:
        yield ()
        return
    first, rest = items[0], items[1:]
    for size in range(len(rest) + 1):
        for others in itertools.combinations(rest, size):
            remaining = [item for item in rest if item not in others]
            for tail in partitions(remaining):
                yield ((first, *others), *tail)


def valid_partitions(
    spaces: Sequence[str], beside: Sequence[Sequence[int]] = ()
) -> Iterator[Partition]:
    """Partitions of ``range(len(spaces))`` whose blocks join only positions of equal space.

    Zhou et al., arXiv 2402.05232, section 3: each valid partition of output and input axes
    together is one basis map. Blocks are ordered by their first position.

    Two axes of a nested space have permutations of their own unless the axes of their outer spaces
    have one index, so a block joins them only if another one joins these: the orbits of index
    tuples under a wreath product.

    Args:
      spaces: of the axes.
      beside: for every axis the positions of its outer axes, see
        :func:`unf_lopt.symmetry.companions`; none if no space is nested.
    """
    for blocks in _partitions_by_space(spaces):
        if not any(beside) or _joins_outer(blocks, beside):
            yield blocks


def _joins_outer(blocks: Partition, beside: Sequence[Sequence[int]]) -> bool:
    block_of = {position: number for number, block in enumerate(blocks) for position in block}
    return all(
        len({block_of[outer] for outer in outers}) == 1
        for block in blocks
        for outers in zip(*(beside[position] for position in block), strict=True)
    )


def _partitions_by_space(spaces: Sequence[str]) -> Iterator[Partition]:
    positions: dict[str, list[int]] = {}
    for position, space in enumerate(spaces):
        positions.setdefault(space, []).append(position)
    for choice in itertools.product(*(partitions(group) for group in positions.values())):
        yield tuple(sorted(itertools.chain.from_iterable(choice)))


def plain_axes(spec: PermutationSpec) -> tuple[tuple[str, ...], ...]:
    """The axes of a spec's view, each of which is one space.

    Raises:
      SpecError: an axis is a product or a sum of spaces.
    """
    for axes in spec.axes:
        if not all(isinstance(axis, str) for axis in axes):
            raise SpecError(f"the axes {axes} are not plain spaces; take the spec of the view.")
    return cast(tuple[tuple[str, ...], ...], spec.axes)


def beside_axes(spec: PermutationSpec, *tensors: int) -> tuple[tuple[int, ...], ...]:
    """For every axis of some tensors, end to end, the positions of its outer axes; or nothing."""
    if not spec.nesting:
        return ()
    found: list[tuple[int, ...]] = []
    for tensor in tensors:
        start = len(found)
        own = companions(plain_axes(spec)[tensor], spec.nested)
        found += [tuple(start + position for position in outers) for outers in own]
    return tuple(found)


@functools.cache
def bell_number(n: int) -> int:
    """The number of set partitions of n items; 1, 1, 2, 5, 15, 52 for n = 0 to 5."""
    if n == 0:
        return 1
    return sum(math.comb(n - 1, k) * bell_number(k) for k in range(n))
