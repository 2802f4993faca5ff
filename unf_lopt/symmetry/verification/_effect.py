"""Blocks of parameters on which the loss does not depend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from unf_lopt.symmetry.verification._change import change
from unf_lopt.symmetry.verification._draws import Point, draw_parameter
from unf_lopt.symmetry.verification._loss import PromotedLoss
from unf_lopt.symmetry.verification._moves import WeightSpace

# A gradient below this part of the largest one is rounding, where one of the block's own size is
# not.
_ROUNDING = 1e-10


def blocks_without_effect(
    loss: PromotedLoss,
    space: WeightSpace,
    points: Sequence[Point],
    rng: np.random.Generator,
    tolerance: float,
) -> frozenset[int]:
    """The blocks whose entries may be anything: loss and gradients stay as they are.

    A bias before a batch norm is one, and the bias of a key under a softmax. Permuting such a
    block alone changes nothing, whatever the symmetries are.
    """
    unmoved = [None] * len(space.inputs)

    def has_effect(block: int) -> bool:
        if _has_gradient(loss, space, points, block):
            return True
        for point in points:
            inputs = _redrawn(loss, space, point, block, rng)
            if inputs is None:
                return True
            found = change(loss, space, point.value, loss(inputs), unmoved)
            if not found.in_loss <= tolerance:
                return True
        return False

    return frozenset(b for b in range(len(space.positions)) if not has_effect(b))


def _has_gradient(
    loss: PromotedLoss, space: WeightSpace, points: Sequence[Point], block: int
) -> bool:
    tensor = space.inputs[space.owners[block]]
    if tensor >= len(loss.traced.paths):
        return False
    for point in points:
        gradient = point.value.gradients[tensor]
        if gradient is not None:
            own = np.max(np.abs(gradient.reshape(-1)[space.positions[block]]))
            others = (np.max(np.abs(g)) for g in point.value.gradients if g is not None)
            if own > _ROUNDING * max(others):
                return True
    return False


def _redrawn(
    loss: PromotedLoss, space: WeightSpace, point: Point, block: int, rng: np.random.Generator
) -> list[Any] | None:
    """The inputs with other entries in a block: new floats, or others shuffled.

    None if they cannot be changed: keys, and integers that are all equal.
    """
    tensor = space.inputs[space.owners[block]]
    old, positions = point.inputs[tensor], space.positions[block].reshape(-1)
    if not isinstance(old, np.ndarray):
        return None
    new = old.copy()
    if np.issubdtype(old.dtype, np.inexact):
        leaf = loss.traced.inputs[tensor]
        drawn = draw_parameter(leaf, rng, 1.0, positive=True)
        new.reshape(-1)[positions] = drawn.reshape(-1)[positions]
    else:
        new.reshape(-1)[positions] = rng.permutation(old.reshape(-1)[positions])
        if np.array_equal(old, new):
            return None
    inputs = list(point.inputs)
    inputs[tensor] = new
    return inputs
