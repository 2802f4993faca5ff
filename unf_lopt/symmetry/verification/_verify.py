"""A spec tested on numbers."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from unf_lopt.symmetry._errors import SymmetryError, check_kind
from unf_lopt.symmetry._spec import PermutationSpec
from unf_lopt.symmetry.inference._infer import Inference, infer_traced
from unf_lopt.symmetry.inference._permuted_draws import permute_draws
from unf_lopt.symmetry.inference._trace import trace_loss
from unf_lopt.symmetry.verification._change import Change, change, change_by
from unf_lopt.symmetry.verification._draws import Point, draw_points
from unf_lopt.symmetry.verification._effect import blocks_without_effect
from unf_lopt.symmetry.verification._loss import PromotedLoss
from unf_lopt.symmetry.verification._maximality import Maximality, Search
from unf_lopt.symmetry.verification._moves import (
    WeightSpace,
    moved_inputs,
    random_element,
    weight_space,
)
from unf_lopt.symmetry.verification._result import Verification

# At so many random points, and there under so many random elements of every group.
_POINTS = 2
_ELEMENTS = 2
# The largest change that is rounding, and the smallest that is none. Sums in another order change
# a float64 loss by some 1e-15 and, through ill-conditioned operations, by some thousand times
# that; in float32 both are 1e9 times larger.
_CERTIFIED = (1e-10, 1e-6)
_NOT_CERTIFIED = (1e-4, 1e-2)
# So many parameters are named in an error.
_SHOWN = 6


def verify_spec(
    spec: PermutationSpec,
    loss_fn: Callable[..., Any],
    params: Any,
    *args: Any,
    has_aux: bool = False,
    state_argnum: int | None = None,
    randomness: str = "frozen",
    seed: int = 0,
    maximality: bool = True,
    max_tests: int = 512,
) -> Verification:
    """Tests on numbers that a spec is a symmetry of a loss, and that it has all of them.

    For random parameters θ and random elements π of the group, all groups at once and each
    alone, ``loss(π·θ) = loss(θ)`` and ``grad(π·θ) = π·grad(θ)``. The loss is traced once, as the
    user runs it, and differentiated; its jaxpr is then evaluated in float64, with every cast to
    a narrower float taken as one to float64, for float32 hides violations below 1e-6. What
    cannot be computed in float64 (callbacks, kernels, bits of floats) runs as it is, and the
    result is not certified.

    A spec is maximal if none that is finer or freer holds. Tried are the groups that an inference
    finds. A finer spec splits a group: that is ruled out by pairs of axes that must move together,
    and what pairs leave is tried set by set. A freer one moves fixed axes, their segments or
    factors: that is ruled out for an axis whose indices the loss tells apart when all else is
    uniform along fixed axes; sets of the other fixed axes, of one size, are moved whole. What
    changes neither loss nor gradients is a symmetry that the spec lacks; that is reported, not
    raised. A nested group is permuted at random for every index of its outer spaces, and
    ``searched`` says so; whether other groups could be nested is no part of the verdict. Symmetries
    that no spec can express are not looked for.

    Args:
      spec: the spec of the parameters.
      loss_fn: ``loss_fn(params, *args)`` returns a scalar; with ``state_argnum``
        ``(loss, new_state)``; with ``has_aux`` one more output, which is ignored.
      params: the parameters, as arrays or ``jax.ShapeDtypeStruct``. Floats are drawn at random,
        for zeros and ones would hide errors, and drawn again until loss and gradients are finite
        and not negligible. Integers stay as they are given, or are drawn from 0 and 1.
      *args: the other arguments. Arrays are used as they are; data that are constant, such as
        zeros, can be symmetric themselves. A ``ShapeDtypeStruct`` is drawn: normal floats,
        integers 0 and 1, keys (also ``uint32[..., 2]``) of random bits.
      has_aux: whether the last output is auxiliary.
      state_argnum: the position among ``args`` of the model state, which is permuted with the
        parameters. Random positive numbers are added to its floats, and the new state is tested
        to be permuted too.
      randomness: what the spec claims of random draws in the loss, see
        :func:`unf_lopt.infer_spec`. ``"in_distribution"``: the law is tested with every draw
        permuted along with the parameters, as inference says; each test is compiled by itself,
        and maximality is not checked.
      seed: of all that is random here.
      maximality: whether to look for symmetries that the spec lacks.
      max_tests: how many pairs and sets of axes to try in each group, how many indices of a fixed
        axis, and how many sets of fixed axes of each size. Where there are more, they are sampled
        or left, and the verdict is ``"not refuted"``; ``searched`` tells what was tried.

    Returns:
      The figures. Changes are relative to the loss, and for gradients to the largest entry of
      each parameter's.

    Raises:
      SymmetryError: the spec is no symmetry: it names the group and the parameter; or the loss
        cannot be computed at any random point.
      SpecError: the spec has other parameters, or what :func:`unf_lopt.infer_spec` raises.
      ValueError: ``max_tests`` is not positive, or a spec with nested groups is to be tested in
        distribution.

    Example:
      >>> print(verify_spec(infer_spec(loss_fn, params, x), loss_fn, params, x))
    """
    check_kind("verify_spec(spec, loss_fn, params, ...): spec", spec, PermutationSpec)
    start = time.perf_counter()
    if max_tests < 1:
        raise ValueError(f"verify_spec(max_tests={max_tests}): at least one; maximality=False?")
    if spec.nesting and randomness != "frozen":
        raise ValueError(
            f"verify_spec(randomness={randomness!r}): of nested groups only the law for every key "
            "is tested; take spec.nest({})."
        )
    traced = trace_loss(loss_fn, params, args, has_aux=has_aux, state_argnum=state_argnum)
    space = weight_space(traced, spec)
    rng = np.random.default_rng(seed)
    loss = PromotedLoss(traced)
    points = draw_points(loss, rng, _POINTS)
    tolerance, clear = _NOT_CERTIFIED if loss.notes.lines else _CERTIFIED
    if randomness == "frozen":
        test = _Law(loss, space, points, rng, tolerance)
    else:
        inference = infer_traced(traced, randomness=randomness, within=spec, record=True)
        test = _LawInDistribution(loss, space, points[:1], rng, tolerance, inference)
        maximality = False
    group_changes = tuple((name, test({name})) for name in space.spec.groups)
    whole = test(space.spec.groups)
    found, without_effect = Maximality(), frozenset()
    if maximality:
        without_effect = blocks_without_effect(loss, space, points, rng, tolerance)
        limits = {"tolerance": tolerance, "clear": clear, "max_tests": max_tests}
        found = Search(loss, space, points, without_effect, rng, **limits).run()
    return Verification(
        certified=not loss.notes.lines,
        not_certified=tuple(loss.notes.lines),
        loss_only=loss.loss_only,
        tolerance=tolerance,
        change=whole,
        group_changes=group_changes,
        maximal=found.verdict if maximality else "not checked",
        symmetries=tuple(found.symmetries),
        undecided=tuple(found.undecided),
        tests=found.tests,
        searched=(*_nested(spec), *found.searched),
        without_effect=_parameters(space, without_effect, len(traced.paths)),
        seconds=time.perf_counter() - start,
    )


class _Law:
    """Permutes groups and compares; the largest change, or an error that names what changed."""

    _elements = _ELEMENTS

    def __init__(
        self,
        loss: PromotedLoss,
        space: WeightSpace,
        points: Sequence[Point],
        rng: np.random.Generator,
        tolerance: float,
    ):
        self._loss, self._space, self._points = loss, space, points
        self._rng, self._tolerance = rng, tolerance

    def __call__(self, groups: Collection[str]) -> float:
        largest = 0.0
        for point in self._points:
            for _ in range(self._elements):
                permutation = random_element(self._space, groups, self._rng)
                found = self._change(point, permutation)
                if not found.largest <= self._tolerance:
                    raise SymmetryError(self._message(groups, found))
                largest = max(largest, found.largest)
        return largest

    def _change(self, point: Point, permutation: Mapping[str, np.ndarray]) -> Change:
        move = self._space.group_move(permutation)
        return change_by(self._loss, self._space, point, move)

    def _message(self, groups: Collection[str], found: Change) -> str:
        what = [f"the loss by {found.loss:.1e} of its value"]
        if found.path:
            what.append(
                f"the gradients, most that of '{found.path}', by {found.gradient:.1e} of its "
                "largest entry"
            )
        if found.state:
            what.append(f"the new model state by {found.state:.1e}")
        which = f"group '{next(iter(groups))}' alone" if len(groups) == 1 else "all groups at once"
        blocks = zip(self._space.blocks.paths, self._space.blocks.axes, strict=True)
        moved = [path for path, axes in blocks if not set(groups).isdisjoint(axes)]
        shown = ", ".join(moved[:_SHOWN]) + f" and {len(moved) - _SHOWN} more" * (
            len(moved) > _SHOWN
        )
        return (
            f"verify_spec: the spec is no symmetry of the loss: permuting {which} (on "
            f"{shown}) changes {'; '.join(what)} (tolerance "
            f"{self._tolerance:.0e}). Compare with unf_lopt.infer_spec(loss_fn, params, ...), "
            "whose explain(path, axis) tells what ties an axis."
        )


class _LawInDistribution(_Law):
    """The same for a loss whose random draws are permuted along."""

    _elements = 1  # for each is compiled by itself

    def __init__(
        self,
        loss: PromotedLoss,
        space: WeightSpace,
        points: Sequence[Point],
        rng: np.random.Generator,
        tolerance: float,
        inference: Inference,
    ):
        super().__init__(loss, space, points, rng, tolerance)
        self._inference = inference

    def _change(self, point: Point, permutation: Mapping[str, np.ndarray]) -> Change:
        traced, space = self._loss.traced, self._space
        jaxpr = permute_draws(traced, self._inference, permutation)
        loss = PromotedLoss(dataclasses.replace(traced, jaxpr=jaxpr))
        move = space.group_move(permutation)
        after = loss(moved_inputs(space, point.inputs, move))
        return change(self._loss, space, point.value, after, move)


def _nested(spec: PermutationSpec) -> list[str]:
    """What was tested of nested groups, for people."""
    return [
        f"nested group '{inner}': {_POINTS * _ELEMENTS} elements, with permutations of its own for "
        f"every index of {' and '.join(outers)}; whether others could be nested is not tested"
        for inner, outers in spec.nesting
    ]


def _parameters(space: WeightSpace, blocks: Collection[int], count: int) -> tuple[str, ...]:
    """The paths of blocks that are parameters, not model state."""
    return tuple(space.blocks.paths[b] for b in sorted(blocks) if space.owners[b] < count)
