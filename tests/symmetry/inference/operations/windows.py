"""Sliding windows and their gradients."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from tests.symmetry.inference.builder import Builder
from tests.symmetry.inference.operations.registry import operation


def _window(builder: Builder, shape: tuple[int, ...], dilated: bool) -> dict[str, Any]:
    window, strides, padding, base, dilation = [], [], [], [], []
    for size in shape:
        window.append(builder.choose((1, 1, 2, 3)))
        strides.append(builder.choose((1, 1, 2)))
        base.append(builder.choose((1, 1, 2)) if dilated else 1)
        dilation.append(builder.choose((1, 2)) if dilated else 1)
        low = builder.choose((0, 0, 1)) if window[-1] > 1 or dilated else 0
        reach, length = (window[-1] - 1) * dilation[-1] + 1, (size - 1) * base[-1] + 1
        high = builder.choose((0, 0, 1)) if window[-1] > 1 or dilated else 0
        padding.append((low, max(high, reach - length - low)))
    return {
        "window_dimensions": window,
        "window_strides": strides,
        "padding": padding,
        "base_dilation": base,
        "window_dilation": dilation,
    }


@operation("reduce_window_max", "reduce_window_min", "reduce_window_sum", times=6)
def pooling(builder: Builder) -> None:
    array = builder.array(rank=(1, 3))
    window = _window(builder, array.shape, builder.chance())
    for start, function in ((-jnp.inf, lax.max), (jnp.inf, lax.min), (0.0, lax.add)):
        pooled = lax.reduce_window(array, start, function, **window)
        builder.add(pooled)
    if builder.chance(0.3):
        builder.add(pooled * builder.array(pooled.shape))


@operation("reduce_window", times=3)
def general_pooling(builder: Builder) -> None:
    """Two arrays at once."""
    shape = builder.shape((1, 2))
    arrays = builder.array(shape), builder.array(shape)

    def combine(left, right):
        return left[0] + right[0], 0.5 * left[1] + right[1]

    builder.add(
        *lax.reduce_window(arrays, (0.0, 1.0), combine, **_window(builder, shape, builder.chance()))
    )


def _pool(builder: Builder, shape: tuple[int, ...]) -> Any:
    window = _window(builder, shape, False)
    window = {name: window[name] for name in ("window_dimensions", "window_strides", "padding")}
    start, function = builder.choose(((-jnp.inf, lax.max), (jnp.inf, lax.min)))
    return lambda x: lax.reduce_window(x, start, function, **window)


@operation("select_and_scatter_add", times=4)
def gradient_of_pooling(builder: Builder) -> None:
    array = builder.array(rank=(1, 3))
    if builder.chance(0.3):
        array = jax.nn.relu(array)
    pool = _pool(builder, array.shape)
    pooled, pull_back = jax.vjp(pool, array)
    builder.add(*pull_back(builder.array(pooled.shape)))


@operation("select_and_gather_add", times=3)
def tangent_of_pooling(builder: Builder) -> None:
    array = builder.array(rank=(1, 3))
    pool = _pool(builder, array.shape)
    builder.add(*jax.jvp(pool, (array,), (builder.array(array.shape),)))


@operation("reduce_window_sum", "div")
def average_pooling(builder: Builder) -> None:
    """Over the two axes in the middle."""
    shape = (builder.size(), builder.choose((2, 4)), builder.choose((2, 4)), builder.size())
    array = builder.array(shape)
    pooled = lax.reduce_window(array, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4
    builder.add(pooled, jax.grad(lambda x: jnp.sum(x**2))(array))
    builder.add(pooled.reshape(shape[0], -1) * 2.0)
