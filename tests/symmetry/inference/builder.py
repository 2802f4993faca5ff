"""Random programs: losses that are sums over what random operations make of raw parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from unf_lopt.symmetry.inference import TracedLoss, trace_loss

Shape = tuple[int, ...]
EQUAL_SIZES = (2, 3, 4, 6)
MIXED_SIZES = (1, 2, 3, 4, 6)


class Builder:
    """What a random operation takes its operands from and gives its results to.

    The same seed makes the same choices, whether the program is run or traced; what they depend
    on are shapes only.

    Args:
      seed: of all choices.
      parameters: the values of the parameters in the order in which they are asked for; None to
        let their ``values`` be drawn.

    Attributes:
      rng: for the choices of operations.
      values: of every parameter that was asked for.
    """

    def __init__(self, seed: int, parameters: Sequence[Any] | None = None):
        self.rng = np.random.default_rng(seed)
        self._value_rng = np.random.default_rng(seed + 1)
        self.values: list[np.ndarray] = []
        self._given = parameters
        self._pool: list[Any] = []
        self._results: list[Any] = []
        equal = (int(self.rng.choice(EQUAL_SIZES)),)
        self._sizes = equal if self.rng.random() < 0.4 else MIXED_SIZES

    # ---------------------------------------------------------------------------------- choices
    def choose(self, items: Sequence[Any]) -> Any:
        """One of some items."""
        return items[int(self.rng.integers(len(items)))]

    def chance(self, probability: float = 0.5) -> bool:
        """True with some probability."""
        return bool(self.rng.random() < probability)

    def integer(self, low: int, high: int) -> int:
        """An integer from ``low`` to ``high``, both included."""
        return int(self.rng.integers(low, high + 1))

    def size(self, at_least: int = 1) -> int:
        """The size of an axis."""
        fitting = [size for size in self._sizes if size >= at_least]
        return self.choose(fitting or [at_least])

    def shape(self, rank: int | tuple[int, int] = (1, 3), at_least: int = 1) -> Shape:
        """A shape of some rank, or of one between two."""
        rank = rank if isinstance(rank, int) else self.integer(*rank)
        return tuple(self.size(at_least) for _ in range(rank))

    def order(self, count: int) -> list[int]:
        """The numbers below ``count`` in random order."""
        return [int(n) for n in self.rng.permutation(count)]

    def subset(self, items: Sequence[Any], low: int = 0, high: int | None = None) -> list[Any]:
        """Some of the items, in their order."""
        count = self.integer(low, len(items) if high is None else high)
        return [items[n] for n in sorted(self.order(len(items))[:count])]

    # --------------------------------------------------------------------------------- operands
    def parameter(self, shape: Shape, draw: Callable[..., np.ndarray] | None = None) -> Any:
        """A new raw parameter, all axes of it free; ``draw(rng, shape)`` makes its value."""
        draw = draw or (lambda rng, shape: rng.normal(size=shape))
        number = len(self.values)
        self.values.append(np.asarray(draw(self._value_rng, tuple(shape))))
        return jnp.asarray(self.values[-1]) if self._given is None else self._given[number]

    def integers(self, shape: Shape, low: int = -9, high: int = 9) -> Any:
        """A parameter of integers from ``low`` to ``high``, ties among them."""
        return self.parameter(shape, lambda rng, shape: rng.integers(low, high + 1, shape))

    def booleans(self, shape: Shape) -> Any:
        """A parameter of booleans."""
        return self.parameter(shape, lambda rng, shape: rng.random(shape) < 0.5)

    def complexes(self, shape: Shape) -> Any:
        """A parameter of complex numbers."""
        return self.parameter(
            shape, lambda rng, shape: rng.normal(size=shape) + 1j * rng.normal(size=shape)
        )

    def constant(self, shape: Shape) -> np.ndarray:
        """A constant, along some of its axes the same, all or in blocks; sometimes a diagonal."""
        value = np.array(self.rng.normal(size=shape))
        for axis in range(len(shape)):
            if self.chance(0.4):
                value = value[(slice(None),) * axis + (slice(0, 1),)].repeat(shape[axis], axis)
            elif self.chance(0.4):
                value = value.take(np.arange(shape[axis]) // 2 * 2, axis)
        if len(shape) > 1 and shape[0] == shape[1] and self.chance():
            diagonal = np.eye(shape[0]).reshape(*shape[:2], *[1] * (len(shape) - 2))
            value = np.where(diagonal, value[:1, :1], value[-1:, :1])
        return value

    def array(self, shape: Shape | None = None, rank: int | tuple[int, int] = (1, 3)) -> Any:
        """Floats: a raw parameter, an array that an operation made, or one of made-up axes."""
        shape = self.shape(rank) if shape is None else tuple(shape)
        fitting = [array for array in self._pool if array.shape == shape]
        if fitting and self.chance(0.4):
            return self.choose(fitting)
        array = self.parameter(shape) if self.chance(0.5) else self.composed(shape)
        self._pool.append(array)
        return array

    def positive(self, shape: Shape | None = None, rank: int | tuple[int, int] = (1, 3)) -> Any:
        """Like :meth:`array`, but positive."""
        return lax.abs(self.array(shape, rank)) + 0.25

    def bounded(self, shape: Shape | None = None, rank: int | tuple[int, int] = (1, 3)) -> Any:
        """Like :meth:`array`, but between -1 and 1."""
        return lax.tanh(self.array(shape, rank))

    def add(self, *results: Any) -> None:
        """Lets the loss depend on results, and later operations use those that are floats."""
        for result in results:
            self._results.append(result)
            if result.dtype == jnp.float64 and result.ndim and 0 < result.size <= 400:
                self._pool.append(result)

    def loss(self) -> Any:
        """A scalar in which every result counts."""
        return sum((_total(result) for result in self._results), jnp.zeros(()))

    # ---------------------------------------------------------------------------- made-up axes
    def structured(self, shape: Shape, axis: int) -> Any:
        """An array of which one axis is a product, a sum, or a part of one."""
        makers = (self._joined, self._merged, self._cut, self._padded)
        return self.choose(makers)(shape, axis)

    def composed(self, shape: Shape) -> Any:
        """An array whose axes are products, sums, or shared."""
        makers = [self._transposed, self._broadcast, self._reused]
        long = [axis for axis, size in enumerate(shape) if size > 1]
        if long:
            makers += [self.structured] * 4
        if any(size == shape[0] for size in shape[1:]):
            makers.append(self._symmetrized)
        return self.choose(makers)(shape, self.choose(long) if long else 0)

    def _transposed(self, shape: Shape, axis: int) -> Any:
        order = self.order(len(shape))
        return lax.transpose(self.parameter([shape[n] for n in np.argsort(order)]), order)

    def _broadcast(self, shape: Shape, axis: int) -> Any:
        kept = self.subset(range(len(shape)))
        array = self.parameter([shape[n] for n in kept])
        return lax.broadcast_in_dim(array, shape, kept) + self.parameter(shape)

    def _reused(self, shape: Shape, axis: int) -> Any:
        array = self.parameter(shape)
        return array * lax.tanh(array)

    def _symmetrized(self, shape: Shape, axis: int) -> Any:
        other = next(n for n, size in enumerate(shape) if n and size == shape[0])
        array = self.parameter(shape)
        return array + jnp.swapaxes(array, 0, other)

    def _joined(self, shape: Shape, axis: int) -> Any:
        """A concatenation, sometimes of one array with itself."""
        size = shape[axis]
        first = size // 2 if self.chance() else self.integer(1, size - 1)
        left = self.parameter((*shape[:axis], first, *shape[axis + 1 :]))
        if 2 * first == size and self.chance(0.3):
            return lax.concatenate([left, lax.tanh(left)], axis)
        right = self.parameter((*shape[:axis], size - first, *shape[axis + 1 :]))
        return lax.concatenate([left, right], axis)

    def _merged(self, shape: Shape, axis: int) -> Any:
        """A reshape that joins axes."""
        return self.parameter(self.factored(shape, axis)).reshape(shape)

    def factored(self, shape: Shape, axis: int) -> Shape:
        """The shape with an axis split into two factors, or kept where it is prime."""
        divisors = [n for n in range(2, shape[axis]) if shape[axis] % n == 0]
        if not divisors:
            return shape
        major = self.choose(divisors)
        return (*shape[:axis], major, shape[axis] // major, *shape[axis + 1 :])

    def _cut(self, shape: Shape, axis: int) -> Any:
        """A slice with or without a stride."""
        if self.chance(0.4):
            stride, start = self.choose((2, 3)), self.integer(0, 1)
            larger = self.parameter((*shape[:axis], stride * shape[axis], *shape[axis + 1 :]))
            return lax.slice_in_dim(larger, start, None, stride, axis)
        before, after = self.integer(0, 2), self.integer(1, 2)
        larger = (*shape[:axis], before + shape[axis] + after, *shape[axis + 1 :])
        return lax.slice_in_dim(self.parameter(larger), before, before + shape[axis], 1, axis)

    def _padded(self, shape: Shape, axis: int) -> Any:
        low = self.integer(0, shape[axis] - 1)
        config = [(0, 0, 0)] * len(shape)
        config[axis] = (low, 1 - low, 0) if self.chance() else (1, 0, 0)
        taken = sum(config[axis][:2])
        smaller = (*shape[:axis], shape[axis] - taken, *shape[axis + 1 :])
        return lax.pad(self.parameter(smaller), 0.5, config)


def _total(result: Any) -> Any:
    if jnp.issubdtype(result.dtype, jnp.complexfloating):
        result = lax.real(result) + 2 * lax.imag(result)
    return lax.reduce_sum(
        lax.convert_element_type(result, jnp.float64), axes=tuple(range(result.ndim))
    )


def build(
    operations: Sequence[Callable[[Builder], None]], seed: int
) -> tuple[TracedLoss, list[np.ndarray]]:
    """The loss that some operations make, traced, and parameters for it.

    Args:
      operations: each takes arrays from a builder and adds its results.
      seed: of everything.
    """

    def run(builder: Builder) -> Any:
        for operation in operations:
            operation(builder)
        return builder.loss()

    first = Builder(seed)
    jax.eval_shape(lambda: run(first))
    traced = trace_loss(lambda parameters: run(Builder(seed, parameters)), first.values, ())
    return traced, first.values


def elements(shape: Shape) -> int:
    """How many entries an array has."""
    return math.prod(shape)
