"""Matrix products and convolutions, with every rare parameter."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.symmetry.inference.builder import Builder, Shape
from tests.symmetry.inference.operations.registry import operation


@operation("dot_general", times=3)
def dot_general(builder: Builder) -> None:
    """Contracted, batch and free axes in any order on either side."""
    batch, contracted = builder.shape((0, 1)), builder.shape((0, 2))
    kinds = [*(("batch", n) for n in range(len(batch)))]
    kinds += [("contracted", n) for n in range(len(contracted))]
    sides, positions = [], []
    for _ in range(2):
        free = builder.shape((0, 2 - len(batch)))
        axes = [*kinds, *(("free", n) for n in range(len(free)))]
        axes = [axes[n] for n in builder.order(len(axes))]
        sizes = {"batch": batch, "contracted": contracted, "free": free}
        sides.append(builder.array(tuple(sizes[kind][n] for kind, n in axes)))
        positions.append({axis: place for place, axis in enumerate(axes)})
    numbers = tuple(
        tuple([place[axis] for axis in kinds if axis[0] == kind] for place in positions)
        for kind in ("contracted", "batch")
    )
    preferred = builder.choose((None, None, jnp.float64))
    builder.add(lax.dot_general(*sides, numbers, preferred_element_type=preferred))


@operation("dot_general")
def product_with_itself(builder: Builder) -> None:
    array = builder.array(rank=2)
    builder.add(array @ array.T, builder.choose((array.T @ array, array * 2.0)))


@operation("dot_general", "tanh")
def small_network(builder: Builder) -> None:
    """Two layers; widths may be equal to everything else."""
    batch, inputs, hidden, outputs = builder.shape(4)
    data = builder.constant((batch, inputs))
    first, second = builder.parameter((inputs, hidden)), builder.parameter((hidden, outputs))
    activations = jnp.tanh(jnp.asarray(data) @ first + builder.parameter((hidden,)))
    builder.add(activations @ second)
    loss = jax.grad(lambda w: jnp.sum(jnp.sin(jnp.tanh(jnp.asarray(data) @ w) @ second)))
    builder.add(loss(first))


@operation("dot_general", "reshape", "exp")
def attention(builder: Builder) -> None:
    """Several heads from one matrix."""
    length, width, heads, depth = builder.size(), builder.size(2), builder.size(), builder.size()
    tokens = builder.array((length, width))
    queries, keys, values = (
        (tokens @ builder.parameter((width, heads * depth))).reshape(length, heads, depth)
        for _ in range(3)
    )
    weights = jax.nn.softmax(jnp.einsum("qhd,khd->hqk", queries, keys))
    mixed = jnp.einsum("hqk,khd->qhd", weights, values).reshape(length, heads * depth)
    builder.add(mixed @ builder.parameter((heads * depth, width)))


def _layout(builder: Builder, rank: int, letters: str) -> str:
    """A random order of two letters and the spatial digits."""
    items = [*letters, *"0123"[: rank - 2]]
    return "".join(items[n] for n in builder.order(rank))


def _arranged(layout: str, sizes: dict[str, int]) -> tuple[int, ...]:
    return tuple(sizes[letter] for letter in layout)


def _dimension(builder: Builder, size: int, window: int) -> tuple[Any, ...]:
    """Stride, dilation of the image, of the kernel, and padding that leaves something."""
    if builder.chance(0.3):
        return 1, 1, builder.choose((1, 2)) if window == 1 else 1, (0, max(0, window - size))
    stride, dilated, spread = (builder.choose((1, 1, 2)) for _ in range(3))
    reach, length = (window - 1) * spread + 1, (size - 1) * dilated + 1
    low, high = builder.choose((0, 0, 1, -1)), builder.choose((0, 0, 1))
    return stride, dilated, spread, (low, max(high, reach - length - low))


class Convolution:
    """A random convolution: its parameters, and the shapes of its operands."""

    def __init__(self, builder: Builder, grouping: str):
        spatial = builder.integer(1, 2)
        groups = builder.choose((2, 2, 3)) if grouping != "none" else 1
        in_group, out_group, batch = builder.size(), builder.size(), builder.size()
        features = groups if grouping == "features" else 1
        batches = groups if grouping == "batches" else 1
        rank = spatial + 2
        self.layouts = (
            _layout(builder, rank, "NC"),
            _layout(builder, rank, "IO"),
            _layout(builder, rank, "NC"),
        )
        image = {"N": batch * batches, "C": in_group * features}
        kernel = {"I": in_group, "O": out_group * groups}
        dimensions = []
        for letter in filter(str.isdigit, self.layouts[1]):  # the kernel's order is the options'
            image[letter], kernel[letter] = (
                builder.choose((1, 2, 3, 4)),
                builder.choose((1, 1, 2, 3)),
            )
            dimensions.append(_dimension(builder, image[letter], kernel[letter]))
        names = ("window_strides", "lhs_dilation", "rhs_dilation", "padding")
        self.options = dict(zip(names, map(list, zip(*dimensions, strict=True)), strict=True))
        self.options |= {"feature_group_count": features, "batch_group_count": batches}
        self.image = _arranged(self.layouts[0], image)
        self.kernel = _arranged(self.layouts[1], kernel)

    def __call__(self, image: Any, kernel: Any) -> Any:
        return lax.conv_general_dilated(
            image, kernel, dimension_numbers=self.layouts, **self.options
        )


def _convolve(builder: Builder, grouping: str) -> None:
    convolution = Convolution(builder, grouping)
    image, kernel = builder.array(convolution.image), builder.array(convolution.kernel)
    result = convolution(image, kernel)
    builder.add(result)
    if builder.chance(0.3):
        builder.add(result * builder.array(result.shape))
    if builder.chance(0.3):
        gradients = jax.grad(lambda x, w: jnp.sum(jnp.sin(convolution(x, w))), (0, 1))
        builder.add(*gradients(image, kernel))


@operation("conv_general_dilated", times=4)
def convolution(builder: Builder) -> None:
    _convolve(builder, "none")


@operation("conv_general_dilated", times=3)
def grouped_convolution(builder: Builder) -> None:
    _convolve(builder, "features")


@operation("conv_general_dilated", times=3)
def batch_grouped_convolution(builder: Builder) -> None:
    _convolve(builder, "batches")


@operation("conv_general_dilated", "reduce_max")
def convolutional_network(builder: Builder) -> None:
    """Convolution, channels normalized, flattened into a linear layer."""
    channels, classes = builder.size(2), builder.size(2)
    image = jnp.asarray(builder.constant((2, 3, 3, 2)))
    kernel = builder.parameter((2, 2, 2, channels))
    hidden = lax.conv_general_dilated(
        image, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    hidden = jax.nn.relu((hidden - hidden.mean((0, 1, 2))) * builder.parameter((channels,)))
    flat = hidden.reshape(2, -1) @ builder.parameter((math.prod(hidden.shape[1:]), classes))
    builder.add(flat, hidden.mean((1, 2)) @ builder.parameter((channels, classes)))


@operation("conv_general_dilated", "rev", "transpose")
def transposed_convolution(builder: Builder) -> None:
    channels, out = builder.size(), builder.size()
    image = builder.array((1, builder.integer(1, 3), channels))
    kernel = builder.array((builder.integer(1, 3), out, channels))
    dimensions = ("NHC", "HIO", "NHC")
    builder.add(
        lax.conv_transpose(
            image, kernel, (2,), "SAME", dimension_numbers=dimensions, transpose_kernel=True
        )
    )


def _sizes_of_groups(total: int, rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Sizes with this total, or a smaller one."""
    return rng.multinomial(
        max(total - int(rng.integers(2)), 0), np.ones(shape[-1]) / shape[-1], shape[:-1]
    )


# Left and right operand, contracted, batch, ragged and group axes, axes outside of the ragged one,
# in letters: r are the rows in groups, g the groups, the others what they like.
_RAGGED = (
    ("rk", "gkn", "k", "", ""),
    ("brk", "gbkn", "k", "b", "b"),
    ("xrk", "gkn", "k", "", "x"),
    ("rm", "rn", "r", "", ""),
    ("brm", "brn", "r", "b", "b"),
    ("crm", "rcn", "cr", "", "c"),
    ("rmk", "rkn", "k", "r", ""),
    ("brmk", "brkn", "k", "br", "b"),
)


@operation("ragged_dot_general", times=8)
def ragged_dot(builder: Builder) -> None:
    """Rows in groups of given sizes, groups of the contracted axis, and of the batch."""
    left, right, contracted, batch, outside = builder.choose(_RAGGED)
    length = {letter: builder.size() for letter in "bcgkmnrx"}
    numbers = lax.RaggedDotDimensionNumbers(
        dot_dimension_numbers=tuple(
            tuple([side.index(letter) for letter in kind] for side in (left, right))
            for kind in (contracted, batch)
        ),
        lhs_ragged_dimensions=[left.index("r")],
        rhs_group_dimensions=[n for n, letter in enumerate(right) if letter == "g"],
    )
    own = builder.choose(("g", outside + "g"))
    shapes = [tuple(length[letter] for letter in letters) for letters in (left, right, own)]
    sizes = builder.parameter(shapes[2], functools.partial(_sizes_of_groups, length["r"]))
    result = lax.ragged_dot_general(
        builder.array(shapes[0]), builder.array(shapes[1]), sizes.astype(jnp.int32), numbers
    )
    builder.add(result)
    if builder.chance(0.3):
        builder.add(result * builder.array(result.shape))
