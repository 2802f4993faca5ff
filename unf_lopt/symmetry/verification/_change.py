"""How far an evaluation is from what the law says."""

from __future__ import annotations

import dataclasses

import numpy as np

from unf_lopt.symmetry.verification._draws import Point
from unf_lopt.symmetry.verification._loss import Evaluation, PromotedLoss
from unf_lopt.symmetry.verification._moves import Move, WeightSpace, moved_inputs

# Deviations of a gradient are measured against its own largest entry, but at least against this
# part of the largest entry of all gradients: what cancels to nothing (the gradient of a bias
# before a batch norm) leaves some 1e-15 of the largest one behind.
_FLOOR = 1e-3


@dataclasses.dataclass(frozen=True)
class Change:
    """Relative deviations from the law at one point.

    Attributes:
      loss: of the loss, relative to its absolute value.
      gradient: of the gradients, relative to the largest entry of each, or a thousandth of the
        largest of all if that is more; the largest one.
      path: the parameter whose gradient that is.
      state: of the new model state, relative to the largest entry of each.
    """

    loss: float
    gradient: float = 0.0
    path: str = ""
    state: float = 0.0

    @property
    def in_loss(self) -> float:
        """The larger one of loss and gradient; infinite where one is not a number."""
        return max(self.loss, self.gradient)

    @property
    def largest(self) -> float:
        """The largest of all."""
        return max(self.in_loss, self.state)


def change_by(loss: PromotedLoss, space: WeightSpace, point: Point, move: Move) -> Change:
    """Compares ``f(move(inputs))`` with ``move(f(inputs))`` for loss, gradients and new state."""
    return change(loss, space, point.value, loss(moved_inputs(space, point.inputs, move)), move)


def change(
    loss: PromotedLoss, space: WeightSpace, before: Evaluation, after: Evaluation, move: Move
) -> Change:
    """How far ``after`` is from ``before`` with a move applied to it."""
    indices = dict(zip(space.inputs, move, strict=True))
    largest = max((_size(g) for g in before.gradients if g is not None), default=0.0)
    worst, worst_path = 0.0, ""
    for position, (old, new) in enumerate(zip(before.gradients, after.gradients, strict=True)):
        if old is None or new is None:  # of integers, in both
            continue
        deviation = _deviation(old, new, indices[position]) / (_size(old) + _FLOOR * largest or 1.0)
        if deviation > worst:
            worst, worst_path = deviation, loss.traced.paths[position]
    in_state = 0.0
    for position, old, new in zip(loss.traced.state_inputs, before.state, after.state, strict=True):
        if old is not None and new is not None:
            deviation = _deviation(old, new, indices[position]) / (_size(old) or 1.0)
            in_state = max(in_state, deviation)
    scale = abs(before.loss) + 1e-6 * largest or 1.0
    return Change(_finite(abs(after.loss - before.loss) / scale), worst, worst_path, in_state)


def _deviation(old: np.ndarray, new: np.ndarray, index: np.ndarray | None) -> float:
    expected = old if index is None else np.take(old, index)
    return _finite(_size(new.astype(np.result_type(new, 0.0)) - expected))


def _size(x: np.ndarray) -> float:
    return float(np.max(np.abs(x), initial=0.0))


def _finite(x: float) -> float:
    return x if np.isfinite(x) else np.inf
