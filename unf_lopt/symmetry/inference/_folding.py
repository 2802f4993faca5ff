"""What an equation makes of constants, computed during the walk.

``jnp.eye(n)`` is a comparison of two counters in a jaxpr, and ``jnp.arange(n) // k`` some integer
arithmetic. Only integers and booleans are computed, as JAX would. Of an elementwise function of
other numbers all that is known is that equal arguments give equal results; so its results are
told apart by those of its arguments, and whether they are rounded does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax.extend import core

from unf_lopt.symmetry.inference._constants import Constant, labels
from unf_lopt.symmetry.inference._jaxprs import ArrayType, aval_of
from unf_lopt.symmetry.inference.rules.elementwise import ELEMENTWISE

MOST_ENTRIES = 2**16  # of an array that is computed; larger ones would make the walk slow

Entries = tuple[np.ndarray, bool]  # as in `Constant`


def folded(equation: core.JaxprEqn, arguments: Sequence[Any]) -> Entries | None:
    """What an equation of constants alone computes; None where that is not known.

    Args:
      equation: an equation.
      arguments: the axes of its inputs.
    """
    name = equation.primitive.name
    is_known = name in _MOVES or name in ELEMENTWISE
    if not is_known or not all(isinstance(own, Constant) for own in arguments):
        return None
    out = aval_of(equation.outvars[0])
    sizes = [math.prod(out.shape), *(own.entries.size for own in arguments)]
    if 0 in sizes or max(sizes) > MOST_ENTRIES:
        return None
    if name in _MOVES:
        return _MOVES[name](equation, arguments)
    if name in _NUMBERS and out.dtype.kind in "biu" and all(own.are_numbers for own in arguments):
        return _computed(name, [own.entries for own in arguments], out)
    return labels([own.entries for own in arguments], out.shape), False


def _computed(name: str, arguments: list[np.ndarray], out: ArrayType) -> Entries | None:
    with np.errstate(all="ignore"):
        result = _NUMBERS[name](*arguments)
    if result is None:
        return None
    return np.broadcast_to(np.asarray(result, out.dtype), out.shape), True


# ----------------------------------------------------------------------------------- arithmetic
def _divide(a: np.ndarray, b: np.ndarray) -> Any:
    """Towards zero; by zero is not defined."""
    if not b.all():
        return None
    floor = a // b
    return floor + ((floor * b != a) & ((a < 0) != (b < 0)))


def _remainder(a: np.ndarray, b: np.ndarray) -> Any:
    return np.fmod(a, b) if b.all() else None


def _select(which: np.ndarray, *cases: np.ndarray) -> Any:
    arrays = np.stack(cases)
    numbers = np.broadcast_to(which.astype(np.int64).clip(0, len(cases) - 1), arrays.shape[1:])
    return np.take_along_axis(arrays, numbers[None], 0)[0]


_NUMBERS: dict[str, Callable[..., Any]] = {
    "abs": np.abs,
    "add": np.add,
    "and": np.bitwise_and,
    "convert_element_type": np.asarray,
    "copy": np.asarray,
    "div": _divide,
    "eq": np.equal,
    "ge": np.greater_equal,
    "gt": np.greater,
    "le": np.less_equal,
    "lt": np.less,
    "max": np.maximum,
    "min": np.minimum,
    "mul": np.multiply,
    "ne": np.not_equal,
    "neg": np.negative,
    "not": np.invert,
    "or": np.bitwise_or,
    "rem": _remainder,
    "select_n": _select,
    "sign": np.sign,
    "sub": np.subtract,
    "xor": np.bitwise_xor,
}


# ---------------------------------------------------------------------------------- other places
def _broadcast(equation: core.JaxprEqn, arguments: Sequence[Constant]) -> Entries:
    (operand,) = arguments
    shape = aval_of(equation.outvars[0]).shape
    aligned = [1] * len(shape)
    for size, position in zip(
        operand.entries.shape, equation.params["broadcast_dimensions"], strict=True
    ):
        aligned[position] = size
    return np.broadcast_to(operand.entries.reshape(aligned), shape), operand.are_numbers


def _reshape(equation: core.JaxprEqn, arguments: Sequence[Constant]) -> Entries:
    (operand,) = arguments
    entries = operand.entries
    if equation.params.get("dimensions") is not None:
        entries = entries.transpose(equation.params["dimensions"])
    return entries.reshape(aval_of(equation.outvars[0]).shape), operand.are_numbers


def _squeeze(equation: core.JaxprEqn, arguments: Sequence[Constant]) -> Entries:
    (operand,) = arguments
    return operand.entries.reshape(aval_of(equation.outvars[0]).shape), operand.are_numbers


def _transpose(equation: core.JaxprEqn, arguments: Sequence[Constant]) -> Entries:
    (operand,) = arguments
    return operand.entries.transpose(equation.params["permutation"]), operand.are_numbers


def _slice(equation: core.JaxprEqn, arguments: Sequence[Constant]) -> Entries:
    (operand,) = arguments
    starts, limits = equation.params["start_indices"], equation.params["limit_indices"]
    strides = equation.params["strides"] or [1] * len(starts)
    where = tuple(map(slice, starts, limits, strides))
    return operand.entries[where], operand.are_numbers


def _concatenate(equation: core.JaxprEqn, arguments: Sequence[Constant]) -> Entries:
    """Numbers; what else is equal within one operand is not said to be equal in another."""
    are_numbers = all(own.are_numbers for own in arguments)
    parts = [own.entries for own in arguments]
    if not are_numbers:
        parts = [labels([part], part.shape) + number * 2**21 for number, part in enumerate(parts)]
    return np.concatenate(parts, equation.params["dimension"]), are_numbers


def _iota(equation: core.JaxprEqn, arguments: Sequence[Constant]) -> Entries:
    out = aval_of(equation.outvars[0])
    are_numbers = out.dtype.kind in "biu"
    dimension = equation.params["dimension"]
    counter = np.arange(out.shape[dimension]).astype(out.dtype if are_numbers else np.int64)
    aligned = [size if n == dimension else 1 for n, size in enumerate(out.shape)]
    return np.broadcast_to(counter.reshape(aligned), out.shape), are_numbers


_MOVES: dict[str, Callable[[core.JaxprEqn, Sequence[Constant]], Entries]] = {
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "iota": _iota,
    "reshape": _reshape,
    "slice": _slice,
    "squeeze": _squeeze,
    "transpose": _transpose,
}
