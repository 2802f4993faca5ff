"""What is left free by orders, and by what reads and writes at indices."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.symmetry.inference.expectations._noted import expect, total

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
