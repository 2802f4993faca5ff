"""Odd polynomials that bring singular values nearest to one."""

from __future__ import annotations

import functools

import numpy as np

Coefficients = tuple[float, float, float]
# Where the interval is a point: value 1 at 1, and no first and second derivative.
_AT_ONE = (15 / 8, -10 / 8, 3 / 8)
_POINT = 1e-3


@functools.lru_cache(maxsize=64)
def minimax_coefficients(steps: int, smallest: float | None = None) -> tuple[Coefficients, ...]:
    """The coefficients of ``a·x + b·x³ + c·x⁵`` in every round, so that the last is nearest to 1.

    Every round takes the polynomial with the least ``max |1 − p(x)|`` over the interval that the
    round before left, from ``[smallest, 1]``. To do so round by round is best for the whole
    (Amsel et al., "The Polar Express", arXiv 2505.16932, theorem 3.1).

    Args:
      steps: the number of rounds.
      smallest: the singular value, of a largest of 1, from which on this holds; smaller ones grow
        as fast as any. None for what so many rounds can do: 0.03 for two, 0.01 for three.
    """
    low, high = 10 ** (-(steps + 1) / 2) if smallest is None else smallest, 1.0
    found = []
    for _ in range(steps):
        coefficients, error = _nearest_to_one(low, high)
        found.append(coefficients)
        low, high = 1 - error, 1 + error
    return tuple(found)


def _nearest_to_one(low: float, high: float) -> tuple[Coefficients, float]:
    """The best odd quintic on an interval, and its error, by Remez' algorithm.

    The error has equal size and alternating sign at four points: both ends, and two between, where
    the derivative ``a + 3b·x² + 5c·x⁴`` is zero.
    """
    if high - low < _POINT:
        return _AT_ONE, (high - low) ** 3
    inner = np.array([0.75 * low + 0.25 * high, 0.25 * low + 0.75 * high])
    coefficients, error = np.zeros(3), 0.0
    for _ in range(50):
        points = np.array([low, *inner, high])
        system = np.stack([points, points**3, points**5, [1, -1, 1, -1]], 1)
        *coefficients, error = np.linalg.solve(system, np.ones(4))
        a, b, c = coefficients
        root = np.sqrt(max(9 * b * b - 20 * a * c, 0.0))
        moved = np.sqrt(np.abs((-3 * b + np.array([-root, root])) / (10 * c)))
        if np.allclose(moved, inner, rtol=1e-12, atol=0):
            break
        inner = moved
    a, b, c = map(float, coefficients)
    return (a, b, c), abs(float(error))
