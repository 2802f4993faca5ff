"""Elementwise primitives: an axis of the output is that of every input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unf_lopt.symmetry.inference.rules._registry import rule, shape_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jax.extend import core

    from unf_lopt.symmetry.inference._walk import Axes, Walker

# fmt: off
_UNARY = (
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "bessel_i0e", "bessel_i1e",
    "cbrt", "ceil", "clz", "conj", "convert_element_type", "copy", "cos", "cosh",
    "digamma", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1", "floor",
    "imag", "integer_pow", "is_finite", "layout_constraint", "lgamma", "log", "log1p",
    "logistic", "name", "neg", "not", "population_count", "real",
    "reduce_precision", "reshard", "round", "rsqrt", "sharding_constraint", "sign", "sin",
    "sinh", "sqrt", "square", "stop_gradient", "tan", "tanh",
)
_MANY = (
    "add", "add_any", "and", "atan2", "clamp", "complex", "div", "eq", "eq_to", "ge", "gt",
    "igamma", "igamma_grad_a", "igammac", "le", "le_to", "lt", "lt_to", "max", "min", "mul",
    "mulhi", "ne", "nextafter", "or", "polygamma", "pow", "regularized_incomplete_beta",
    "rem", "select_n", "shift_left", "shift_right_arithmetic", "shift_right_logical", "sub",
    "xor", "zeta",
)
# fmt: on
ELEMENTWISE = (*_UNARY, *_MANY)


@rule(*ELEMENTWISE)
def elementwise(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """Ties equal axes of all inputs; scalars and axes of size 1 are broadcast."""
    shape = shape_out(equation)
    result: list = [None] * len(shape)
    for axes in arguments:
        for position, node in enumerate(axes):
            if node.size != shape[position]:
                continue  # size 1, broadcast
            if result[position] is None:
                result[position] = node
            else:
                walker.graph.unify(result[position], node)
    return [tuple(result)] * len(equation.outvars)


@rule("device_put", "optimization_barrier")
def barrier(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """Passes every input on."""
    return arguments


@rule("bitcast_convert_type")
def bitcast(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """An axis more or less at the end holds the pieces of an entry, in a fixed order."""
    (axes,) = arguments
    rank = len(shape_out(equation))
    if rank > len(axes):
        return [(*axes, walker.graph.leaf(shape_out(equation)[-1], frozen=True))]
    if rank < len(axes):
        walker.graph.freeze(axes[-1])
    return [axes[:rank]]
