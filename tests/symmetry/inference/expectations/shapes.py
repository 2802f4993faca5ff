"""What is left free by elementwise operations, and by those that move, cut and join."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.symmetry.inference.expectations._noted import expect, total

_VARIES = np.random.default_rng(0).normal(size=(3, 4))
_ROWS = _VARIES[:, :1].repeat(4, 1)

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
