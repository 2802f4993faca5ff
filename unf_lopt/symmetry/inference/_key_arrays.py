"""Arrays of PRNG keys, typed or as words, and what becomes of them where entries are moved."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from unf_lopt.symmetry.inference._jaxprs import aval_of
from unf_lopt.symmetry.inference._keys import KeySet, KeyTable, Span
from unf_lopt.symmetry.inference._tables import registers


@dataclasses.dataclass(frozen=True)
class Number:
    """What an array is filled with: a known integer, counted from that of a symbol, if any.

    A symbol stands for an integer that does not change as long as the program runs.
    """

    value: int
    symbol: Any = None


@dataclasses.dataclass(frozen=True)
class Numbers:
    """Numbers of children, which may depend on the place in an array.

    Attributes:
      start: the first.
      axes: ``(axis, stride, size)``: how far the number moves on at every index along an axis. An
        axis that is None is lost: anywhere may be any of these numbers.
      symbol: what they count from, as in ``Number``.
    """

    start: int
    axes: tuple[tuple[int | None, int, int], ...] = ()
    symbol: Any = None

    @staticmethod
    def rows(shape: Sequence[int], first_axis: int = 0) -> Numbers:
        """Numbered row-major along some axes of an array."""
        strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        axes = range(first_axis, first_axis + len(shape))
        return Numbers(0, tuple(zip(axes, strides, shape, strict=True)))

    @property
    def span(self) -> Span:
        """All of them, and maybe more."""
        strides = [(stride, size) for _, stride, size in self.axes if size > 1]
        last = self.start + sum(stride * (size - 1) for stride, size in strides)
        stride = math.gcd(*(stride for stride, _ in strides)) or 1
        return self.symbol, self.start, last + 1, stride

    @property
    def depends_on_place(self) -> bool:
        """Whether it is known which of them stands where."""
        return any(axis is not None and size > 1 for axis, _, size in self.axes)

    def along(self, axes: Mapping[int, int]) -> Numbers:
        """The same with other axes, ``{old: new}``; those left out are lost."""
        moved = tuple(
            (None if axis is None else axes.get(axis), stride, size)
            for axis, stride, size in self.axes
        )
        return Numbers(self.start, moved, self.symbol)

    def cut(self, axis: int, start: int, stop: int, step: int) -> Numbers:
        """Those of a slice."""
        length = len(range(start, stop, step))
        axes = tuple(
            (own, stride * step, length) if own == axis else (own, stride, size)
            for own, stride, size in self.axes
        )
        moved = sum(stride * start for own, stride, _ in self.axes if own == axis)
        return Numbers(self.start + moved, axes, self.symbol)


ANY_SEED = Numbers(0, ((None, 1, 2**64),))
ANY_FOLDED_IN = Numbers(0, ((None, 1, 2**32),))


@dataclasses.dataclass(frozen=True)
class Keys:
    """The keys in an array.

    Attributes:
      base: the keys that they derive from.
      path: how: the numbers of children, then of children of these, and so on.
    """

    base: KeySet
    path: tuple[Numbers, ...] = ()

    def all(self, table: KeyTable) -> KeySet:
        """The set of all of them."""
        keys = self.base
        for numbers in self.path:
            keys = table.child(keys, numbers.span)
        return keys

    def children(self, table: KeyTable, numbers: Numbers) -> Keys:
        """Children of all of them."""
        base, path = self.base, self.path
        while path and not path[0].depends_on_place:
            base, path = table.child(base, path[0].span), path[1:]
        return Keys(base, (*path, numbers))

    def along(self, axes: Mapping[int, int]) -> Keys:
        """The same with other axes, ``{old: new}``; those left out are lost."""
        return Keys(self.base, tuple(numbers.along(axes) for numbers in self.path))

    def cut(self, axis: int, start: int, stop: int, step: int = 1) -> Keys:
        """Those of a slice."""
        return Keys(self.base, tuple(n.cut(axis, start, stop, step) for n in self.path))


Value = Keys | Number | None  # None: anything else


def is_key(array: Any) -> bool:
    """Whether an array, or its aval, has a key dtype."""
    dtype = getattr(array, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)


def is_scalar(aval: Any) -> bool:
    """Whether an array of keys, or of their words, holds one key."""
    return aval.ndim == (0 if is_key(aval) else 1)


def long(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape without sizes 1, which do not change what is drawn."""
    return tuple(size for size in shape if size != 1)


def along(keys: Keys, old: Any, new: Any, axes: Mapping[int, int]) -> Keys | None:
    """Keys after their axes have moved; None where words of keys are torn apart.

    Args:
      keys: the keys.
      old: the aval of the array that holds them, or their words along its last axis.
      new: the aval that the axes move to.
      axes: ``{old axis: new axis}`` of all that stay whole and in order.
    """
    if not is_key(old) and axes.get(old.ndim - 1) != new.ndim - 1:
        return None
    return keys.along(axes)


def union(table: KeyTable, alternatives: Sequence[Keys]) -> Keys:
    """Keys that may be any of several."""
    keys = table.new()
    for alternative in alternatives:
        alternative.all(table).flow_into(keys)
    return Keys(keys)


def moved(
    table: KeyTable, equation: core.JaxprEqn, values: Sequence[Value]
) -> Sequence[Value] | None:
    """What an equation that only moves entries about makes of keys and known numbers.

    Args:
      table: the sets of keys.
      equation: the equation.
      values: what its inputs hold.

    Returns:
      What its outputs hold, or None if it does something else with them.
    """
    name = equation.primitive.name
    if name in _PASSES:
        return list(values)
    if name == "convert_element_type":
        return _converted(equation, values)
    if name == "add":
        return _added(equation, values)
    if name in _PICKS:
        return _picked(table, equation, values[_PICKS[name] :])
    if name == "gather":
        return _gathered(table, equation, values)
    if name not in _MOVES or any(isinstance(value, Keys) for value in values[1:]):
        return None
    if not isinstance(values[0], Keys):
        return [values[0]] * len(equation.outvars)
    results = _MOVES[name](equation, values[0], equation.invars[0].aval)
    return None if None in results else results


# Every output is an input.
_PASSES = (
    "copy",
    "device_put",
    "layout_constraint",
    "mesh_cast",
    "name",
    "optimization_barrier",
    "reduce_precision",
    "reshard",
    "sharding_constraint",
    "stop_gradient",
)
# Entries are chosen from several inputs, from the one with this number on.
_PICKS = {"concatenate": 0, "select_n": 1, "stack": 0}


def _converted(equation: core.JaxprEqn, values: Sequence[Value]) -> Sequence[Value] | None:
    (value,), (old,), new = values, equation.invars, equation.params["new_dtype"]
    if isinstance(value, Keys):
        return [value] if aval_of(old).dtype == new else None
    return [_fitting(value, new)]


def _fitting(number: Number | None, dtype: Any) -> Number | None:
    """A number in an integer type that is wide enough for it not to become another one."""
    if number is None or not np.issubdtype(dtype, np.integer):
        return None
    limits = np.iinfo(dtype)
    if number.symbol is None:
        return number if limits.min <= number.value <= limits.max else None
    # Where it overflows it is known but for multiples of 2**32, as all that is folded in.
    return Number(number.value % 2**32, number.symbol) if limits.bits >= 32 else None


def _added(equation: core.JaxprEqn, values: Sequence[Value]) -> Sequence[Value] | None:
    left, right = values
    if not isinstance(left, Number) or not isinstance(right, Number):
        return None
    if left.symbol is None:
        left, right = right, left
    total = None if right.symbol is not None else Number(left.value + right.value, left.symbol)
    return [_fitting(total, aval_of(equation.outvars[0]).dtype)]


def _picked(
    table: KeyTable, equation: core.JaxprEqn, values: Sequence[Value]
) -> Sequence[Value] | None:
    if all(value == values[0] for value in values) and not isinstance(values[0], Keys):
        return [values[0]]
    keys = [value for value in values if isinstance(value, Keys)]
    if len(keys) < len(values):
        return None
    (out,) = map(aval_of, equation.outvars)
    axis = equation.params.get("dimension", equation.params.get("axis"))
    if not is_key(out) and axis == out.ndim - 1:
        return None
    return [union(table, keys)]


def _gathered(
    table: KeyTable, equation: core.JaxprEqn, values: Sequence[Value]
) -> Sequence[Value] | None:
    """Any of the keys may be anywhere, if each is taken with all its words."""
    keys, indices = values
    old, new = aval_of(equation.invars[0]), aval_of(equation.outvars[0])
    params = equation.params
    if not isinstance(keys, Keys) or isinstance(indices, Keys):
        return None
    if not is_key(old):
        words, numbers = old.ndim - 1, params["dimension_numbers"]
        dropped = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
        is_whole = params["slice_sizes"][words] == old.shape[words] and words not in dropped
        if not is_whole or new.ndim - 1 not in numbers.offset_dims:
            return None
    # Beyond the end there may be a constant.
    return [union(table, [keys, Keys(table.fixed).children(table, ANY_SEED)])]


_Move = Callable[[core.JaxprEqn, Keys, Any], "list[Keys | None]"]
_MOVES: dict[str, _Move] = {}
_move = registers(_MOVES)


@_move("squeeze", "expand_dims", "reshape")
def _reshape(equation: core.JaxprEqn, keys: Keys, old: Any) -> list[Keys | None]:
    """Axes keep their steps as far as the shapes agree from either end."""
    new = aval_of(equation.outvars[0])
    if equation.params.get("dimensions") is not None and equation.primitive.name == "reshape":
        return [None]
    left = [axis for axis, size in enumerate(old.shape) if size != 1]
    right = [axis for axis, size in enumerate(new.shape) if size != 1]
    axes = {}
    for pairs in (zip(left, right, strict=False), zip(left[::-1], right[::-1], strict=False)):
        for a, b in pairs:
            if old.shape[a] != new.shape[b]:
                break
            axes[a] = b
    return [along(keys, old, new, axes)]


@_move("transpose")
def _transpose(equation: core.JaxprEqn, keys: Keys, old: Any) -> list[Keys | None]:
    axes = {a: b for b, a in enumerate(equation.params["permutation"])}
    return [along(keys, old, aval_of(equation.outvars[0]), axes)]


@_move("broadcast_in_dim")
def _broadcast(equation: core.JaxprEqn, keys: Keys, old: Any) -> list[Keys | None]:
    new = aval_of(equation.outvars[0])
    places = enumerate(equation.params["broadcast_dimensions"])
    axes = {a: b for a, b in places if old.shape[a] == new.shape[b]}
    return [along(keys, old, new, axes)]


@_move("dynamic_slice")
def _dynamic_slice(equation: core.JaxprEqn, keys: Keys, old: Any) -> list[Keys | None]:
    new = aval_of(equation.outvars[0])
    axes = {axis: axis for axis in range(old.ndim) if old.shape[axis] == new.shape[axis]}
    return [along(keys, old, new, axes)]


@_move("rev")
def _rev(equation: core.JaxprEqn, keys: Keys, old: Any) -> list[Keys | None]:
    reversed_axes = equation.params["dimensions"]
    return [along(keys, old, old, {d: d for d in range(old.ndim) if d not in reversed_axes})]


@_move("slice")
def _slice(equation: core.JaxprEqn, keys: Keys, old: Any) -> list[Keys | None]:
    params = equation.params
    strides = params["strides"] or [1] * old.ndim
    bounds = zip(params["start_indices"], params["limit_indices"], strides, strict=True)
    return [_cut(keys, old, [*bounds])]


@_move("split")
def _split(equation: core.JaxprEqn, keys: Keys, old: Any) -> list[Keys | None]:
    start, results = 0, []
    for size in map(int, equation.params["sizes"]):
        bounds = [(0, length, 1) for length in old.shape]
        bounds[equation.params["axis"]] = (start, start + size, 1)
        results.append(_cut(keys, old, bounds))
        start += size
    return results


@_move("unstack")
def _unstack(equation: core.JaxprEqn, keys: Keys, old: Any) -> list[Keys | None]:
    position = equation.params["axis"]
    axes = {axis: axis - (axis > position) for axis in range(old.ndim) if axis != position}
    new = aval_of(equation.outvars[0])
    return [
        along(keys.cut(position, index, index + 1), old, new, axes)
        for index in range(len(equation.outvars))
    ]


def _cut(keys: Keys, old: Any, bounds: Sequence[tuple[int, int, int]]) -> Keys | None:
    if not is_key(old) and bounds[-1] != (0, old.shape[-1], 1):
        return None
    for axis, (start, stop, step) in enumerate(bounds):
        keys = keys.cut(axis, start, stop, step)
    return keys
