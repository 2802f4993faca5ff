"""Whether a spec has every symmetry: finer and freer ones are tried on numbers."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from unf_lopt.symmetry.inference._infer import infer_traced
from unf_lopt.symmetry.verification._change import change_by
from unf_lopt.symmetry.verification._draws import Point
from unf_lopt.symmetry.verification._exclusion import (
    Exclusion,
    Piece,
    move_of,
    parts_in_doubt,
)
from unf_lopt.symmetry.verification._exclusion import describe as describe_pieces
from unf_lopt.symmetry.verification._loss import PromotedLoss
from unf_lopt.symmetry.verification._merges import Merge, merged_move, merges_of
from unf_lopt.symmetry.verification._moves import (
    Move,
    Occurrence,
    WeightSpace,
    by_size,
    moved_inputs,
    random_permutation,
    weight_space,
)

# How many permutations of one set of axes must change nothing for it to count as a symmetry. One
# could be an accident: two classes without a label are exchangeable, all classes are not.
_CONFIRMATIONS = 4
# Found symmetries are told, but not all: the sets that contain one are not tried, and after so
# many others it is clear that the spec is not maximal.
_ENOUGH = 8


@dataclasses.dataclass
class Maximality:
    """What the search for further symmetries found.

    Attributes:
      tests: how often the loss was evaluated to find or rule out a symmetry.
      exhaustive: whether every symmetry that a spec can express was ruled out.
      searched: for every group, and the fixed axes, what was ruled out and how.
      symmetries: descriptions of symmetries that the spec does not have.
      undecided: descriptions of sets whose change is neither rounding nor clear, and of what
        could not be tried.
    """

    tests: int = 0
    exhaustive: bool = True
    searched: list[str] = dataclasses.field(default_factory=list)
    symmetries: list[str] = dataclasses.field(default_factory=list)
    undecided: list[str] = dataclasses.field(default_factory=list)

    @property
    def verdict(self) -> str:
        """``"not maximal"``, ``"maximal"``, or ``"not refuted"`` if not all could be tried."""
        if self.symmetries:
            return "not maximal"
        return "maximal" if self.exhaustive and not self.undecided else "not refuted"


class Search:
    """Tries symmetries that a spec does not have.

    Args:
      loss: the loss.
      space: the weight space under the spec.
      points: where to evaluate.
      ignored: blocks without effect, which are never permuted.
      rng: the source of permutations and samples.
      tolerance: changes up to this are rounding.
      clear: changes above this are none.
      max_tests: the largest number of tests of pairs, and of sets of axes, in each group; of
        indices of a fixed axis; and of sets of fixed axes of each size.
    """

    def __init__(
        self,
        loss: PromotedLoss,
        space: WeightSpace,
        points: Sequence[Point],
        ignored: Collection[int],
        rng: np.random.Generator,
        *,
        tolerance: float,
        clear: float,
        max_tests: int,
    ):
        self._loss, self._space, self._points = loss, space, points
        keys = {b for b, t in enumerate(space.owners) if not _is_array(points[0], space.inputs[t])}
        self._ignored, self._rng = keys.union(ignored), rng
        self._tolerance, self._clear, self._max_tests = tolerance, clear, max_tests
        self._found = Maximality()
        self._exclusion = Exclusion(
            loss, space, points, self._ignored, rng, clear=clear, max_tests=max_tests
        )

    def run(self) -> Maximality:
        """Tries the groups that an inference finds, splits and merges of groups, fixed axes."""
        self._try_inferred()
        for group in self._space.spec.groups:
            self._try_splits(group)
        self._try_merges()
        self._try_fixed()
        return self._found

    def _try_inferred(self) -> None:
        """Symmetries that an inference claims; whether they hold, numbers decide here too."""
        try:
            inferred = weight_space(self._loss.traced, infer_traced(self._loss.traced).spec)
        except Exception as error:  # what the inference lacks is no fault of the spec
            self._found.undecided.append(f"no spec is inferred: {type(error).__name__}: {error}")
            return
        for group, size in inferred.spec.groups.items():

            def move(group: str = group, size: int = size) -> Move:
                permutation = {group: random_permutation(self._rng, size)}
                return self._space.without(inferred.group_move(permutation), self._ignored)

            if size > 1 and not self._space.contains(move(), self._ignored):
                where = inferred.describe(inferred.occurrences({group}))
                self._judge(move, f"permuting together {where}")

    def _try_splits(self, group: str) -> None:
        """Permutes some axes of a group and not the others."""
        if self._space.spec.spaces[group] < 2:
            return
        before = self._exclusion.tests
        components = self._exclusion.components(group)
        pairs, count = self._exclusion.tests - before, sum(map(len, components))
        self._found.tests += pairs
        all_splits = f"splits of group '{group}' ({count} axes)"
        if len(components) < 2:
            self._found.searched.append(
                f"{all_splits}: all ruled out by {pairs} evaluations of pairs"
            )
            return
        # Permuting either side of a split is the same test: the one without the first component.
        total = 2 ** (len(components) - 1) - 1
        few = total <= self._max_tests
        chosen = _subsets(components[1:]) if few else self._sampled(components[1:])
        sets = (frozenset().union(*own) for own in chosen if own)

        def describe(pieces: frozenset[Piece]) -> str:
            return f"permuting only {describe_pieces(self._space, pieces)} (a part of '{group}')"

        tried = self._try_sets(sets, total, describe)
        self._found.searched.append(
            f"{all_splits}: {tried} of {total} that {pairs} evaluations of pairs left were tried, "
            f"{_how(few)}"
        )

    def _try_merges(self) -> None:
        """Permutes neighbouring parts of an axis as one space."""
        merges = merges_of(self._space)
        for merge in merges:

            def move(merge: Merge = merge) -> Move:
                drawn = merged_move(self._space, merge, self._rng)
                while self._space.contains(drawn, self._ignored):
                    drawn = merged_move(self._space, merge, self._rng)
                return self._space.without(drawn, self._ignored)

            self._judge(move, f"permuting all of {merge.whole} as one space")
        if merges:
            self._found.searched.append(f"products and sums as one group: {len(merges)} tried, all")

    def _try_fixed(self) -> None:
        """Permutes fixed axes of one size together."""
        axes = [
            axis
            for axis in self._candidates(self._space.spec.fixed)
            if self._space.spec.spaces[self._space.space(axis)] > 1
        ]
        before = self._exclusion.tests
        left = self._exclusion.exclude_fixed(axes)
        self._found.tests += self._exclusion.tests - before
        self._found.searched.append(
            f"fixed axes: {len(axes) - len(left)} of {len(axes)} ruled out, whole and in part, "
            f"with {self._exclusion.tests - before} evaluations that tell their indices apart"
        )
        for size, own in by_size(self._space, left).items():
            total = 2 ** len(own) - 1
            few = total <= self._max_tests
            sets = map(frozenset, _subsets(own) if few else self._sampled(own))

            def describe(chosen: frozenset[Piece]) -> str:
                return f"permuting only {describe_pieces(self._space, chosen)} (fixed)"

            pieces = (frozenset(map(Piece, chosen)) for chosen in sets)
            tried = self._try_sets(pieces, total, describe)
            self._found.searched.append(
                f"sets of the other fixed axes of size {size} ({len(own)} axes), moved whole and "
                f"together: {tried} of {total} tried, {_how(few)}"
            )
        for axis, alike in left.items():
            self._note_in_doubt(axis, alike)
        for line in parts_in_doubt(self._space):
            self._found.exhaustive = False
            self._found.searched.append(f"not ruled out: moves across the parts: {line}")

    def _note_in_doubt(self, axis: Occurrence, alike: list[int] | None) -> None:
        """Segments and factors of a fixed axis are symmetries that the sets do not cover."""
        if self._space.spec.spaces[self._space.space(axis)] == 2:
            return  # it has no other parts than the whole
        self._found.exhaustive = False
        why = "it has too many indices to try"
        if alike is not None:
            why = f"indices {_shown(alike)} could not be told from others"
        where = self._space.describe([axis])
        self._found.searched.append(f"not ruled out: moving parts of {where}: {why}")

    def _candidates(self, spaces: Collection[str]) -> list[Occurrence]:
        return [o for o in self._space.occurrences(spaces) if o.block not in self._ignored]

    def _try_sets(
        self,
        sets: Iterable[frozenset[Piece]],
        total: int,
        describe: Callable[[frozenset[Piece]], str],
    ) -> int:
        """Tries sets, not those that contain a symmetry; returns how many were tried."""
        tried: set[frozenset[Piece]] = set()
        symmetries: list[frozenset[Piece]] = []
        for chosen in sets:
            if len(symmetries) == _ENOUGH or len(tried) == self._max_tests:
                break
            if not chosen or chosen in tried or any(known <= chosen for known in symmetries):
                continue
            tried.add(chosen)
            size = self._space.spec.spaces[self._space.space(next(iter(chosen)).occurrence)]

            def move(chosen: frozenset[Piece] = chosen, size: int = size) -> Move:
                return move_of(self._space, chosen, random_permutation(self._rng, size))

            if self._space.spec.nesting and self._space.contains(move(), self._ignored):
                continue  # of a nested group, for some of its outer indices
            if self._judge(move, describe(chosen)):
                symmetries.append(chosen)
        self._found.exhaustive &= len(tried) == total
        return len(tried)

    def _judge(self, draw: Callable[[], Move], description: str) -> bool:
        """Whether random moves of one kind change nothing; the description is noted if so."""
        self._found.tests += 1
        changes = []
        for attempt in range(_CONFIRMATIONS):
            point, move = self._points[attempt % len(self._points)], draw()
            if not _is_moved(self._space, point, move):
                continue
            changes.append(change_by(self._loss, self._space, point, move).in_loss)
            if changes[-1] > self._clear:
                return False
        if not changes:
            self._found.undecided.append(f"{description}: entries are equal, so nothing moves")
            return False
        told = f"{description} changes loss and gradients by {max(changes):.1e}"
        is_symmetry = max(changes) <= self._tolerance
        (self._found.symmetries if is_symmetry else self._found.undecided).append(told)
        return is_symmetry

    def _sampled(self, items: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """Single ones, those of one parameter, of one space, pairs, and random sets of any size."""
        for item in items:
            yield (item,)
        if isinstance(items[0], Occurrence):
            for key in (lambda o: self._space.owners[o.block], self._space.space):
                for _, own in itertools.groupby(sorted(items, key=key), key):
                    yield tuple(own)
        for _ in range(self._max_tests):
            pair = self._rng.choice(len(items), min(2, len(items)), replace=False)
            yield tuple(items[i] for i in pair)
            share = self._rng.random()
            yield tuple(item for item in items if self._rng.random() < share)


def _how(few: bool) -> str:
    return "all but those that contain a symmetry found" if few else "a sample"


def _shown(indices: Sequence[int]) -> str:
    more = f" and {len(indices) - _ENOUGH} more" if len(indices) > _ENOUGH else ""
    return ", ".join(map(str, indices[:_ENOUGH])) + more


def _subsets(items: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    """All but the empty one, small ones first."""
    for size in range(1, len(items) + 1):
        yield from itertools.combinations(items, size)


def _is_array(point: Point, tensor: int) -> bool:
    return isinstance(point.inputs[tensor], np.ndarray)


def _is_moved(space: WeightSpace, point: Point, move: Move) -> bool:
    moved = moved_inputs(space, point.inputs, move)
    return any(
        index is not None and not np.array_equal(point.inputs[tensor], moved[tensor])
        for tensor, index in zip(space.inputs, move, strict=True)
    )
