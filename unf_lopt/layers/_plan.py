"""What a layer has to compute, decided once in plain Python from a spec.

A basis map W(m) -> W(l) is a valid partition of the axes of both tensors. Cut it at the border:
on the input side it reads W(m) on the diagonal that its partition describes and averages over
the blocks that do not cross, which gives a *feature*; on the output side it writes a feature on
a diagonal of W(l), constant along the blocks that do not cross, which is a *slot*. The blocks
that cross must agree in their spaces, so features and slots meet in *buckets*, one for each
multiset of spaces, and all maps of a bucket are one matrix product over features and channels.

An axis of a nested space crosses only together with its outer ones. A bucket then also says which
of its places these are: ``width@0`` is a width in the head of place 0.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Sequence

from unf_lopt.layers._partitions import Partition, beside_axes, plain_axes, valid_partitions
from unf_lopt.symmetry import PermutationSpec

Bucket = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Feature:
    """A diagonal of an input tensor, averaged over all blocks but the kept ones.

    Attributes:
      tensor: index of the input tensor.
      blocks: partition of its axes; each block is one axis of the diagonal.
      kept: indices of the blocks that are kept, in the order of the bucket's spaces.
    """

    tensor: int
    blocks: Partition
    kept: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Slot:
    """A diagonal of an output tensor, constant along all blocks but the received ones.

    Attributes:
      tensor: index of the output tensor.
      blocks: partition of its axes.
      received: indices of the blocks that a feature's axes go to, in the bucket's order.
    """

    tensor: int
    blocks: Partition
    received: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Term:
    """One basis map: a valid partition of output axes (first) and input axes (after them)."""

    output: int
    input: int
    blocks: Partition


@dataclasses.dataclass(frozen=True)
class Plan:
    """The features and slots of every bucket, and the slots that carry a full bias.

    Attributes:
      buckets: ``{spaces: (features, slots)}``, the spaces sorted in the spec's order.
      diagonals: for each tensor, the partitions of its axes, the discrete one (every axis by
        itself) first.
      axis_orders: for each bucket, the order of its axes in arrays: that of the largest tensor
        that has them, which then need not be transposed.
    """

    spec: PermutationSpec
    buckets: dict[Bucket, tuple[tuple[Feature, ...], tuple[Slot, ...]]]
    diagonals: tuple[tuple[Partition, ...], ...]
    axis_orders: dict[Bucket, tuple[int, ...]]

    def locate(self, term: Term) -> tuple[Bucket, int, int]:
        """Bucket, feature and slot of a basis map: the bijection with the definition."""
        rank = len(self.spec.axes[term.output])
        inner = [tuple(axis - rank for axis in block if axis >= rank) for block in term.blocks]
        outer = [tuple(axis for axis in block if axis < rank) for block in term.blocks]
        crossing = [(o, i) for o, i in zip(outer, inner, strict=True) if o and i]
        in_blocks = tuple(sorted(block for block in inner if block))
        out_blocks = tuple(sorted(block for block in outer if block))
        spaces = plain_axes(self.spec)[term.output]
        order = list(self.spec.spaces)
        crossing.sort(key=lambda pair: (order.index(spaces[pair[0][0]]), pair[0]))
        received = [o for o, _ in crossing]
        bucket = _bucket(received, spaces, beside_axes(self.spec, term.output))
        assert bucket is not None
        features, slots = self.buckets[bucket]
        kept = tuple(in_blocks.index(i) for _, i in crossing)
        slot_received = tuple(out_blocks.index(o) for o in received)
        feature = features.index(Feature(term.input, in_blocks, kept))
        slot = slots.index(Slot(term.output, out_blocks, slot_received))
        return bucket, feature, slot


def terms(spec: PermutationSpec) -> Iterator[Term]:
    """Every basis map of a layer on a plain weight space, as the definition lists them."""
    all_axes = plain_axes(spec)
    for output, out_axes in enumerate(all_axes):
        for input_, in_axes in enumerate(all_axes):
            beside = beside_axes(spec, output, input_)
            for blocks in valid_partitions(out_axes + in_axes, beside):
                yield Term(output, input_, blocks)


@functools.lru_cache(maxsize=256)
def make_plan(spec: PermutationSpec) -> Plan:
    """The plan of a layer on a plain weight space (a spec's view); cached by spec."""
    order = {space: rank for rank, space in enumerate(spec.spaces)}
    features: dict[Bucket, list[Feature]] = {}
    slots: dict[Bucket, list[Slot]] = {}
    diagonals = []
    for tensor, axes in enumerate(plain_axes(spec)):
        beside = beside_axes(spec, tensor)
        own = valid_partitions(axes, beside)
        partitions = sorted(own, key=lambda blocks: (-len(blocks), blocks))
        diagonals.append(tuple(partitions))
        for blocks in partitions:
            spaces = [axes[block[0]] for block in blocks]
            for chosen in _subsets(len(blocks)):
                canonical = sorted(chosen, key=lambda b, spaces=spaces: (order[spaces[b]], b))
                bucket = _bucket([blocks[b] for b in canonical], axes, beside)
                if bucket is None:
                    continue
                slots.setdefault(bucket, []).append(Slot(tensor, blocks, tuple(canonical)))
                for kept in _reorderings(canonical, spaces):
                    bucket = _bucket([blocks[b] for b in kept], axes, beside)
                    if bucket is not None:
                        features.setdefault(bucket, []).append(Feature(tensor, blocks, kept))
    buckets = {
        bucket: (tuple(features[bucket]), tuple(slots[bucket]))
        for bucket in sorted(features)
        if bucket in slots
    }
    orders = {bucket: _axis_order(spec, features[bucket]) for bucket in buckets}
    return Plan(spec, buckets, tuple(diagonals), orders)


def _bucket(
    crossing: Sequence[Sequence[int]],
    spaces: Sequence[str],
    beside: Sequence[Sequence[int]],
) -> Bucket | None:
    """The bucket of blocks of axes that cross in this order; None if outer axes do not cross too.

    Args:
      crossing: the blocks.
      spaces: of the tensor's axes.
      beside: for every axis the positions of its outer axes.
    """
    place = {axis: number for number, block in enumerate(crossing) for axis in block}
    bucket = []
    for block in crossing:
        outers = beside[block[0]] if beside else ()
        if not place.keys() >= set(outers):
            return None
        marks = ",".join(str(place[axis]) for axis in outers)
        bucket.append(f"{spaces[block[0]]}@{marks}" if marks else spaces[block[0]])
    return tuple(bucket)


def _axis_order(spec: PermutationSpec, features: Sequence[Feature]) -> tuple[int, ...]:
    largest = max(features, key=lambda feature: math.prod(spec.shapes[feature.tensor]))
    return tuple(sorted(range(len(largest.kept)), key=lambda axis: largest.kept[axis]))


def _subsets(n: int) -> Iterator[tuple[int, ...]]:
    for size in range(n, -1, -1):
        yield from itertools.combinations(range(n), size)


def _reorderings(blocks: Sequence[int], spaces: Sequence[str]) -> Iterator[tuple[int, ...]]:
    """Every order of the blocks that leaves the sequence of their spaces as it is."""
    runs = [tuple(run) for _, run in itertools.groupby(blocks, key=lambda block: spaces[block])]
    for choice in itertools.product(*(itertools.permutations(run) for run in runs)):
        yield tuple(itertools.chain.from_iterable(choice))
