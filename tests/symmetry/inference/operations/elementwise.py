"""Elementwise operations: on equal shapes, with scalars, with constants, with axes of size 1."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.experimental.layout import Layout, with_layout_constraint

from tests.symmetry.inference.builder import Builder
from tests.symmetry.inference.operations.registry import add, operation

_ANY = {
    "abs": lax.abs, "asinh": lax.asinh, "atan": lax.atan, "bessel_i0e": lax.bessel_i0e,
    "bessel_i1e": lax.bessel_i1e, "cbrt": lax.cbrt, "ceil": lax.ceil, "cos": lax.cos,
    "cosh": lax.cosh, "erf": lax.erf, "erfc": lax.erfc, "exp": lax.exp, "exp2": lax.exp2,
    "expm1": lax.expm1, "floor": lax.floor, "is_finite": lax.is_finite,
    "logistic": lax.logistic, "neg": lax.neg, "round": lax.round, "sign": lax.sign,
    "sin": lax.sin, "sinh": lax.sinh, "square": lax.square, "tan": lax.tan, "tanh": lax.tanh,
    "integer_pow": functools.partial(lax.integer_pow, y=3),
    "reduce_precision": functools.partial(lax.reduce_precision, exponent_bits=8, mantissa_bits=9),
    "name": lambda x: checkpoint_name(x, "kept"),
    "copy": jnp.copy,
    "device_put": jax.device_put,
    "convert_element_type": lambda x: lax.convert_element_type(x * 3, jnp.int32),
}  # fmt: skip
_POSITIVE = {
    "digamma": lax.digamma, "lgamma": lax.lgamma, "log": lax.log, "log1p": lax.log1p,
    "rsqrt": lax.rsqrt, "sqrt": lax.sqrt, "acosh": lambda x: lax.acosh(x + 1),
}  # fmt: skip
_BOUNDED = {"acos": lax.acos, "asin": lax.asin, "atanh": lax.atanh, "erf_inv": lax.erf_inv}
_COMPLEX = {"conj": lax.conj, "imag": lax.imag, "real": lax.real, "exp": lax.exp}
_INTEGER = {"clz": lax.clz, "not": lax.bitwise_not, "population_count": lax.population_count}

_TWO = {
    "add": lax.add, "atan2": lax.atan2, "div": lax.div, "max": lax.max, "min": lax.min,
    "mul": lax.mul, "nextafter": lax.nextafter, "rem": lax.rem, "sub": lax.sub,
    "complex": lax.complex, "eq": lax.eq, "ge": lax.ge, "gt": lax.gt, "le": lax.le, "lt": lax.lt,
    "ne": lax.ne,
}  # fmt: skip
_TWO_POSITIVE = {
    "igamma": lax.igamma, "igammac": lax.igammac, "pow": lax.pow, "zeta": lambda a, b: lax.zeta(
        a + 1.5, b
    ),
    "polygamma": lambda a, b: lax.polygamma(lax.floor(a + 1), b),
    "igamma_grad_a": lax.igamma_grad_a,
    "random_gamma_grad": lax.random_gamma_grad,
}  # fmt: skip
_TWO_INTEGERS = {
    "and": lax.bitwise_and, "or": lax.bitwise_or, "xor": lax.bitwise_xor,
    "rem_of_integers": lambda a, b: lax.rem(a, lax.abs(b) + 1),
    "div_of_integers": lambda a, b: lax.div(a, lax.abs(b) + 1),
    "shift_left": lambda a, b: lax.shift_left(a, b & 7),
    "shift_right_arithmetic": lambda a, b: lax.shift_right_arithmetic(a, b & 7),
    "shift_right_logical": lambda a, b: lax.shift_right_logical(a, b & 7),
}  # fmt: skip


if hasattr(lax, "mulhi"):  # since JAX 0.10
    _TWO_INTEGERS["mulhi"] = lax.mulhi


def _one(function: Callable[[Any], Any], draw: Callable[[Builder], Any]) -> Callable:
    return lambda builder: builder.add(function(draw(builder)))


def _register_unary() -> None:
    kinds = {
        "": (_ANY, Builder.array),
        "_positive": (_POSITIVE, Builder.positive),
        "_bounded": (_BOUNDED, Builder.bounded),
        "_complex": (_COMPLEX, lambda builder: builder.complexes(builder.shape())),
        "_integer": (_INTEGER, lambda builder: builder.integers(builder.shape())),
    }
    for kind, (functions, draw) in kinds.items():
        for name, function in functions.items():
            add(name + kind, _one(function, draw), name)


def _two(function: Callable[[Any, Any], Any], draw: Callable[..., Any]) -> Callable:
    """Two operands: alike, one a scalar, one a constant, or one with axes of size 1."""

    def run(builder: Builder) -> None:
        shape = builder.shape()
        left = draw(builder, shape)
        kind = builder.choose(("alike", "alike", "scalar", "constant", "thin", "same"))
        if kind == "scalar":
            right = draw(builder, ())
        elif kind == "constant":
            constant = np.abs(builder.constant(shape)) + 0.25
            right = jnp.asarray(constant).astype(left.dtype)
        elif kind == "thin":
            right = draw(builder, tuple(builder.choose((size, 1)) for size in shape))
        else:
            right = left if kind == "same" else draw(builder, shape)
        if right.shape not in ((), left.shape):
            function_, left = function, jnp.broadcast_to(left, shape)
            result = (
                jnp.vectorize(function_)(left, right)
                if not shape
                else _thin(function_, left, right)
            )
        else:
            right = jnp.broadcast_to(right, left.shape)
            result = function(left, right) if builder.chance() else function(right, left)
        builder.add(result)

    return run


def _thin(function: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    """Whatever way of broadcasting axes of size 1 this version of JAX has."""
    try:
        return function(left, right)
    except TypeError:
        return function(left, jnp.broadcast_to(right, left.shape))


def _register_binary() -> None:
    kinds = {
        "": (_TWO, Builder.array),
        "_positive": (_TWO_POSITIVE, Builder.positive),
        "_integers": (_TWO_INTEGERS, Builder.integers),
    }
    for kind, (functions, draw) in kinds.items():
        for name, function in functions.items():
            primitive = name.removesuffix("_of_integers")
            add(f"{name}_of_two{kind}", _two(function, draw), primitive)


_register_unary()
_register_binary()


@operation("add", "mul", "max", times=2)
def implicit_broadcast(builder: Builder) -> None:
    """Axes of size 1 and missing axes, as ``jax.numpy`` broadcasts them."""
    shape = builder.shape((2, 3))
    left = builder.array(tuple(builder.choose((size, size, 1)) for size in shape))
    right = builder.array(shape[builder.integer(0, len(shape) - 1) :])
    builder.add(builder.choose((jnp.add, jnp.multiply, jnp.maximum))(left, right))


@operation("clamp", times=2)
def clamp(builder: Builder) -> None:
    shape = builder.shape()
    low = builder.array(() if builder.chance() else shape)
    high = builder.array(() if builder.chance() else shape)
    builder.add(lax.clamp(low, builder.array(shape), high))


@operation("select_n", times=2)
def select_n(builder: Builder) -> None:
    """A predicate for each entry or for all, of booleans or of several cases."""
    shape = builder.shape()
    cases = [builder.array(shape) for _ in range(builder.integer(2, 3))]
    own = shape if builder.chance(0.6) else ()
    which = builder.booleans(own) if len(cases) == 2 else builder.integers(own, 0, 2)
    builder.add(lax.select_n(which if len(cases) == 2 else which.astype(jnp.int32), *cases))


@operation("select_n", "gt", "eq", "iota", times=2)
def masks(builder: Builder) -> None:
    """Comparisons with parameters, constants or counters, and what they choose."""
    shape = builder.shape((1, 3))
    array = builder.array(shape)
    dimension = builder.integer(0, len(shape) - 1)
    other = builder.choose(
        (
            lambda: builder.array(shape),
            lambda: jnp.asarray(builder.constant(shape)),
            lambda: lax.broadcasted_iota(jnp.float64, shape, dimension) - 1.0,
        )
    )()
    mask = builder.choose((lax.gt, lax.le))(array, other)
    builder.add(jnp.where(mask, array, builder.choose((0.0, 1.0))), jax.nn.relu(array))


_OF_COUNTERS = (
    lax.add, lax.sub, lax.mul, lax.max, lambda a, b: lax.div(a, lax.abs(b) + 1),
    lambda a, b: lax.rem(a, lax.abs(b) + 1), lambda a, b: lax.eq(a, b).astype(jnp.int32),
    lambda a, b: lax.ge(a, b).astype(jnp.int32), lambda a, b: jnp.where(a > b, a, -b),
    lambda a, b: a // 2, lambda a, b: lax.rev(a, (0,)), lambda a, b: a[-1:] + b,
)  # fmt: skip


@operation("iota", "eq", "div", "rem", "select_n", times=4)
def made_of_counters(builder: Builder) -> None:
    """Numbers made of counters and constants alone, as identities and blocks are, and a use."""
    shape = builder.shape((1, 3), at_least=2)
    known = [lax.broadcasted_iota(jnp.int32, shape, n) for n in range(len(shape))]
    known.append(jnp.asarray(np.sign(builder.constant(shape)).astype(np.int32)))
    for _ in range(builder.integer(1, 3)):
        known.append(builder.choose(_OF_COUNTERS)(builder.choose(known), builder.choose(known)))
    made = builder.choose((jnp.sin, lambda x: x * 2.5, lambda x: x))(known[-1].astype(float))
    first, second = builder.array(shape), builder.array(shape)
    builder.add(first * made, jnp.where(known[-1] > 0, second, made))


@operation("eq_to", "le_to", "lt_to")
def total_order(builder: Builder) -> None:
    shape = builder.shape()
    left, right = builder.array(shape), builder.array(shape)
    for primitive in (lax.eq_to_p, lax.le_to_p, lax.lt_to_p):
        builder.add(primitive.bind(left, right))


@operation("add_any")
def derivatives_of_shared(builder: Builder) -> None:
    """The gradient of what is used several times."""
    shape = builder.shape()
    array, other = builder.array(shape), builder.array(shape)
    gradient = jax.grad(lambda x: jnp.sum(jnp.tanh(x) * x * other + jnp.exp(-x * x)))
    builder.add(gradient(array))


@operation("regularized_incomplete_beta")
def incomplete_beta(builder: Builder) -> None:
    shape = builder.shape((1, 2))
    a, b = builder.positive(shape), builder.positive(shape)
    builder.add(lax.betainc(a, b, lax.logistic(builder.array(shape))))


@operation("bitcast_convert_type", times=2)
def bitcast(builder: Builder) -> None:
    """To numbers as wide, to narrower ones and back to wider ones."""
    array = builder.array(rank=(1, 2))
    builder.add(lax.bitcast_convert_type(array, jnp.int64))
    halves = lax.bitcast_convert_type(array, jnp.int32)
    builder.add(halves)
    pairs = builder.integers((*builder.shape((1, 2)), 2)).astype(jnp.int32)
    builder.add(lax.bitcast_convert_type(pairs, jnp.int64))
    builder.add(lax.bitcast_convert_type(halves, jnp.int64))


@operation("optimization_barrier")
def barrier(builder: Builder) -> None:
    """Several arrays at once, each of its own shape."""
    arrays = [builder.array() for _ in range(builder.integer(1, 3))]
    builder.add(*lax.optimization_barrier(arrays))


@operation("convert_element_type")
def conversions(builder: Builder) -> None:
    array = builder.array()
    builder.add((array > 0).astype(jnp.int32), array.astype(jnp.float32) * 2)


@operation("layout_constraint", "sharding_constraint")
def constraints(builder: Builder) -> None:
    """What says where an array lies says nothing about its entries."""
    array = builder.array()
    builder.add(with_layout_constraint(array, Layout(tuple(builder.order(array.ndim)))))
    mesh = jax.make_mesh((1,), ("all",), axis_types=(jax.sharding.AxisType.Auto,))
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    builder.add(lax.with_sharding_constraint(array, everywhere))


@operation("device_put", "optimization_barrier")
def several_at_once(builder: Builder) -> None:
    first, second = builder.array(), builder.array()
    builder.add(*jax.device_put((first, second)))


@operation("custom_jvp_call", "exp", "reduce_max", "stop_gradient")
def activations(builder: Builder) -> None:
    """Activations along with their gradients."""
    function = builder.choose(
        (jax.nn.relu, jax.nn.gelu, jax.nn.silu, jax.nn.softplus, jax.nn.leaky_relu, jax.nn.elu)
    )
    array = builder.array()
    builder.add(function(array), jax.grad(lambda x: jnp.sum(function(x)))(array))


@operation("reduce_max", "exp", "div")
def softmax(builder: Builder) -> None:
    array = builder.array(rank=(1, 3))
    axis = builder.integer(0, array.ndim - 1)
    function = builder.choose((jax.nn.softmax, jax.nn.log_softmax, jax.nn.logsumexp))
    builder.add(function(array, axis=axis))
    builder.add(jax.grad(lambda x: jnp.sum(jnp.sin(function(x, axis=axis))))(array))
