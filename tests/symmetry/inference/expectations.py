"""What is left free, written down by hand, rule by rule.

Every parameter's axes are told in words of one letter: ``a`` is a free axis, the same wherever it
has the same letter, ``.`` is a frozen one or of size 1, ``a*b`` a product and ``a+b`` a sum.
Parts that are frozen side by side are told as one.
"""

from __future__ import annotations

import dataclasses
import itertools
import string
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from unf_lopt.symmetry.inference import infer_traced, trace_loss
from unf_lopt.symmetry.inference._graph import LEAF, PRODUCT, AxisGraph, Node


@dataclasses.dataclass(frozen=True)
class Expectation:
    """A loss and its free axes.

    Attributes:
      name: what it shows.
      loss: of the parameters by name.
      shapes: of the parameters; those called ``i`` or ``j`` are integers.
      axes: what every parameter's axes should be.
    """

    name: str
    loss: Callable[..., Any]
    shapes: dict[str, tuple[int, ...]]
    axes: dict[str, str]


EXPECTATIONS: list[Expectation] = []


def expect(name: str, loss: Callable[..., Any], **parameters: tuple[tuple[int, ...], str]) -> None:
    """Notes an expectation; every parameter is given with its shape and its axes."""
    shapes = {key: shape for key, (shape, _) in parameters.items()}
    axes = {key: own for key, (_, own) in parameters.items()}
    EXPECTATIONS.append(Expectation(name, loss, shapes, axes))


def found(expectation: Expectation) -> dict[str, str]:
    """What the engine finds."""
    params = {
        key: jax.ShapeDtypeStruct(shape, np.int32 if key in "ij" else np.float32)
        for key, shape in expectation.shapes.items()
    }
    traced = trace_loss(lambda params: expectation.loss(**params), params, ())
    inference = infer_traced(traced)
    letters = iter(string.ascii_letters)
    names: dict[Node, str] = {}

    def letter(leaf: Node) -> str:
        if leaf.frozen or leaf.size == 1:
            return "."
        if leaf not in names:
            names[leaf] = next(letters)
        return names[leaf]

    read = zip(traced.paths, inference.inputs, strict=True)
    found = {
        path: " ".join(_show(inference.graph, axis, letter) for axis in axes) for path, axes in read
    }
    return {key: found[key] for key in expectation.shapes}


def wanted(expectation: Expectation) -> dict[str, str]:
    """What is expected, its letters in the order in which the engine's are given."""
    names: dict[str, str] = {}
    letters = iter(string.ascii_letters)

    def rename(text: str) -> str:
        return "".join(
            names.setdefault(sign, names.get(sign) or next(letters)) if sign.isalpha() else sign
            for sign in text
        )

    renamed = {key: rename(expectation.axes[key]) for key in sorted(expectation.axes)}
    return {key: renamed[key] for key in expectation.shapes}


def _show(graph: AxisGraph, node: Node, letter: Callable[[Node], str]) -> str:
    node = node.find()
    if node.kind is LEAF:
        return letter(node)
    is_product = node.kind is PRODUCT
    parts = graph.factors(node) if is_product else graph.segments(node)
    shown = _merged(_show(graph, part, letter) for part in parts)
    if len(shown) == 1:
        return shown[0]
    if is_product:
        shown = [f"({part})" if "+" in part else part for part in shown]
    return ("*" if is_product else "+").join(shown)


def _merged(shown: Iterator[str]) -> list[str]:
    merged: list[str] = []
    for text, run in itertools.groupby(shown):
        merged += ["."] if text == "." else list(run)
    return merged


def total(*arrays: Any) -> Any:
    """A scalar in which every entry of every array counts, and none is special."""
    return sum(jnp.sum(jnp.tanh(array)) for array in arrays)


_VARIES = np.random.default_rng(0).normal(size=(3, 4))
_ROWS = _VARIES[:, :1].repeat(4, 1)
_IMAGE = np.random.default_rng(1).normal(size=(2, 4, 4, 2))
_LAYOUT = ("NHWC", "HWIO", "NHWC")


def _conv(image: Any, kernel: Any, padding: Any = "VALID", **options: Any) -> Any:
    return lax.conv_general_dilated(
        image, kernel, (1, 1), padding, dimension_numbers=_LAYOUT, **options
    )


def _everywhere() -> jax.sharding.NamedSharding:
    mesh = jax.make_mesh((1,), ("all",), axis_types=(jax.sharding.AxisType.Explicit,))
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())


# ------------------------------------------------------------------------------------ elementwise
expect("equal axes are tied", lambda x, y: total(x * y), x=((3, 4), "a b"), y=((3, 4), "a b"))
expect("equal sizes tie nothing", lambda x, y: total(x, y), x=((3, 3), "a b"), y=((3, 3), "c d"))
expect("a square times its transpose", lambda x: total(x * x.T), x=((3, 3), "a a"))
expect(
    "axes of size 1 are broadcast",
    lambda x, y: total(x * y),
    x=((1, 4), ". a"),
    y=((3, 4), "b a"),
)
expect("a scalar ties nothing", lambda x, y: total(x * y), x=((), ""), y=((3,), "a"))
expect("a mask is tied", lambda x, y: total(jnp.where(x > 0, y, 0)), x=((3,), "a"), y=((3,), "a"))
expect(
    "a scalar predicate ties the cases only",
    lambda x, y, z: total(jnp.where(x > 0, y, z)),
    x=((), ""),
    y=((3,), "a"),
    z=((3,), "a"),
)
expect("a constant freezes where it varies", lambda x: total(x * _ROWS), x=((3, 4), ". a"))
expect("a constant that varies everywhere", lambda x: total(x * _VARIES), x=((3, 4), ". ."))
expect(
    "a scalar fill is no constant", lambda x: total(x * jnp.full((3, 4), 2.0)), x=((3, 4), "a b")
)
expect(
    "a comparison with a counter",
    lambda x: total(jnp.where(lax.broadcasted_iota(jnp.int32, (3, 4), 0) > 1, x, 0)),
    x=((3, 4), ". a"),
)
expect(
    "bits of an entry are ordered",
    lambda x, y: total(lax.bitcast_convert_type(x, jnp.int16).astype(jnp.float32) * y),
    x=((3,), "a"),
    y=((3, 2), "a ."),
)
expect(
    "bits as a number as wide",
    lambda x, y: total(lax.bitcast_convert_type(x, jnp.int32).astype(jnp.float32) * y),
    x=((3,), "a"),
    y=((3,), "a"),
)
expect(
    "pieces become one entry",
    lambda i, y: total(lax.bitcast_convert_type(i.astype(jnp.uint16), jnp.float32) * y),
    i=((3, 2), "a ."),
    y=((3,), "a"),
)
expect(
    "a barrier mixes nothing",
    lambda x, y: total(*(2 * z for z in lax.optimization_barrier((x, y)))),
    x=((3, 4), "a b"),
    y=((3,), "c"),
)

# ----------------------------------------------------------------------------------------- shapes
expect("transpose", lambda x, y: total(x.T * y), x=((2, 3), "a b"), y=((3, 2), "b a"))
expect("joining axes", lambda x, y: total(x.reshape(6) * y), x=((2, 3), "a b"), y=((6,), "a*b"))
expect(
    "splitting an axis", lambda x, y: total(x.reshape(2, 3) * y), x=((6,), "a*b"), y=((2, 3), "a b")
)
expect(
    "factorings with a refinement",
    lambda x: total(x.reshape(2, 6), x.reshape(6, 2).T),
    x=((12,), "a*b*c"),
)
expect(
    "factorings without one",
    lambda x: total(x.reshape(2, 3), x.reshape(3, 2)),
    x=((6,), "."),
)
expect(
    "products of the same factors",
    lambda x, y: total(x.reshape(6) * y.reshape(6)),
    x=((2, 3), "a b"),
    y=((2, 3), "a b"),
)
expect(
    "products with a refinement",
    lambda x, y: total(x.reshape(24) * y.reshape(24)),
    x=((2, 12), "a b*c"),
    y=((8, 3), "a*b c"),
)
expect(
    "products without one",
    lambda x, y: total(x.reshape(30) * y.reshape(30)),
    x=((6, 5), ". ."),
    y=((10, 3), ". ."),
)
expect(
    "products of which a part fits",
    lambda x, y: total(x.reshape(30) * y.reshape(30)),
    x=((2, 3, 5), ". . a"),
    y=((3, 2, 5), ". . a"),
)
expect(
    "a product and a sum of products",
    lambda x, y, z: total(x.reshape(10) * jnp.concatenate([y.reshape(4), z])),
    x=((5, 2), "a+b c"),
    y=((2, 2), "a c"),
    z=((6,), "b*c"),
)
expect(
    "joined, transposed, joined again",
    lambda x, y: total(x.reshape(2, 3, 5).transpose(1, 0, 2).reshape(15 * 2) * y),
    x=((6, 5), "a*b c"),
    y=((30,), "b*a*c"),
)
expect(
    "a reshape cuts only where it must",
    lambda x: total(x.reshape(4, 2, 3)),
    x=((4, 6), "a b*c"),
)
expect("axes of size 1", lambda x, y: total(x[:, 0] * y[None]), x=((3, 1), "a ."), y=((3,), "a"))
expect(
    "a new axis is its own",
    lambda x, y: total(jnp.broadcast_to(x, (2, 3)) * y),
    x=((3,), "a"),
    y=((2, 3), "b a"),
)
expect(
    "an axis of size 1 that grows",
    lambda x, y: total(jnp.broadcast_to(x, (2, 3)) * y),
    x=((1, 3), ". a"),
    y=((2, 3), "b a"),
)
expect("tiling", lambda x, y: total(jnp.tile(x, 2) * y), x=((3,), "a"), y=((6,), "b*a"))
expect(
    "tiling by its primitive",
    lambda x, y: total(lax.tile(x, (2,)) * y),
    x=((3,), "a"),
    y=((6,), "b*a"),
)
expect("repeating", lambda x, y: total(jnp.repeat(x, 2) * y), x=((3,), "a"), y=((6,), "a*b"))
expect(
    "concatenation",
    lambda x, y, z: total(jnp.concatenate([x, y]) * z),
    x=((2, 4), "a b"),
    y=((3, 4), "c b"),
    z=((5, 4), "a+c b"),
)
expect(
    "an array and itself",
    lambda x, z: total(jnp.concatenate([x, x]) * z),
    x=((3,), "a"),
    z=((6,), "a+a"),
)
expect(
    "a part of a concatenation comes back",
    lambda x, y, z: total(jnp.concatenate([x, y])[2:] * z),
    x=((2,), "a"),
    y=((3,), "b"),
    z=((3,), "b"),
)
expect(
    "concatenations cut in different places",
    lambda x, y, u, v: total(jnp.concatenate([x, y]) * jnp.concatenate([u, v])),
    x=((2,), "a"),
    y=((4,), "b+c"),
    u=((4,), "a+b"),
    v=((2,), "c"),
)
expect(
    "a reshape of a concatenation",
    lambda x, y, z: total(jnp.concatenate([x, y]).reshape(5, 2) * z),
    x=((4,), "a*b"),
    y=((6,), "c*b"),
    z=((5, 2), "a+c b"),
)
expect(
    "a reshape across the parts",
    lambda x, y: total(jnp.concatenate([x, y]).reshape(4, 2)),
    x=((5,), "."),
    y=((3,), "."),
)
expect(
    "a segment of a product",
    lambda x: total(x.reshape(12)[:6], x.reshape(12)[6:]),
    x=((4, 3), "a+b c"),
)
expect(
    "a segment across the factors",
    lambda x: total(x.reshape(12)[:5]),
    x=((4, 3), ". ."),
)
expect(
    "splitting",
    lambda x, y: total(x[:2] * 2, *(part * y for part in jnp.split(x[2:], 2))),
    x=((8,), "a+b+b"),
    y=((3,), "b"),
)
expect(
    "gates",
    lambda x, h: total(*(gate * h for gate in jnp.split(h @ x, 4))),
    x=((3, 12), "a a+a+a+a"),
    h=((3,), "a"),
)
expect(
    "stacking",
    lambda x, y, z: total(jnp.stack([x, y], 1) * z),
    x=((3,), "a"),
    y=((3,), "a"),
    z=((3, 2), "a ."),
)
if hasattr(lax, "stack"):  # not in JAX 0.9
    expect(
        "stacking by its primitive",
        lambda x, y, z: total(lax.stack([x, y], 1) * z),
        x=((3,), "a"),
        y=((3,), "a"),
        z=((3, 2), "a ."),
    )
    expect(
        "unstacking in the middle",
        lambda x, y: total(*(y * part for part in lax.unstack(x, 1))),
        x=((3, 2, 4), "a . b"),
        y=((3, 4), "a b"),
    )
    expect(
        "unstacking",
        lambda x, y: total(*(y * part for part in lax.unstack(x, 1))),
        x=((3, 2), "a ."),
        y=((3,), "a"),
    )
expect("a slice", lambda x, y: total(x[:2] * y, x), x=((5,), "a+b"), y=((2,), "a"))
expect("slices that overlap", lambda x: total(x[:4], x[2:] * 2), x=((6,), "a+b+c"))
expect(
    "a stride that takes one entry",
    lambda x: total(lax.slice(x, (1,), (2,), (3,)), x),
    x=((5,), ".+a"),
)
expect(
    "a stride keeps the major factor",
    lambda x, y: total(lax.slice(x, (1,), (6,), (2,)) * y),
    x=((6,), "a*."),
    y=((3,), "a"),
)
expect("a stride that leaves a rest", lambda x, y: total(x[::2] * y), x=((5,), "."), y=((3,), "."))
expect(
    "padding is constant",
    lambda x, y: total((jnp.pad(x, (2, 3)) + 1) * y),
    x=((4,), "a"),
    y=((9,), "b+a+c"),
)
expect(
    "negative padding cuts",
    lambda x, y: total((lax.pad(x, 0.0, [(-2, 3, 0)]) + 1) * y, x),
    x=((5,), "a+b"),
    y=((6,), "b+c"),
)
expect(
    "padding that cuts all off",
    lambda x, y: total((lax.pad(x, 0.0, [(-5, 4, 0)]) + 1) * y, x),
    x=((3,), "a"),
    y=((2,), "b"),
)
expect(
    "padding in between",
    lambda x, y: total(lax.pad(x, 0.0, [(0, 0, 1)]) * y),
    x=((3,), "."),
    y=((5,), "."),
)
expect(
    "padding in between of one entry",
    lambda x, y: total((lax.pad(x, 0.0, [(0, 2, 1)]) + 1) * y),
    x=((1,), "."),
    y=((3,), ".+a"),
)
expect("reversal", lambda x: total(x[::-1] * x), x=((3, 4), ". a"))
expect(
    "a counter counts along one axis",
    lambda x: total(lax.broadcasted_iota(jnp.float32, (3, 4), 1) * x),
    x=((3, 4), "a ."),
)

expect(
    "a part without entries",
    lambda x, y: total(jnp.concatenate([x[..., :4] * 2, x[..., 4:]], -1) * y),
    x=((3, 4), "a b"),
    y=((3, 4), "a b"),
)
expect(
    "rows after none",
    lambda x, y: total(jnp.concatenate([jnp.zeros((0, 4)), x]) * y),
    x=((3, 4), "a b"),
    y=((3, 4), "a b"),
)
expect(
    "an argument without entries",
    lambda x, y: total(jax.jit(lambda x, y, z: x @ y + jnp.sum(z))(x, y, x[:0])),
    x=((3, 4), "a b"),
    y=((4, 5), "b c"),
)
expect(
    "a carry without entries",
    lambda x, y: total(lax.scan(lambda c, _: ((c[0] @ x, c[1]), None), (y, y[:0]), length=2)[0][0]),
    x=((3, 3), "a a"),
    y=((3,), "a"),
)
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

# --------------------------------------------------------------------------------------- ordering
expect("sorting", lambda x, y: total(jnp.sort(x, 0) * y), x=((3, 4), "a b"), y=((3, 4), ". b"))
expect(
    "sorting by one key",
    lambda x, y: total(*lax.sort((x, y), dimension=0, num_keys=1)),
    x=((3, 4), ". a"),
    y=((3, 4), ". a"),
)
expect(
    "sorting by all",
    lambda x, y: total(*lax.sort((x, y), dimension=0, num_keys=2)),
    x=((3, 4), "a b"),
    y=((3, 4), "a b"),
)
expect(
    "the largest",
    lambda x, y: total(lax.top_k(x, 2)[0] * y),
    x=((3, 4), "a b"),
    y=((3, 2), "a ."),
)
expect(
    "the largest of columns",
    lambda x, y: total(lax.top_k(x, 2, axis=0)[0] * y),
    x=((3, 4), "a b"),
    y=((2, 4), ". b"),
)
expect(
    "what others are compared with",
    lambda x: total(jnp.where(x >= lax.top_k(x, 2)[0][:, -1:], x, 0)),
    x=((3, 4), "a b"),
)
expect("the largest, nearly", lambda x: total(lax.approx_max_k(x, 2)[0]), x=((3, 4), "a ."))
expect(
    "a sort whose order nobody reads",
    lambda x, y: total(lax.sort((x, y), dimension=0, num_keys=1)[0]) + total(y),
    x=((3, 4), "a b"),
    y=((3, 4), "a b"),
)
expect(
    "their positions", lambda x: total(lax.top_k(x, 2)[1].astype(jnp.float32)), x=((3, 4), "a .")
)


def _through_a_reference(x: jax.Array) -> jax.Array:
    reference = jax.new_ref(jnp.zeros((3, 2)))
    reference[...] = lax.top_k(x, 2)[1].astype(jnp.float32)
    return total(reference[...])


def _where_nothing_comes_out(x: jax.Array, y: jax.Array) -> jax.Array:
    reference = jax.new_ref(jnp.zeros(3))

    @jax.jit
    def write(x: jax.Array, y: jax.Array) -> jax.Array:
        reference[...] = x
        return y

    return total(write(x, y[:0]), reference[...] * np.arange(3.0), y)


expect("positions that a reference holds", _through_a_reference, x=((3, 4), ". ."))
expect(
    "what a reference gets where nothing comes out",
    _where_nothing_comes_out,
    x=((3,), "."),
    y=((4,), "a"),
)
expect(
    "an order of which nothing is taken",
    lambda x: total(x, jnp.argsort(x, 0)[:0].astype(jnp.float32)),
    x=((3, 4), "a b"),
)
expect("an order", lambda x: total(jnp.argsort(x, 0).astype(jnp.float32)), x=((3, 4), ". a"))

# --------------------------------------------------------------------------------------- indexing
_COUNT = np.arange(3)
expect("a diagonal", lambda x: total(x[_COUNT, _COUNT]), x=((3, 3), "a a"))
expect(
    "a diagonal and what it is multiplied by",
    lambda x, y: total(jnp.diag(x) * y),
    x=((3, 3), "a a"),
    y=((3,), "a"),
)
expect("diagonals of a batch", lambda x: total(jax.vmap(jnp.diag)(x)), x=((2, 3, 3), "a b b"))
expect("a diagonal beside the main one", lambda x: total(jnp.diag(x, 1)), x=((3, 3), ". ."))
expect(
    "a diagonal of three axes", lambda x: total(x[_COUNT, _COUNT, _COUNT]), x=((3,) * 3, "a a a")
)
expect("all in order", lambda x, y: total(x[_COUNT] * y), x=((3, 4), "a b"), y=((3, 4), "a b"))
expect(
    "all in order, one",
    lambda x, y: total(x[_COUNT[:1]] * y),
    x=((1, 4), ". a"),
    y=((1, 4), ". a"),
)
expect(
    "in an order that is known of other numbers only",
    lambda x: total(x[jnp.asarray(np.float32([0, 1, 1.5])).astype(jnp.uint32)]),
    x=((3, 4), ". a"),
)
expect("not all in order", lambda x: total(x[_COUNT]), x=((4, 2), ". a"))
expect("all in another order", lambda x: total(x[_COUNT[::-1]]), x=((3, 4), ". a"))
expect("a column for every row", lambda x: total(x[_COUNT, 2 * _COUNT % 3]), x=((3, 3), ". ."))
expect(
    "every row and a column",
    lambda x, y: total(x[_COUNT, 0] * y),
    x=((3, 4), "a ."),
    y=((3,), "a"),
)
expect(
    "one in blocks",
    lambda x, y: total(x[np.repeat([0, 1], 2)] * y),
    x=((3,), "."),
    y=((4,), "a+b"),
)
expect(
    "neighbours of each",
    lambda x: total(
        lax.gather(
            x,
            np.arange(4)[:, None],
            lax.GatherDimensionNumbers((1,), (), (0,)),
            (2,),
            mode="clip",
        )
    ),
    x=((4,), "."),
)
expect(
    "a diagonal that is written",
    lambda x, y: total(x.at[_COUNT, _COUNT].set(y)),
    x=((3, 3), "a a"),
    y=((3,), "a"),
)
expect(
    "a diagonal that is added to",
    lambda x, y: total(x.at[_COUNT, _COUNT].add(y)),
    x=((3, 3), "a a"),
    y=((3,), "a"),
)
expect(
    "all rows written, several times",
    lambda x, y: total(x.at[np.broadcast_to(_COUNT[:, None], (3, 4))].set(y)),
    x=((3, 2), "a b"),
    y=((3, 4, 2), "a . b"),
)
expect(
    "a table looked up by data",
    lambda x, y: total(x[np.array([0, 2, 2])] * y),
    x=((5, 4), ". a"),
    y=((3, 4), ". a"),
)
expect(
    "a table looked up by parameters",
    lambda x, i, y: total(x[i] * y),
    x=((5, 4), ". a"),
    i=((3,), "b"),
    y=((3, 4), "b a"),
)
expect(
    "as many look-ups as rows",
    lambda x, i, y: total(x[i] * y),
    x=((3, 4), ". a"),
    i=((3,), "b"),
    y=((3, 4), "b a"),
)
expect(
    "places in two axes",
    lambda x, i, y: total(
        y * lax.gather(x, i, lax.GatherDimensionNumbers((), (0, 1), (0, 1)), (1, 1), mode="clip")
    ),
    x=((4, 5), ". ."),
    i=((3, 2), "a ."),
    y=((3,), "a"),
)
expect(
    "windows at computed places",
    lambda x, i, y: total(
        y * lax.gather(x, i, lax.GatherDimensionNumbers((1,), (), (0,)), (2,), mode="clip")
    ),
    x=((4,), "."),
    i=((3, 1), "a ."),
    y=((3, 2), "a ."),
)
expect(
    "all in order, in windows of one",
    lambda x, y: total(
        lax.gather(
            x, _COUNT[:, None], lax.GatherDimensionNumbers((1, 2), (), (0,)), (1, 4), mode="clip"
        ).reshape(3, 4)
        * y
    ),
    x=((3, 4), "a b"),
    y=((3, 4), "a b"),
)
expect(
    "look-ups in a batch that is another axis of the places",
    lambda x, i, y: total(
        lax.gather(
            x,
            i,
            lax.GatherDimensionNumbers((), (0,), (0,), (1,), (0,)),
            (1, 1),
            mode="clip",
        )
        * y
    ),
    x=((4, 3), ". a"),
    i=((3, 5, 1), "a b ."),
    y=((3, 5), "a b"),
)
expect(
    "along an axis",
    lambda x, i: total(jnp.take_along_axis(x, i, 1)),
    x=((3, 4), "a ."),
    i=((3, 2), "a b"),
)
expect(
    "a batch of look-ups",
    lambda x, i: total(jax.vmap(lambda x, i: x[i])(x, i)),
    x=((3, 4, 5), "a . b"),
    i=((3, 2), "a c"),
)
expect(
    "a slice at a computed place",
    lambda x, i, y: total(lax.dynamic_slice(x, (i, 0), (2, 4)) * y),
    x=((3, 4), ". a"),
    i=((), ""),
    y=((2, 4), ". a"),
)
expect(
    "an update at a computed place",
    lambda x, i, y: total(lax.dynamic_update_slice(x, y, (i, 0))),
    x=((3, 4), ". a"),
    i=((), ""),
    y=((2, 4), ". a"),
)
expect(
    "adding at places",
    lambda x, i, y: total(x.at[i].add(y)),
    x=((5, 4), ". a"),
    i=((3,), "b"),
    y=((3, 4), "b a"),
)
expect(
    "adding windows at places",
    lambda x, i, y: total(
        lax.scatter_add(x, i, y, lax.ScatterDimensionNumbers((1,), (), (0,)), mode="clip")
    ),
    x=((4,), "."),
    i=((3, 1), "a ."),
    y=((3, 2), "a ."),
)
expect(
    "adding in a batch that is another axis of the places",
    lambda x, i, y: total(
        lax.scatter_add(
            x, i, y, lax.ScatterDimensionNumbers((), (0,), (0,), (1,), (0,)), mode="clip"
        )
    ),
    x=((4, 3), ". a"),
    i=((3, 5, 1), "a b ."),
    y=((3, 5), "a b"),
)
expect(
    "the last writer wins",
    lambda x, i, y: total(x.at[i].set(y)),
    x=((5, 4), ". a"),
    i=((3,), "."),
    y=((3, 4), ". a"),
)
expect(
    "unless places differ",
    lambda x, i, y: total(x.at[i].set(y, unique_indices=True)),
    x=((5, 4), ". a"),
    i=((3,), "b"),
    y=((3, 4), "b a"),
)
expect(
    "a batch of updates",
    lambda x, i, y: total(jax.vmap(lambda x, i, y: x.at[i].set(y))(x, i, y)),
    x=((3, 4, 5), "a . b"),
    i=((3, 2), "a ."),
    y=((3, 2, 5), "a . b"),
)

# ------------------------------------------------------------------------------------ the others
expect(
    "pooling keeps batch and channels",
    lambda x: total(lax.reduce_window(x, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")),
    x=((2, 4, 4, 3), "a . . b"),
)
expect(
    "a pooled window of one entry with a margin",
    lambda x, y: total(
        lax.reduce_window(x, 0.0, lax.add, (1, 1), (1, 1), ((0, 0), (1, 1))) * y,
    ),
    x=((3, 4), "a ."),
    y=((3, 6), "a ."),
)
expect(
    "the gradient of pooling",
    lambda x, y: total(
        jax.vjp(lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2), (1, 2), "VALID"), x)[1](
            y
        )[0]
    ),
    x=((3, 4), "a ."),
    y=((3, 2), "a ."),
)
expect(
    "pivots of a batch",
    lambda i: total(lax.linalg.lu_pivots_to_permutation(i, 4).astype(jnp.float32)),
    i=((3, 2), "a ."),
)
expect(
    "a batch of factorizations",
    lambda x, y: total(jnp.linalg.qr(x)[1] * y),
    x=((4, 3, 2), "a . ."),
    y=((4, 2, 2), "a . ."),
)
expect(
    "right-hand sides",
    lambda x, y: total(lax.linalg.triangular_solve(x, y, left_side=True)),
    x=((4, 3, 3), "a . ."),
    y=((4, 3, 2), "a . b"),
)
expect(
    "right-hand sides from the right",
    lambda x, y: total(lax.linalg.triangular_solve(x, y, left_side=False)),
    x=((3, 3), ". ."),
    y=((2, 3), "a ."),
)
expect(
    "a solution",
    lambda x, y, z: total(jnp.linalg.solve(x, y) * z),
    x=((4, 4), "a b"),
    y=((4, 3), "a c"),
    z=((4, 3), "b c"),
)
expect(
    "a solution and the factors that it is found by",
    lambda x, y: total(jnp.linalg.solve(x, y)) + total(lax.linalg.lu(x)[0]),
    x=((4, 4), ". ."),
    y=((4, 3), ". a"),
)
expect(
    "an inverse", lambda x, y: total(jnp.linalg.inv(x) * y), x=((4, 4), "a b"), y=((4, 4), "b a")
)
expect(
    "solutions of a batch",
    lambda x, y: total(jnp.linalg.solve(x, y)),
    x=((2, 4, 4), "a b c"),
    y=((2, 4, 3), "a b d"),
)
expect(
    "least squares by normal equations",
    lambda x, y: total(jnp.linalg.solve(x.T @ x, x.T @ y)),
    x=((5, 3), "a b"),
    y=((5, 2), "a c"),
)
expect(
    "a solution by the root of a matrix",
    lambda x, y: total(jax.scipy.linalg.solve(x.T @ x, y, assume_a="pos")),
    x=((5, 3), "a b"),
    y=((3, 2), "b c"),
)
expect(
    "a solution step by step",
    lambda x, y: total(jax.scipy.sparse.linalg.cg(lambda z: x @ (x.T @ z), y, maxiter=2)[0]),
    x=((4, 4), ". ."),
    y=((4,), "."),
)
expect(
    "a matrix that is said to be symmetric",
    lambda x, y: total(jax.scipy.linalg.solve(x, y, assume_a="pos")),
    x=((4, 4), "a a"),
    y=((4, 3), "a b"),
)
expect(
    "a batch of matrices that are said to be symmetric",
    lambda x, y: total(jax.vmap(lambda x, y: jax.scipy.linalg.solve(x, y, assume_a="pos"))(x, y)),
    x=((2, 4, 4), "a b b"),
    y=((2, 4, 3), "a b c"),
)
expect(
    "a solution step by step, by the root of another matrix",
    lambda x, y, z: total(
        jax.scipy.sparse.linalg.cg(
            lambda v: x @ (x.T @ v),
            y,
            M=lambda r: jax.scipy.linalg.cho_solve((z, True), r),
            maxiter=2,
        )[0]
    ),
    x=((4, 4), ". ."),
    y=((4,), "."),
    z=((4, 4), ". ."),
)
expect(
    "least squares in a space that grows step by step",
    lambda x, y: total(jax.scipy.sparse.linalg.gmres(lambda v: x @ v, y, restart=2, maxiter=1)[0]),
    x=((4, 4), ". ."),
    y=((4,), "."),
)
expect(
    "one triangular system that is said to solve another",
    lambda x, y: total(
        lax.custom_linear_solve(
            lambda v: x @ v,
            y,
            lambda _, b: jax.scipy.linalg.solve_triangular(x, b, lower=True),
        )
    ),
    x=((4, 4), ". ."),
    y=((4,), "."),
)
expect(
    "a solution by a root, and no word of the transpose",
    lambda x, y: total(
        (
            lambda root: lax.custom_linear_solve(
                lambda v: x @ v, y, lambda _, b: jax.scipy.linalg.cho_solve((root, True), b)
            )
        )(jnp.linalg.cholesky(x))
    ),
    x=((4, 4), "a a"),
    y=((4, 3), "a b"),
)


def _two_solutions(x: jax.Array, y: jax.Array, u: jax.Array, w: jax.Array) -> tuple:
    roots = jnp.linalg.cholesky(x), jnp.linalg.cholesky(y)
    return lax.custom_linear_solve(
        lambda v: (x @ v[0], y @ v[1]),
        (u, w),
        lambda _, b: tuple(
            jax.scipy.linalg.cho_solve((root, True), own)
            for root, own in zip(roots, b, strict=True)
        ),
        symmetric=True,
    )


expect(
    "two systems at once",
    lambda x, y, u, w, z: total(_two_solutions(x, y, u, w)[0] * z, _two_solutions(x, y, u, w)[1]),
    x=((4, 4), "a a"),
    y=((4, 4), "b b"),
    u=((4, 2), "a c"),
    w=((4, 2), "b d"),
    z=((4, 2), "a c"),
)
_BELOW, _ABOVE = np.float32([0, 1, 1, 1]), np.zeros(4, np.float32)
expect(
    "a tridiagonal system",
    lambda x, y, z: total(
        lax.custom_linear_solve(
            lambda v: x[:, None] * v + _BELOW[:, None] * jnp.roll(v, 1, 0),
            y,
            lambda _, b: lax.linalg.tridiagonal_solve(_BELOW, x, _ABOVE, b),
        )
        * z
    ),
    x=((4,), "."),
    y=((4, 3), ". a"),
    z=((4, 3), ". a"),
)
expect("the largest singular value", lambda x: jnp.linalg.norm(x, 2), x=((4, 3), "a b"))
expect("all singular values", lambda x: jnp.linalg.norm(x, "nuc"), x=((4, 3), "a b"))
expect(
    "singular values of a batch",
    lambda x, y: total(jnp.linalg.svd(x, compute_uv=False) * y),
    x=((2, 4, 3), "a b c"),
    y=((2, 3), "a ."),
)
expect("singular vectors", lambda x: total(jnp.linalg.svd(x)[0]), x=((4, 3), ". ."))
expect(
    "a Fourier transform",
    lambda x, y: total(jnp.abs(jnp.fft.fft(x)) * y),
    x=((3, 4), "a ."),
    y=((3, 4), "a ."),
)
expect(
    "a recurrence",
    lambda x, w, h: total(lax.scan(lambda h, e: (jnp.tanh(h @ w + e), None), h, x)[0]),
    x=((5, 3), ". a"),
    w=((3, 3), "a a"),
    h=((3,), "a"),
)
expect(
    "no carry",
    lambda x, y: total(lax.map(lambda pair: pair[0] * pair[1], (x, y))),
    x=((5, 3), "a b"),
    y=((5, 3), "a b"),
)
expect(
    "carries that change places",
    lambda x, y: total(*lax.scan(lambda c, _: ((c[1], 2 * c[0]), None), (x, y), length=3)[0]),
    x=((3,), "a"),
    y=((3,), "a"),
)
expect(
    "a loop",
    lambda x, y: total(lax.while_loop(lambda c: jnp.sum(c) < 9, lambda c: c * y, x)),
    x=((3, 4), "a b"),
    y=((3, 4), "a b"),
)
expect(
    "an order that nobody reads in a loop",
    lambda x: total(
        lax.while_loop(lambda c: jnp.sum(c) < 9, lambda c: (jnp.argsort(c) + 1, 2 * c)[1], x)
    ),
    x=((3,), "a"),
)


def _by_integers(x: jax.Array) -> tuple[jax.Array, Any]:
    """Gradients, that by integers without numbers."""
    _, back = jax.vjp(lambda x, count: jnp.sin(x) * count, x, jnp.full(3, 2))
    return back(jnp.ones(3))


expect(
    "a carry without numbers",
    lambda x: total(
        lax.while_loop(lambda c: jnp.sum(c[0]) < 9, lambda c: (2 * c[0], c[1]), _by_integers(x))[0]
    ),
    x=((3,), "a"),
)
expect(
    "a batch of loops",
    lambda x, y: total(
        jax.vmap(
            lambda n, y: lax.while_loop(
                lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] / 2), (0.0, y)
            )
        )(x, y)[1]
    ),
    x=((3,), "a"),
    y=((3, 4), "a b"),
)
expect(
    "branches agree",
    lambda x, y: total(lax.cond(jnp.sum(x) > 0, lambda x, y: x, lambda x, y: y, x, y)),
    x=((3, 4), "a b"),
    y=((3, 4), "a b"),
)
expect(
    "a branch that transposes",
    lambda x: total(lax.cond(jnp.sum(x) > 0, lambda x: x, lambda x: x.T, x)),
    x=((3, 3), "a a"),
)
expect(
    "calls in calls",
    lambda x, y: total(jax.jit(lambda x, y: jax.checkpoint(lambda y, x: x @ y)(y, x))(x, y)),
    x=((2, 3), "a b"),
    y=((3, 4), "b c"),
)
expect(
    "noise is frozen",
    lambda x, y: total(x + jax.random.normal(jax.random.key(0), (3,))[:, None] * y),
    x=((3, 4), ". a"),
    y=((4,), "a"),
)
expect(
    "what no rule knows",
    lambda x, y: total(
        jax.pure_callback(lambda x: x, jax.ShapeDtypeStruct((3,), np.float32), x), y
    ),
    x=((3,), "."),
    y=((3,), "a"),
)
