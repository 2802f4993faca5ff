"""What is left free by contractions, convolutions and reductions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.symmetry.inference.expectations._noted import expect, total

_VARIES = np.random.default_rng(0).normal(size=(3, 4))
_IMAGE = np.random.default_rng(1).normal(size=(2, 4, 4, 2))
_LAYOUT = ("NHWC", "HWIO", "NHWC")


def _conv(image: Any, kernel: Any, padding: Any = "VALID", **options: Any) -> Any:
    return lax.conv_general_dilated(
        image, kernel, (1, 1), padding, dimension_numbers=_LAYOUT, **options
    )


def _everywhere() -> jax.sharding.NamedSharding:
    mesh = jax.make_mesh((1,), ("all",), axis_types=(jax.sharding.AxisType.Explicit,))
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())


# ------------------------------------------------------------------------------------ contraction
expect(
    "a matrix product",
    lambda x, y, z: total(x @ y * z),
    x=((2, 3), "a b"),
    y=((3, 4), "b c"),
    z=((2, 4), "a c"),
)
expect("a matrix by itself", lambda x: total(x @ x), x=((3, 3), "a a"))
expect("a matrix by its transpose", lambda x: total(x @ x.T), x=((3, 3), "a b"))
expect(
    "a batch of matrix products",
    lambda x, y, z: total(jnp.einsum("bij,bjk->bik", x, y) * z),
    x=((2, 3, 4), "a b c"),
    y=((2, 4, 5), "a c d"),
    z=((2, 3, 5), "a b d"),
)
expect(
    "a network on data",
    lambda x, y: total(jnp.tanh(_VARIES @ x) @ y),
    x=((4, 5), ". a"),
    y=((5, 3), "a b"),
)
expect(
    "channels of convolutions",
    lambda x, y, z: total(jnp.mean(_conv(jax.nn.relu(_conv(_IMAGE, x)), y), (1, 2)) * z),
    x=((2, 2, 2, 3), ". . . a"),
    y=((2, 2, 3, 4), ". . a b"),
    z=((4,), "b"),
)
expect(
    "a convolution flattened",
    lambda x, y: total(_conv(_IMAGE, x).reshape(2, -1) @ y),
    x=((2, 2, 2, 3), ". . . a"),
    y=((27, 5), ".*a b"),
)
expect(
    "a window of one entry",
    lambda x, y, z: total(_conv(x, y) * z),
    x=((2, 3, 4, 5), "a b c d"),
    y=((1, 1, 5, 6), ". . d e"),
    z=((2, 3, 4, 6), "a b c e"),
)
expect(
    "a window of one entry with a stride",
    lambda x, y: total(lax.conv_general_dilated(x, y, (2, 1), "VALID", dimension_numbers=_LAYOUT)),
    x=((2, 3, 4, 5), "a . b c"),
    y=((1, 1, 5, 6), ". . c d"),
)
expect(
    "a window of one entry with gaps between entries",
    lambda x, y, z: total(
        lax.conv_general_dilated(
            x, y, (1, 1), ((0, 0), (0, 0)), lhs_dilation=(2, 1), dimension_numbers=_LAYOUT
        )
        * z
    ),
    x=((2, 3, 4, 5), "a . b c"),
    y=((1, 1, 5, 6), ". . c d"),
    z=((2, 5, 4, 6), "a . b d"),
)
expect(
    "a convolution channel by channel",
    lambda x, y: total(_conv(_conv(_IMAGE, x), y, feature_group_count=3)),
    x=((2, 2, 2, 3), ". . . a"),
    y=((2, 2, 1, 3), ". . . a"),
)
expect(
    "a convolution in groups",
    lambda x, y: total(_conv(_conv(_IMAGE, x), y, feature_group_count=2)),
    x=((2, 2, 2, 6), ". . . a*b"),
    y=((2, 2, 3, 4), ". . b a*c"),
)
expect(
    "a convolution in groups of the batch",
    lambda x, y: total(_conv(x, y, batch_group_count=2)),
    x=((6, 2, 2, 3), "a*b . . c"),
    y=((2, 2, 3, 4), ". . c a*d"),
)
expect(
    "rows in groups",
    lambda x, y: total(lax.ragged_dot(x, y, jnp.array([1, 2]))),
    x=((3, 4), ". a"),
    y=((2, 4, 5), ". a b"),
)

expect(
    "rows in groups, in a batch",
    lambda x, y, z, i: total(
        lax.ragged_dot_general(
            x,
            y,
            i,
            lax.RaggedDotDimensionNumbers((([2], [2]), ([0], [1])), [1], [0]),
        )
        * z
    ),
    x=((4, 3, 5), "a . b"),
    y=((2, 4, 5, 6), ". a b c"),
    z=((4, 3, 6), "a . c"),
    i=((4, 2), "a ."),
)
expect(
    "rows in groups that are others for each entry of a batch and of another axis",
    lambda x, y, z, i: total(
        lax.ragged_dot_general(
            x,
            y,
            i,
            lax.RaggedDotDimensionNumbers((([3], [2]), ([0], [1])), [2], [0]),
        )
        * z
    ),
    x=((4, 3, 6, 5), "a b . c"),
    y=((2, 4, 5, 7), ". a c d"),
    z=((4, 3, 6, 7), "a b . d"),
    i=((4, 3, 2), "a b ."),
)
expect(
    "the contracted axis in groups",
    lambda x, y, z: total(
        lax.ragged_dot_general(
            x,
            y,
            jnp.array([1, 2]),
            lax.RaggedDotDimensionNumbers((([0], [0]), ([], [])), [0], []),
        )
        * z
    ),
    x=((3, 4), ". a"),
    y=((3, 5), ". b"),
    z=((2, 4, 5), ". a b"),
)

expect(
    "moved to another mesh",
    lambda x, y: total(jax.sharding.reshard(x, _everywhere()) * y),
    x=((3, 4), "a b"),
    y=((3, 4), "a b"),
)

# ------------------------------------------------------------------------------------- reductions
expect("a sum frees its axis", lambda x, y: total(x.sum(0) * y), x=((3, 4), "a b"), y=((4,), "b"))
expect("so does a maximum", lambda x, y: total(x.max(1) * y), x=((3, 4), "b a"), y=((3,), "b"))
expect("and a product", lambda x: total(x.prod(0)), x=((3, 4), "a b"))
expect(
    "sums and maxima over an axis with a name",
    lambda x, y: total(
        jax.vmap(
            lambda row: (row - lax.pmean(row, "rows")) / (1 + lax.pmax(row, "rows")),
            axis_name="rows",
        )(x)
        * y
    ),
    x=((3, 4), "a b"),
    y=((3, 4), "a b"),
)
expect(
    "a row by its number in an axis with a name",
    lambda x: total(jax.vmap(lambda row: row * lax.axis_index("rows"), axis_name="rows")(x)),
    x=((3, 4), ". a"),
)
expect(
    "a position is no value",
    lambda x: total(x.argmax(0).astype(jnp.float32)),
    x=((3, 4), ". a"),
)
expect(
    "a cumulative sum",
    lambda x, y: total(jnp.cumsum(x, 0) * y),
    x=((3, 4), ". a"),
    y=((3, 4), ". a"),
)
expect("a normalization", lambda x: total((x - x.mean(0)) / x.std(0)), x=((3, 4), "a b"))
expect(
    "an operation of the user's own",
    lambda x, y: total(
        *lax.reduce((x, y), (0.0, 0.0), lambda a, b: (a[0] + b[0], a[1] * 0.5 + b[1]), (0,))
    ),
    x=((3, 4), ". a"),
    y=((3, 4), ". a"),
)
