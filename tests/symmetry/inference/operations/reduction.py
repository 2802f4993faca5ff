"""Reductions, cumulative ones, and orders by value, with ties."""

from __future__ import annotations

import functools
import inspect

import jax
import jax.numpy as jnp
from jax import lax

from tests.symmetry.inference.builder import Builder
from tests.symmetry.inference.operations.registry import add, operation


def _tied(builder: Builder, shape: tuple[int, ...] | None = None) -> object:
    """Often with many equal entries."""
    array = builder.array(shape)
    return builder.choose((lambda x: x, jax.nn.relu, lax.floor))(array)


def _axes(builder: Builder, rank: int) -> tuple[int, ...]:
    return tuple(builder.subset(range(rank), 1))


for _name, _function in {
    "reduce_sum": lax.reduce_sum,
    "reduce_max": lax.reduce_max,
    "reduce_min": lax.reduce_min,
    "reduce_prod": lax.reduce_prod,
}.items():

    def _run(builder: Builder, function=_function) -> None:
        array = _tied(builder)
        builder.add(function(array, axes=_axes(builder, array.ndim)))

    add(_name, _run, _name)

for _name, _function in {
    "reduce_and": lax.reduce_and,
    "reduce_or": lax.reduce_or,
    "reduce_xor": lax.reduce_xor,
}.items():

    def _run(builder: Builder, function=_function) -> None:
        draw = builder.choose((builder.booleans, builder.integers))
        array = draw(builder.shape())
        builder.add(function(array, axes=_axes(builder, array.ndim)))

    add(_name, _run, _name)

for _name, _function in {
    "cumsum": lax.cumsum,
    "cumprod": lax.cumprod,
    "cummax": lax.cummax,
    "cummin": lax.cummin,
    "cumlogsumexp": lax.cumlogsumexp,
}.items():

    def _run(builder: Builder, function=_function) -> None:
        array = builder.array()
        axis = builder.integer(0, array.ndim - 1)
        builder.add(function(array, axis=axis, reverse=builder.chance()))

    add(_name, _run, _name)


@operation("argmax", "argmin")
def argmax(builder: Builder) -> None:
    array = _tied(builder)
    axis = builder.integer(0, array.ndim - 1)
    for function in (lax.argmax, lax.argmin):
        builder.add(function(array, axis, jnp.int32))


@operation("psum", "pmax", "pmin")
def collective(builder: Builder) -> None:
    """Over an axis that ``vmap`` has given a name."""
    array = _tied(builder)
    axis = builder.integer(0, array.ndim - 1)
    for function in (lax.psum, lax.pmax, lax.pmin):
        named = functools.partial(function, axis_name="batch")
        builder.add(jax.vmap(named, axis, None, axis_name="batch")(array))


@operation("reduce", times=3)
def general_reduce(builder: Builder) -> None:
    """Two arrays at once, with an operation in which order counts."""
    shape = builder.shape()
    first, second = builder.array(shape), builder.array(shape)

    def combine(left, right):
        return left[0] + right[0], 0.5 * left[1] + right[1]

    builder.add(*lax.reduce((first, second), (0.0, 1.0), combine, _axes(builder, len(shape))))


@operation("reduce_max", "eq", "div")
def gradient_of_max(builder: Builder) -> None:
    """Ties share the gradient."""
    array = _tied(builder)
    axis = builder.integer(0, array.ndim - 1)
    builder.add(jax.grad(lambda x: jnp.sum(jnp.max(x, axis) ** 2))(array))


@operation("reduce_sum", "rsqrt")
def normalization(builder: Builder) -> None:
    array = builder.array(rank=(1, 3))
    axes = _axes(builder, array.ndim)
    mean = array.mean(axes, keepdims=True)
    builder.add((array - mean) * lax.rsqrt(array.var(axes, keepdims=True) + 1e-3))


@operation("sort", times=2)
def sort(builder: Builder) -> None:
    """One operand: its axis stays free, its result's does not."""
    array = _tied(builder)
    dimension = builder.integer(0, array.ndim - 1)
    ordered = lax.sort(array, dimension=dimension, is_stable=builder.chance())
    builder.add(ordered)
    if builder.chance():
        builder.add(ordered * builder.array(ordered.shape))


@operation("sort", times=3)
def sort_several(builder: Builder) -> None:
    """Several operands, some of them keys; ties in the first key are common."""
    shape = builder.shape()
    first, second = _tied(builder, shape), builder.array(shape)
    operands = (lax.floor(first), second, *([builder.array(shape)] if builder.chance(0.4) else []))
    dimension = builder.integer(0, len(shape) - 1)
    keys = builder.integer(1, len(operands))
    builder.add(*lax.sort(operands, dimension=dimension, num_keys=keys))


@operation("sort", "iota", "gather")
def argsort(builder: Builder) -> None:
    array = _tied(builder)
    order = jnp.argsort(array, axis=-1)
    builder.add(order, jnp.take_along_axis(array, order, axis=-1))


@operation("sort")
def median(builder: Builder) -> None:
    builder.add(jnp.median(builder.array(rank=(1, 2)), axis=-1))


@operation("top_k", "approx_top_k", times=2)
def top_k(builder: Builder) -> None:
    """Some or all of the entries."""
    array = _tied(builder)
    axis = builder.integer(0, array.ndim - 1)
    count = builder.choose((array.shape[axis], builder.integer(1, array.shape[axis])))
    builder.add(*lax.approx_max_k(array, count, axis))
    builder.add(*lax.top_k(jnp.moveaxis(array, axis, -1), count))
    if "axis" in inspect.signature(lax.top_k).parameters:
        builder.add(*lax.top_k(array, count, axis=axis))
    builder.add(lax.top_k(jnp.moveaxis(array, axis, -1), count)[0])
