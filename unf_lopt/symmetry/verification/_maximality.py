"""Whether a spec has every symmetry: finer and freer ones are tried on numbers."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import numpy as np

from unf_lopt.symmetry.inference._infer import infer_traced
from unf_lopt.symmetry.verification._change import change_by
from unf_lopt.symmetry.verification._draws import Point
from unf_lopt.symmetry.verification._loss import PromotedLoss
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
      tests: how many sets of axes were permuted.
      exhaustive: whether these were all there are.
      symmetries: descriptions of symmetries that the spec does not have.
      undecided: descriptions of sets whose change is neither rounding nor clear, and of what
        could not be tried.
    """

    tests: int = 0
    exhaustive: bool = True
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
      max_tests: the largest number of sets of axes to try in each group, and among the fixed axes
        of each size.
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

    def run(self) -> Maximality:
        """Tries the groups that an inference finds, splits of groups, and fixed axes."""
        self._try_inferred()
        for group in self._space.spec.groups:
            self._try_splits(group)
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
        axes = self._candidates({group})
        if self._space.spec.spaces[group] < 2 or len(axes) < 2:
            return
        first, *others = axes

        def side(chosen: Iterable[Occurrence]) -> frozenset[Occurrence]:
            # Permuting either side of a split is the same test: the one without the first axis.
            chosen = frozenset(chosen)
            return frozenset(axes) - chosen if first in chosen else chosen

        total = 2 ** len(others) - 1
        few = total <= self._max_tests
        sets = _subsets(others) if few else self._sampled(axes, side)
        self._try_sets(sets, total, f"a part of group '{group}'")

    def _try_fixed(self) -> None:
        """Permutes fixed axes of one size together."""
        fixed = by_size(self._space, self._candidates(self._space.spec.fixed))
        for size, axes in fixed.items():
            if size > 1:
                total = 2 ** len(axes) - 1
                few = total <= self._max_tests
                sets = _subsets(axes) if few else self._sampled(axes, frozenset)
                self._try_sets(sets, total, "fixed")

    def _candidates(self, spaces: Collection[str]) -> list[Occurrence]:
        return [o for o in self._space.occurrences(spaces) if o.block not in self._ignored]

    def _try_sets(self, sets: Iterable[frozenset[Occurrence]], total: int, what: str) -> None:
        tried: set[frozenset[Occurrence]] = set()
        symmetries: list[frozenset[Occurrence]] = []
        for chosen in sets:
            if len(symmetries) == _ENOUGH or len(tried) == self._max_tests:
                break
            if not chosen or chosen in tried or any(known <= chosen for known in symmetries):
                continue
            tried.add(chosen)
            size = self._space.spec.spaces[self._space.space(next(iter(chosen)))]

            def move(chosen: frozenset[Occurrence] = chosen, size: int = size) -> Move:
                return self._space.partial_move(chosen, random_permutation(self._rng, size))

            if self._judge(move, f"permuting only {self._space.describe(chosen)} ({what})"):
                symmetries.append(chosen)
        self._found.exhaustive &= len(tried) == total

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

    def _sampled(
        self,
        axes: Sequence[Occurrence],
        as_set: Callable[[Iterable[Occurrence]], frozenset[Occurrence]],
    ) -> Iterator[frozenset[Occurrence]]:
        """Single axes, axes of one parameter, of one space, pairs, and random sets of any size."""
        for axis in axes:
            yield as_set([axis])
        spec = self._space
        for key in (lambda o: spec.owners[o.block], spec.space):
            for _, own in itertools.groupby(sorted(axes, key=key), key):
                yield as_set(own)
        for _ in range(self._max_tests):
            pair = self._rng.choice(len(axes), 2, replace=False)
            yield as_set(axes[i] for i in pair)
            share = self._rng.random()
            yield as_set(axis for axis in axes if self._rng.random() < share)


def _subsets(axes: Sequence[Occurrence]) -> Iterator[frozenset[Occurrence]]:
    """All but the empty one, small ones first."""
    for size in range(1, len(axes) + 1):
        yield from map(frozenset, itertools.combinations(axes, size))


def _is_array(point: Point, tensor: int) -> bool:
    return isinstance(point.inputs[tensor], np.ndarray)


def _is_moved(space: WeightSpace, point: Point, move: Move) -> bool:
    moved = moved_inputs(space, point.inputs, move)
    return any(
        index is not None and not np.array_equal(point.inputs[tensor], moved[tensor])
        for tensor, index in zip(space.inputs, move, strict=True)
    )
