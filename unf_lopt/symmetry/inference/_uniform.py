"""Along which axes an array does not vary, so that whoever uses it may permute them as they like.

A mask of ones, a zero state, a broadcast scalar: permuting the entries of such an array along
such an axis changes nothing, so two layers that use it are not tied by it. The walk marks these
axes, and gives them a new node at each use. Here stands how the mark goes from the inputs of an
equation to its outputs; what is not in the table loses it, which ties more than it must but is
never wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jax.extend import core

from unf_lopt.symmetry.inference._graph import Node, common_blocks
from unf_lopt.symmetry.inference._jaxprs import aval_of
from unf_lopt.symmetry.inference._tables import registers
from unf_lopt.symmetry.inference.rules.elementwise import ELEMENTWISE

Axes = tuple[Node, ...]
Flags = Sequence[bool]
Rule = Callable[[core.JaxprEqn, list[Axes], list[Flags]], list[Flags]]

_RULES: dict[str, Rule] = {}


def uniform_axes(equation: core.JaxprEqn, arguments: list[Axes]) -> list[Flags] | None:
    """For every output and axis whether the output does not vary along it; None if none is known.

    Args:
      equation: an equation without jaxprs inside whose arrays have entries.
      arguments: the axes of every input, with their marks.
    """
    name = equation.primitive.name
    if name not in _RULES:
        return None
    if name not in _MAKERS and not any(node.uniform for axes in arguments for node in axes):
        return None
    flags: list[Flags] = [[node.uniform or node.size == 1 for node in axes] for axes in arguments]
    return _RULES[name](equation, arguments, flags)


_rule = registers(_RULES)


def _shape(equation: core.JaxprEqn) -> tuple[int, ...]:
    return tuple(aval_of(equation.outvars[0]).shape)


# These make axes along which nothing varies, whatever goes into them.
_MAKERS = {"broadcast_in_dim", "empty", "empty2", "iota", "tile", "zeros_like"}


@_rule(*ELEMENTWISE)
def _elementwise(equation: core.JaxprEqn, arguments: list[Axes], flags: list[Flags]) -> list[Flags]:
    result = [True] * len(_shape(equation))
    for own in flags:  # an axis of size 1 is broadcast, and marked
        result = [a and b for a, b in zip(result, own, strict=True)] if own else result
    return [result] * len(equation.outvars)


@_rule("device_put", "optimization_barrier")
def _pass(equation: core.JaxprEqn, arguments: list[Axes], flags: list[Flags]) -> list[Flags]:
    return flags


@_rule("rev")
def _first(equation: core.JaxprEqn, arguments: list[Axes], flags: list[Flags]) -> list[Flags]:
    return flags[:1]


@_rule("slice", "split", "dynamic_slice")
def _part(equation: core.JaxprEqn, arguments: list[Axes], flags: list[Flags]) -> list[Flags]:
    return flags[:1] * len(equation.outvars)


@_rule("transpose")
def _transpose(equation: core.JaxprEqn, arguments: list[Axes], flags: list[Flags]) -> list[Flags]:
    return [[flags[0][position] for position in equation.params["permutation"]]]


@_rule("squeeze")
def _squeeze(equation: core.JaxprEqn, arguments: list[Axes], flags: list[Flags]) -> list[Flags]:
    return [_remaining(flags[0], equation.params["dimensions"])]


@_rule("unstack")
def _unstack(equation: core.JaxprEqn, arguments: list[Axes], flags: list[Flags]) -> list[Flags]:
    return [_remaining(flags[0], [equation.params["axis"]])] * len(equation.outvars)


@_rule("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or")
@_rule("reduce_xor", "argmax", "argmin")
def _reduce(equation: core.JaxprEqn, arguments: list[Axes], flags: list[Flags]) -> list[Flags]:
    return [_remaining(flags[0], equation.params["axes"])]


@_rule("psum", "pmax", "pmin")
def _collective(equation: core.JaxprEqn, arguments: list[Axes], flags: list[Flags]) -> list[Flags]:
    return [_remaining(own, equation.params["axes"]) for own in flags]


def _remaining(flags: Flags, dropped: Sequence[int]) -> Flags:
    return [flag for position, flag in enumerate(flags) if position not in dropped]


@_rule("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp")
def _cumulative(equation: core.JaxprEqn, arguments: list[Axes], flags: list[Flags]) -> list[Flags]:
    return [[flag and n != equation.params["axis"] for n, flag in enumerate(flags[0])]]


@_rule("broadcast_in_dim")
def _broadcast(equation: core.JaxprEqn, arguments: list[Axes], flags: list[Flags]) -> list[Flags]:
    result = [True] * len(_shape(equation))
    for flag, position in zip(flags[0], equation.params["broadcast_dimensions"], strict=True):
        result[position] = flag
    return [result]


@_rule("tile")
def _tile(equation: core.JaxprEqn, arguments: list[Axes], flags: list[Flags]) -> list[Flags]:
    return [flags[0]]


@_rule("iota")
def _iota(equation: core.JaxprEqn, arguments: list[Axes], flags: list[Flags]) -> list[Flags]:
    dimension = equation.params["dimension"]
    return [[position != dimension for position in range(len(_shape(equation)))]]


@_rule("empty", "empty2", "zeros_like")
def _alike(equation: core.JaxprEqn, arguments: list[Axes], flags: list[Flags]) -> list[Flags]:
    return [[True] * len(_shape(equation))]


@_rule("reshape")
def _reshape(equation: core.JaxprEqn, arguments: list[Axes], flags: list[Flags]) -> list[Flags]:
    order = equation.params.get("dimensions") or range(len(flags[0]))
    axes = [(arguments[0][n], flags[0][n]) for n in order if arguments[0][n].size != 1]
    shape, remaining = _shape(equation), iter(axes)
    found: list[bool] = []
    for have, want in common_blocks([node for node, _ in axes], [n for n in shape if n != 1]):
        found += [all([next(remaining)[1] for _ in have])] * len(want)
    parts = iter(found)
    return [[size == 1 or next(parts) for size in shape]]


@_rule("concatenate", "stack")
def _joined(equation: core.JaxprEqn, arguments: list[Axes], flags: list[Flags]) -> list[Flags]:
    result = [all(own) for own in zip(*flags, strict=True)]
    if "dimension" in equation.params:
        result[equation.params["dimension"]] = False
    else:
        result.insert(equation.params["axis"], False)
    return [result]


@_rule("pad")
def _pad(equation: core.JaxprEqn, arguments: list[Axes], flags: list[Flags]) -> list[Flags]:
    """Also where it only cuts; what is put in is one number."""
    config = equation.params["padding_config"]
    return [[f and not any(n > 0 for n in own) for f, own in zip(flags[0], config, strict=True)]]


@_rule("dynamic_update_slice")
def _written(equation: core.JaxprEqn, arguments: list[Axes], flags: list[Flags]) -> list[Flags]:
    """Uniform along an axis that is written whole."""
    own = zip(arguments[0], arguments[1], flags[0], flags[1], strict=True)
    return [[a and b and old.size == new.size for old, new, a, b in own]]


@_rule("dot_general")
def _dot_general(equation: core.JaxprEqn, arguments: list[Axes], flags: list[Flags]) -> list[Flags]:
    contracted, batch = equation.params["dimension_numbers"]
    shared = [flags[0][a] and flags[1][b] for a, b in zip(*batch, strict=True)]
    free = [_remaining(own, (*c, *b)) for own, c, b in zip(flags, contracted, batch, strict=True)]
    return [[*shared, *free[0], *free[1]]]


@_rule("gather")
def _gather(equation: core.JaxprEqn, arguments: list[Axes], flags: list[Flags]) -> list[Flags]:
    """What is taken is uniform along the operand's axes, and along those of equal indices."""
    numbers: Any = equation.params["dimension_numbers"]
    operand, indices = flags
    batching = numbers.operand_batching_dims
    windows = iter(_remaining(operand, (*numbers.collapsed_slice_dims, *batching)))
    own = dict(zip(numbers.start_indices_batching_dims, batching, strict=True))
    batch = iter([f and (n not in own or operand[own[n]]) for n, f in enumerate(indices[:-1])])
    rank = range(len(_shape(equation)))
    return [[next(windows) if n in numbers.offset_dims else next(batch) for n in rank]]


@_rule("conv_general_dilated")
def _convolution(equation: core.JaxprEqn, arguments: list[Axes], flags: list[Flags]) -> list[Flags]:
    """A mask under a kernel of ones: images and channels, if these are in no groups."""
    params = equation.params
    numbers = params["dimension_numbers"]
    result = [False] * len(flags[0])
    if params["feature_group_count"] == params["batch_group_count"] == 1:
        result[numbers.out_spec[0]] = flags[0][numbers.lhs_spec[0]]
        result[numbers.out_spec[1]] = flags[1][numbers.rhs_spec[0]]
    return [result]
