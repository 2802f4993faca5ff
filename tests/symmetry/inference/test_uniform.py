"""An array that does not vary along an axis does not tie the layers that use it."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from tests.symmetry.inference import equivariance
from unf_lopt import infer_spec, verify_spec
from unf_lopt.symmetry.inference import infer_traced, trace_loss

X = jax.random.normal(jax.random.key(0), (4, 3))
SHAPES = {"a": (3, 5), "b": (5, 5), "c": (5, 2), "s": (), "m": (5,), "t": (2, 5)}
PARAMS = {path: np.ones(shape, np.float32) for path, shape in SHAPES.items()}
TABLE = np.ones((2, 5), np.float32)
ROWS = np.array([[1.0], [3.0]], np.float32).repeat(5, 1)
KERNEL = np.ones((3, 3, 1, 5), np.float32)


def convolved():
    """As partial convolutions count the pixels that they see."""
    image = jnp.ones((1, 4, 4, 1)).at[:, 0].set(0.0)
    counts = lax.conv_general_dilated(
        image, KERNEL, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return counts[0, 1, 1]


# What two layers use: functions of the parameters that return an array for each.
UNIFORM = {
    "a constant": lambda p: (TABLE[0], TABLE[0]),
    "rows of a constant": lambda p: tuple(jnp.asarray(TABLE)),
    "rows that differ": lambda p: tuple(jnp.asarray(ROWS)),
    "rows at computed places": lambda p: [
        lax.dynamic_index_in_dim(TABLE, i, keepdims=False) for i in jnp.arange(2)
    ],
    "rows by an index array": lambda p: tuple(jnp.asarray(TABLE)[jnp.array([1, 0])]),
    "a broadcast parameter": lambda p: (jnp.full(5, p["s"]),) * 2,
    "arithmetic of it": lambda p: (jnp.exp(jnp.full(5, p["s"]) * 2 - TABLE[0]),) * 2,
    "a mean over units": lambda p: (jnp.broadcast_to(p["m"].mean(keepdims=True), 5),) * 2,
    "a choice": lambda p: (jnp.where(jnp.full(5, p["s"]) > 0, 1.0, TABLE[1]),) * 2,
    "another dtype": lambda p: (jnp.ones(5, bool).astype(jnp.float32),) * 2,
    "a transpose": lambda p: (jnp.ones((5, 2)).T[0], jnp.ones((5, 2)).T[1]),
    "a transpose of one": lambda p: tuple(jnp.transpose(jnp.asarray(TABLE.T))),
    "a reshape": lambda p: tuple(jnp.asarray(TABLE.reshape(-1)).reshape(2, 5)),
    "parts of one axis": lambda p: jnp.split(jnp.ones(10), 2),
    "a slice": lambda p: (jnp.ones(7)[1:6],) * 2,
    "a reversed one": lambda p: (jnp.asarray(TABLE[0])[::-1],) * 2,
    "a stack": lambda p: tuple(jnp.stack([jnp.ones(5), jnp.zeros(5) + p["s"]])),
    "a joined one": lambda p: tuple(jnp.concatenate([jnp.ones((1, 5)), jnp.zeros((1, 5))])),
    "rows of padding": lambda p: tuple(jnp.pad(jnp.ones((1, 5)), ((0, 1), (0, 0)))),
    "sums": lambda p: (jnp.ones((3, 5)).sum(0),) * 2,
    "sums over an axis with a name": lambda p: (
        (jax.vmap(lambda x: lax.psum(x, "rows"), 0, None, axis_name="rows")(jnp.ones((3, 5))),) * 2
    ),
    "sums so far": lambda p: tuple(jnp.cumsum(jnp.asarray(TABLE), 0)),
    "a tiled one": lambda p: (jnp.tile(jnp.ones((1, 5)), (2, 1))[1],) * 2,
    "the same place of all units": lambda p: (jnp.argmax(jnp.ones((3, 5)), 0) + 1.0,) * 2,
    "along what counts": lambda p: tuple(lax.broadcasted_iota(jnp.float32, (2, 5), 0)),
    "a buffer with a row written": lambda p: tuple(
        lax.dynamic_update_slice(jnp.zeros((2, 5)), jnp.ones((1, 5)), (1, 0))
    ),
    "a product of matrices": lambda p: tuple(p["t"] @ p["m"][:, None] @ jnp.ones((1, 5))),
    "a convolution of constants": lambda p: (convolved(),) * 2,
    "out of a jitted function": lambda p: (jax.jit(lambda s: jnp.full(5, s))(p["s"]),) * 2,
    "out of a branch": lambda p: (
        (lax.cond(p["s"] > 0, lambda: jnp.ones(5), lambda: jnp.zeros(5) + p["s"]),) * 2
    ),
    "out of each step of a scan": lambda p: tuple(
        lax.scan(lambda c, s: (c + s, jnp.full(5, c)), p["s"], jnp.ones(2))[1]
    ),
}


def loss_with(arrays):
    def loss(params, x):
        first, second = arrays(params)
        h = jnp.tanh(x @ params["a"]) * first
        h = jnp.tanh(h @ params["b"]) * second
        unused = sum(jnp.sum(params[path] ** 2) for path in "smt")
        return jnp.mean((h @ params["c"] - jnp.arange(2.0)) ** 2) + unused

    return loss


def groups_of_layers(loss):
    spec = infer_spec(loss, PARAMS, X)
    assert verify_spec(spec, loss, PARAMS, X, maximality=False).certified
    return groups_in(spec)


def groups_in(spec):
    axes = dict(zip(spec.paths, spec.axes, strict=True))
    assert axes["a"][1] == axes["b"][0]
    assert axes["b"][1] == axes["c"][0]
    return [axis if axis in spec.groups else None for axis in axes["b"]]


@pytest.mark.parametrize("name", UNIFORM)
def test_two_layers_stay_apart(name):
    first, second = groups_of_layers(loss_with(UNIFORM[name]))
    assert first and second and first != second


@pytest.mark.parametrize("wrap", [jax.jit, jax.checkpoint], ids=["jit", "remat"])
def test_what_goes_into_functions_ties_nothing(wrap):
    def loss(params, x):
        @wrap
        def layer(h, weight, mask):
            return jnp.tanh(h @ weight) * mask

        mask = jnp.ones(5)
        h = layer(layer(x, params["a"], mask), params["b"], mask)
        return jnp.mean((h @ params["c"] - jnp.arange(2.0)) ** 2)

    first, second = groups_of_layers(loss)
    assert first and second and first != second


def test_one_zero_state_of_two_recurrent_layers():
    def loss(params, x):
        zeros = jnp.zeros((4, 5))

        def step(state, _):
            one, two = state
            one = jnp.tanh(one + x @ params["a"])
            two = jnp.tanh(two + one @ params["b"])
            return (one, two), two

        (_, two), outputs = lax.scan(step, (zeros, zeros), None, length=3)
        two = two * lax.fori_loop(0, 2, lambda i, h: h * 0.5 + two, zeros)
        return jnp.mean(((two + outputs.sum(0)) @ params["c"] - jnp.arange(2.0)) ** 2)

    first, second = groups_of_layers(loss)
    assert first and second and first != second


VARYING = {
    "a parameter": (lambda p: (p["m"],) * 2, "tied"),
    "a parameter, broadcast along another axis": (
        lambda p: tuple(jnp.broadcast_to(p["m"], (2, 5))),
        "tied",
    ),
    "rows of a parameter": (lambda p: tuple(p["t"]), "tied"),
    "a constant that varies": (lambda p: (np.arange(5.0),) * 2, "frozen"),
    "counting": (lambda p: tuple(lax.broadcasted_iota(jnp.float32, (2, 5), 1)), "frozen"),
    "sums so far of ones": (lambda p: (jnp.cumsum(jnp.ones(5)),) * 2, "frozen"),
    "a mask of a triangle": (lambda p: tuple(jnp.tril(jnp.ones((5, 5)))[1:3]), "frozen"),
    "one entry written": (lambda p: (jnp.zeros(5).at[2].set(1.0),) * 2, "frozen"),
    "a product with a parameter": (lambda p: (jnp.ones(5) * p["m"],) * 2, "tied"),
}


@pytest.mark.parametrize("name", VARYING)
def test_what_varies_ties_as_before(name):
    arrays, how = VARYING[name]
    first, second = groups_of_layers(loss_with(arrays))
    assert first == second
    assert (first is None) == (how == "frozen")


def test_two_segments_of_one_constant_are_segments():
    """Ones beside zeros: each kind of units may be permuted by itself (in both layers alike)."""
    loss = loss_with(lambda p: (jnp.concatenate([jnp.ones(2), jnp.zeros(3)]),) * 2)
    spec = infer_spec(loss, PARAMS, X)
    assert verify_spec(spec, loss, PARAMS, X, maximality=False).certified
    rows, columns = spec.axes[spec.paths.index("b")]
    assert [spec.groups[group] for group in (*rows.terms, *columns.terms)] == [2, 3, 2, 3]


# ------------------------------------------------------------------------- random programs
OPERATIONS = (
    lambda x, y, axis: x + y,
    lambda x, y, axis: x * jnp.tanh(y),
    lambda x, y, axis: jnp.where(x > y, x, y),
    lambda x, y, axis: x.T.reshape(2, 3),
    lambda x, y, axis: x.reshape(-1).reshape(3, 2).T,
    lambda x, y, axis: jnp.cumsum(x, axis),
    lambda x, y, axis: jnp.concatenate([x, y], axis)[:2, :3],
    lambda x, y, axis: jnp.broadcast_to(x.sum(axis, keepdims=True), (2, 3)),
    lambda x, y, axis: x @ y.T @ y,
    lambda x, y, axis: lax.dynamic_update_slice(x, y[:1, : 2 + axis], (1, 0)),
    lambda x, y, axis: jnp.flip(x, axis)[jnp.array([1, 0])],
    lambda x, y, axis: jnp.pad(x, ((1, 0), (0, axis)))[:2, :3],
)


def run(steps, params):
    pool = [
        jnp.full((2, 3), params["s"]),
        params["w"],
        jnp.asarray(np.arange(2.0)[:, None].repeat(3, 1)),
        jnp.broadcast_to(params["w"][:1], (2, 3)),
    ]
    for operation, seed in steps:
        rng = np.random.default_rng(seed)
        x, y = (pool[rng.integers(len(pool))] for _ in range(2))
        pool.append(operation(x, y, int(rng.integers(2))))
    return sum(jnp.sum(jnp.sin(array)) for array in pool)


@given(
    st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 10**6)), min_size=2),
    st.integers(0, 99),
)
@settings(max_examples=25)
def test_what_is_marked_does_not_vary(steps, seed):
    """Operations on arrays of which some do not vary along some axes keep their marks right.

    And equations commute with all permutations, whichever axes uses of an array got."""
    rng = np.random.default_rng(seed)
    params = {"s": rng.normal(), "w": rng.normal(size=(2, 3))}
    with jax.enable_x64(True):
        traced = trace_loss(lambda params: run(steps, params), params, ())
        program = equivariance.run_program(traced, [params["s"], params["w"]])
        report = equivariance.check(program, infer_traced(traced, record=True), seed)
    assert not report.violations, "\n\n".join(map(str, report.violations))


# ------------------------------------------------------------------- every rule for all marks
def conv(groups):
    return lambda x, kernel: lax.conv_general_dilated(
        x, kernel, (1, 1), "VALID", feature_group_count=groups
    )


# One equation on arrays of some shapes, and the axes where a mark may be missing though the output
# does not vary: a rule need not know everything, but what it marks must be right.
SINGLE = {
    "elementwise": (lambda x, y: x * y, [(2, 3), (2, 3)], ()),
    "barrier": (lambda x, y: lax.optimization_barrier((x, y))[1], [(2, 3), (3, 2)], ()),
    "reversed": (lambda x: lax.rev(x, (1,)), [(2, 3)], ()),
    "part": (lambda x: lax.slice(x, (0, 1), (2, 3)), [(2, 4)], ()),
    "dynamic part": (lambda x: lax.dynamic_slice(x, (0, 1), (2, 2)), [(2, 4)], ()),
    "split": (lambda x: lax.split(x, (1, 3), 1)[1], [(2, 4)], ()),
    "transposed": (lambda x: lax.transpose(x, (2, 0, 1)), [(2, 3, 4)], ()),
    "squeezed": (lambda x: lax.squeeze(x, (1,)), [(2, 1, 3)], ()),
    "unstacked": (lambda x: jnp.unstack(x, axis=1)[0], [(2, 3, 4)], ()),
    "summed": (lambda x: lax.reduce_sum(x, (1,)), [(2, 3, 4)], ()),
    "summed so far": (lambda x: lax.cumsum(x, 1), [(2, 3, 4)], ()),
    "broadcast": (lambda x: lax.broadcast_in_dim(x, (2, 4, 3), (0, 2)), [(2, 3)], ()),
    "axes in one": (lambda x: lax.reshape(x, (2, 12)), [(2, 3, 4)], ()),
    "one in axes": (lambda x: lax.reshape(x, (2, 3, 4)), [(2, 12)], ()),
    "axes of one entry": (lambda x: lax.reshape(x, (1, 2, 3, 1)), [(2, 1, 3)], ()),
    "axes across others": (lambda x: lax.reshape(x, (2, 6)), [(4, 3)], (0, 1)),
    "joined": (lambda x, y: lax.concatenate([x, y], 1), [(2, 3), (2, 2)], ()),
    "stacked": (lambda x, y: jnp.stack([x, y], 1), [(2, 3), (2, 3)], ()),
    "padded behind": (lambda x: lax.pad(x, 7.0, ((0, 0, 0), (0, 1, 0))), [(2, 3)], ()),
    "padded before": (lambda x: lax.pad(x, 7.0, ((1, 0, 0), (0, 0, 0))), [(2, 3)], ()),
    "padded within": (lambda x: lax.pad(x, 7.0, ((0, 0, 0), (0, 0, 1))), [(2, 3)], ()),
    "cut by padding": (lambda x: lax.pad(x, 7.0, ((0, 0, 0), (-1, 0, 0))), [(2, 3)], ()),
    "written": (lambda x, y: lax.dynamic_update_slice(x, y, (0, 1)), [(2, 4), (2, 2)], ()),
    "written whole": (lambda x, y: lax.dynamic_update_slice(x, y, (0, 0)), [(2, 4)] * 2, (0, 1)),
    "product": (lambda x, y: jnp.einsum("bik,bkj->bij", x, y), [(2, 3, 4), (2, 4, 5)], ()),
    "product of last and first": (
        lambda x, y: lax.dot_general(x, y, (((1,), (1,)), ((2,), (0,)))),
        [(3, 4, 2), (2, 4, 5)],
        (),
    ),
    "looked up": (lambda x: x[:, jnp.array([[2, 0], [1, 2]])], [(2, 3, 4)], (1, 2)),
    "looked up alike": (lambda x: x[jnp.array([[1, 0]] * 3)], [(2, 4)], (1,)),
    "looked up in turn": (
        lambda x: jax.vmap(lambda row, i: row[i])(x, jnp.array([1, 1, 1])),
        [(3, 2, 4)],
        (),
    ),
    "convolved": (conv(1), [(2, 2, 4, 4), (4, 2, 3, 3)], (2, 3)),
    "convolved in groups": (conv(2), [(2, 2, 4, 4), (4, 1, 3, 3)], (0, 1, 2, 3)),
}


def marks(function, shapes, flat):
    """Whether each axis of the output is marked where some of the inputs' do not vary."""
    own = [np.ones(part, np.float32) for part in flat]

    def loss(params):
        arrays = [jnp.broadcast_to(p, shape) for p, shape in zip(params, shapes, strict=True)]
        return jnp.sum(function(*arrays))

    *steps, total = infer_traced(trace_loss(loss, own, ()), record=True).steps
    (array,) = total.equation.invars
    outputs = {
        variable: axes
        for step in steps
        for variable, axes in zip(step.equation.outvars, step.outputs, strict=True)
    }
    return [node.uniform or node.size == 1 for node in outputs[array]]


def still(array):
    """Whether an array does not vary along each of its axes."""
    first = (np.take(array, [0], axis) for axis in range(array.ndim))
    return [bool(np.all(array == part)) for part in first]


@functools.cache
def facts(name):
    """For every choice of the inputs' axes along which they do not vary: shapes, and what holds."""
    function, shapes, _ = SINGLE[name]
    compute, found = jax.jit(function), []
    choices = [itertools.product((False, True), repeat=len(shape)) for shape in shapes]
    for number, chosen in enumerate(itertools.product(*choices)):
        flat = [
            tuple(1 if own else n for n, own in zip(shape, flags, strict=True))
            for shape, flags in zip(shapes, chosen, strict=True)
        ]
        rng = np.random.default_rng(number)
        arrays = [
            np.broadcast_to(rng.integers(1, 1000, part).astype(np.float32), shape)
            for part, shape in zip(flat, shapes, strict=True)
        ]
        found.append((flat, still(np.asarray(compute(*arrays)))))
    return found


def wrong_marks(name):
    """Where a mark is not right, or is missing: shapes of the inputs, axes of the output."""
    function, shapes, may_miss = SINGLE[name]
    return [
        (flat, axis)
        for flat, holds in facts(name)
        for axis, (mark, fact) in enumerate(zip(marks(function, shapes, flat), holds, strict=True))
        if (mark and not fact) or (fact and not mark and axis not in may_miss)
    ]


@pytest.mark.parametrize("name", SINGLE)
def test_a_mark_is_there_if_and_only_if_the_output_does_not_vary(name):
    assert not wrong_marks(name)
