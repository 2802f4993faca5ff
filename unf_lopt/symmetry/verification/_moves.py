"""Permutations of a weight space's entries: whole groups, and single axes of single blocks."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from unf_lopt.symmetry import _axes
from unf_lopt.symmetry._nesting import companions, permuted_block, permuted_parameter
from unf_lopt.symmetry._spec import PermutationSpec
from unf_lopt.symmetry._views import block_axes
from unf_lopt.symmetry.inference._infer import fitted, state_spec
from unf_lopt.symmetry.inference._trace import TracedLoss

# For every tensor the flat index of its entries, ``moved.flat[i] = original.flat[index.flat[i]]``,
# of the tensor's shape; None where it stays as it is.
Move = Sequence[np.ndarray | None]


@dataclasses.dataclass(frozen=True, order=True)
class Occurrence:
    """An axis of a block, by their numbers in the spec of the blocks."""

    block: int
    axis: int


class WeightSpace:
    """Parameters and model state of a loss, as a spec sees them.

    Args:
      spec: the spec of all these tensors.
      inputs: the position of each tensor among the inputs of the loss.

    Attributes:
      spec: as given.
      inputs: as given.
      blocks: the spec of the plain blocks that the tensors consist of.
      owners: for every block the number of its tensor.
      positions: for every block the flat positions of its entries in its tensor.
    """

    def __init__(self, spec: PermutationSpec, inputs: Sequence[int]):
        self.spec = spec
        self.inputs = tuple(inputs)
        self.blocks = spec.view.spec
        self.positions = [np.asarray(b) for b in spec.view.split(list(map(_count, spec.shapes)))]
        self.owners = [t for t, axes in enumerate(spec.axes) for _ in block_axes(axes)]

    def occurrences(self, spaces: Collection[str]) -> list[Occurrence]:
        """Every axis of every block that lies in one of the spaces."""
        return [
            Occurrence(block, axis)
            for block, axes in enumerate(self.blocks.axes)
            for axis, space in enumerate(axes)
            if space in spaces
        ]

    def space(self, occurrence: Occurrence) -> str:
        """The space that an axis lies in."""
        return self.blocks.axes[occurrence.block][occurrence.axis]

    def describe(self, occurrences: Iterable[Occurrence]) -> str:
        """``linear/b axis 0, linear/w axis 1``."""
        paths = self.blocks.paths
        return ", ".join(f"{paths[o.block]} axis {o.axis}" for o in sorted(occurrences))

    def group_move(self, permutation: Mapping[str, np.ndarray]) -> Move:
        """Permutes spaces on all axes, as ``PermutationSpec.permute`` does."""
        move: list[np.ndarray | None] = []
        for shape, axes in zip(self.spec.shapes, self.spec.axes, strict=True):
            spaces = {space for axis in axes for space in _axes.spaces_of(axis)}
            arguments = (axes, self.spec.spaces, permutation, self.spec.nested)
            is_moved = not spaces.isdisjoint(permutation)
            move.append(permuted_parameter(_count(shape), *arguments) if is_moved else None)
        return move

    def partial_move(self, occurrences: Iterable[Occurrence], permutation: np.ndarray) -> Move:
        """Permutes some axes of some blocks, all by the same permutation."""
        taken: dict[int, np.ndarray] = {}
        for occurrence in occurrences:
            block = taken.get(occurrence.block, self.positions[occurrence.block])
            taken[occurrence.block] = np.take(block, permutation, occurrence.axis)
        move: list[np.ndarray | None] = [None] * len(self.spec.paths)
        for block, positions in taken.items():
            tensor = self.owners[block]
            index = move[tensor]
            if index is None:
                index = _count(self.spec.shapes[tensor])
            index.reshape(-1)[self.positions[block]] = positions
            move[tensor] = index
        return move

    def without(self, move: Move, blocks: Collection[int]) -> Move:
        """The move that leaves some blocks as they are."""
        kept = [None if index is None else index.copy() for index in move]
        for block in blocks:
            index = kept[self.owners[block]]
            if index is not None:
                index.reshape(-1)[self.positions[block]] = self.positions[block]
        return kept

    def contains(self, move: Move, ignored: Collection[int] = ()) -> bool:
        """Whether a move is an element of the spec's symmetry group, on the blocks that count."""
        found: dict[str, np.ndarray] = {
            space: np.arange(self.spec.spaces[space]) for space in self.spec.fixed
        }
        for block, axes in enumerate(self.blocks.axes):
            if block not in ignored and not self._is_moved_by(move, block, axes, found):
                return False
        return True

    def _is_moved_by(
        self, move: Move, block: int, axes: Sequence[str], found: dict[str, np.ndarray]
    ) -> bool:
        """Whether one permutation a space moves a block; those not found yet are read off it."""
        tensor, positions = self.owners[block], self.positions[block]
        index = move[tensor]
        if index is None:
            origin = _count(positions.shape)
        else:
            number = np.full(index.size, -1)
            number[positions] = _count(positions.shape)
            origin = number[index.reshape(-1)[positions]]
            if (origin < 0).any():
                return False
        beside = companions(axes, self.spec.nested)
        for axis, space in enumerate(axes):
            if space not in found:
                own = (*beside[axis], axis)  # outer axes first
                rest = [other for other in range(origin.ndim) if other not in own]
                lines = np.transpose(np.unravel_index(origin, origin.shape)[axis], (*own, *rest))
                found[space] = lines[(...,) + (0,) * len(rest)]
        expected = permuted_block(_count(positions.shape), axes, found, self.spec.nested)
        return bool((expected == origin).all())


def weight_space(traced: TracedLoss, spec: PermutationSpec) -> WeightSpace:
    """Parameters and model state of a loss under a spec of the parameters.

    Raises:
      SpecError: the spec has other parameters, or a parameter another shape.
    """
    spec = fitted(spec, traced, "verify_spec")
    positions = tuple(range(len(traced.paths)))
    if not traced.state_inputs:
        return WeightSpace(spec, positions)
    state = state_spec(traced, spec)
    state = state.renamed(lambda name: name if name in spec.groups else f"model state {name}")
    joined = PermutationSpec(
        (*spec.paths, *(f"model state {path}" for path in state.paths)),
        (*spec.axes, *state.axes),
        tuple({**state.spaces, **spec.spaces}.items()),
        spec.fixed | state.fixed,
        spec.nesting,
    )
    return WeightSpace(joined, (*positions, *traced.state_inputs))


def moved_inputs(space: WeightSpace, inputs: Sequence[Any], move: Move) -> list[Any]:
    """The flat inputs of a loss with a move applied to them."""
    moved = list(inputs)
    for position, index in zip(space.inputs, move, strict=True):
        if index is not None:
            moved[position] = np.take(inputs[position], index)
    return moved


def random_element(
    space: WeightSpace, groups: Collection[str], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Random permutations of some groups, none the identity.

    Of a nested group one for each index of its outer spaces, and not the same for all: of two
    units that change places at every index nothing else would be tested.
    """

    def draw(shape: Sequence[int]) -> np.ndarray:
        count = int(np.prod(shape[:-1]))
        if count == 1 or shape[-1] < 2:
            return np.stack([random_permutation(rng, shape[-1])] * count).reshape(shape)
        while True:
            rows = np.stack([rng.permutation(shape[-1]) for _ in range(count)])
            if (rows != rows[0]).any():
                return rows.reshape(shape)

    return {name: draw(space.spec.index_shapes[name]) for name in groups}


def random_permutation(rng: np.random.Generator, size: int) -> np.ndarray:
    """Uniform among those that are not the identity."""
    while True:
        permutation = rng.permutation(size)
        if size < 2 or (permutation != np.arange(size)).any():
            return permutation


def by_size(space: WeightSpace, occurrences: Iterable[Occurrence]) -> dict[int, list[Occurrence]]:
    """Axes by their length."""
    sizes: dict[int, list[Occurrence]] = collections.defaultdict(list)
    for occurrence in occurrences:
        sizes[space.spec.spaces[space.space(occurrence)]].append(occurrence)
    return dict(sizes)


def _count(shape: Sequence[int]) -> np.ndarray:
    return np.arange(int(np.prod(shape, dtype=int))).reshape(shape)
