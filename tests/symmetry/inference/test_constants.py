"""A constant leaves free those permutations that keep it, and only these."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_arrays
from jax import lax

from tests.symmetry.inference import equivariance, expectations
from tests.symmetry.inference.constants import CONSTANTS, USES
from tests.symmetry.inference.expectations import Expectation, total
from unf_lopt import infer_spec, verify_spec
from unf_lopt.symmetry.inference import infer_traced, trace_loss
from unf_lopt.symmetry.inference._constants import Constant, entries_of, pattern_of
from unf_lopt.symmetry.inference._folding import _MOVES, _NUMBERS
from unf_lopt.symmetry.inference._graph import LEAF, AxisGraph
from unf_lopt.symmetry.inference._walk import Walker


def shape_of(make):
    return jax.eval_shape(make).shape


@pytest.mark.parametrize("name", CONSTANTS)
def test_what_a_constant_leaves_free(name):
    make, axes = CONSTANTS[name]

    def loss(x):
        value = jnp.asarray(make())
        value = jnp.real(value) + 2 * jnp.imag(value) if jnp.iscomplexobj(value) else value
        return total(x + value.astype(jnp.float32))

    check(Expectation(name, loss, {"x": shape_of(make)}, {"x": axes}))


@pytest.mark.parametrize("expectation", USES, ids=lambda e: e.name)
def test_what_a_use_leaves_free(expectation):
    check(expectation)


def _of_seed(seed):
    return jax.random.normal(jax.random.PRNGKey(seed))


# Seeds, what is drawn from them, and whether anything is free.
SEEDS = {
    "one": (np.full(4, 7), lambda x, seeds: x * jax.vmap(_of_seed)(seeds), True),
    "blocks": (np.repeat([1, 2], 2), lambda x, seeds: x * jax.vmap(_of_seed)(seeds), False),
    "the identity": (
        np.eye(4, dtype=np.int32),
        lambda x, seeds: x * jax.vmap(jax.vmap(_of_seed))(seeds),
        False,
    ),
}


@pytest.mark.parametrize("name", SEEDS)
def test_equal_seeds_stay_tied(name):
    """Draws of one seed are one number: they are not to be exchanged as draws of several are."""
    seeds, layer, is_free = SEEDS[name]
    params = {"x": np.ones(seeds.shape, np.float32)}
    spec = infer_spec(lambda p: total(layer(p["x"], seeds)), params, randomness="in_distribution")
    assert bool(spec.groups) == is_free
    # The same numbers where nothing is drawn from them leave what they leave as any others.
    plain = infer_spec(lambda p: total(p["x"] * seeds), params, randomness="in_distribution")
    assert plain.groups


def check(expectation):
    """What is found is what is expected, and every equation commutes with it on numbers."""
    assert expectations.found(expectation) == expectations.wanted(expectation)
    rng = np.random.default_rng(0)
    params = {name: rng.normal(size=shape) for name, shape in expectation.shapes.items()}
    with jax.enable_x64(True):
        traced = trace_loss(lambda params: expectation.loss(**params), params, ())
        program = equivariance.run_program(traced, list(params.values()))
        report = equivariance.check(program, infer_traced(traced, record=True), 1)
    assert not report.violations, "\n\n".join(map(str, report.violations))


# ------------------------------------------------------------------------------ whole networks
X = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
Y = np.random.default_rng(1).normal(size=(8, 2)).astype(np.float32)
SHAPES = {"a": (8, 8), "m": (8, 8), "b": (8, 2)}


def network(layer, x=X, y=Y):
    """A loss in which batch, inputs and units are all 8."""
    return lambda p: jnp.mean((layer(jnp.tanh(x @ p["a"]), p) @ p["b"] - y) ** 2)


BLOCKS = np.repeat([1.0, 0.5], [3, 5]).astype(np.float32)
NETWORKS = {
    "blocks": (network(lambda h, p: jnp.tanh(h * BLOCKS @ p["m"])), [3, 5, 8]),
    "a residual identity": (network(lambda h, p: jnp.tanh(h @ (p["m"] + np.eye(8)))), [8]),
    "jnp.eye": (network(lambda h, p: jnp.tanh(h @ (p["m"] + jnp.eye(8)))), [8]),
    "units that do not see themselves": (
        network(lambda h, p: jnp.tanh(h @ (p["m"] * (1 - jnp.eye(8))))),
        [8],
    ),
    "a diagonal that varies": (
        network(lambda h, p: jnp.tanh(h @ (p["m"] + np.diag(np.arange(8.0))))),
        [],
    ),
    "one-hot data with different targets": (
        network(lambda h, p: jnp.tanh(h @ p["m"]), x=np.eye(8, dtype=np.float32)),
        [8, 8],
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_hold_on_numbers_and_are_maximal(name):
    loss, sizes = NETWORKS[name]
    params = {path: np.ones(shape, np.float32) for path, shape in SHAPES.items()}
    spec = infer_spec(lambda p: loss(p) + 0 * jnp.sum(p["m"]), params)
    groups = [size for space, size in spec.groups.items() if space != "b:1"]
    assert sorted(groups) == sorted(sizes)
    found = verify_spec(spec, loss, params)
    assert found.certified, found
    assert found.maximal in ("maximal", "not refuted"), found


# --------------------------------------------------------------------------------------- laws
SMALL = st_arrays.arrays(np.int64, st.sampled_from([(4,), (2, 2), (3, 3), (3, 2, 3)]),
                         elements=st.integers(0, 1))  # fmt: skip


@given(SMALL, st.integers(0, 2**31))
@settings(max_examples=300)
def test_a_pattern_keeps_its_array(array, seed):
    pattern, graph = pattern_of(array), AxisGraph()
    axes = tuple(pattern.nodes(graph, [graph.leaf(n, frozen=True) for n in array.shape]))
    element = equivariance.GroupElement(np.random.default_rng(seed))
    np.testing.assert_array_equal(element.apply(axes, array), array)
    for axis, node in enumerate(axes):
        leaves = list(graph.leaves(node))
        assert pattern.is_frozen(axis) == all(leaf.frozen for leaf in leaves)
        assert all(leaf.kind is LEAF for leaf in leaves)


def known(function, *arrays):
    """The axes that the walk gives to what a function makes of constants."""
    jaxpr = jax.make_jaxpr(lambda: function(*map(jnp.asarray, arrays)))()
    (axes,) = Walker(AxisGraph()).walk(jaxpr, [])
    return axes


INTEGERS = np.array([-(2**31), -7, -2, -1, 0, 1, 2, 3, 7, 2**31 - 1], np.int32)
PAIRS = [part.reshape(-1) for part in np.meshgrid(INTEGERS, INTEGERS)]
NONZERO = np.where(PAIRS[1] == 0, 5, PAIRS[1])
UNARY = {"abs": lax.abs, "neg": lax.neg, "not": lax.bitwise_not, "sign": lax.sign,
         "copy": jnp.copy, "convert_element_type": lambda x: x.astype(jnp.uint8)}  # fmt: skip
BINARY = {"add": lax.add, "and": lax.bitwise_and, "div": lax.div, "eq": lax.eq, "ge": lax.ge,
          "gt": lax.gt, "le": lax.le, "lt": lax.lt, "max": lax.max, "min": lax.min,
          "mul": lax.mul, "ne": lax.ne, "or": lax.bitwise_or, "rem": lax.rem, "sub": lax.sub,
          "xor": lax.bitwise_xor}  # fmt: skip
OTHERS = {
    "select_n": lambda a, b: lax.select_n(a > b, a, b),
    "select_n of three": lambda a, b: lax.select_n(jnp.clip(a, 0, 2), a, b, b - a),
    "select_n of many": lambda a, b: lax.select_n(a.clip(0), *(b ^ n for n in range(70))),
    "broadcast_in_dim": lambda a, b: lax.broadcast_in_dim(a, (2, 100, 3), (1,)),
    "concatenate": lambda a, b: lax.concatenate([a, b], 0),
    "iota": lambda a, b: lax.broadcasted_iota(jnp.uint8, (3, 300, 2), 1),
    "reshape": lambda a, b: lax.reshape(a, (5, 20)),
    "reshape of a transpose": lambda a, b: lax.reshape(a.reshape(5, 20), (10, 10), (1, 0)),
    "slice": lambda a, b: lax.slice(a, (3,), (90,), (4,)),
    "squeeze": lambda a, b: lax.squeeze(a[:, None], (1,)),
    "transpose": lambda a, b: lax.transpose(a.reshape(2, 5, 10), (2, 0, 1)),
}
FUNCTIONS = {
    **{name: lambda a, b, f=f: f(a) for name, f in UNARY.items()},
    **BINARY,
    **OTHERS,
}


def test_every_primitive_that_is_computed_is_tested():
    assert _NUMBERS.keys() | _MOVES.keys() == {name.split(" of ")[0] for name in FUNCTIONS}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_integers_are_computed_as_jax_does(name):
    second = NONZERO if name in ("div", "rem") else PAIRS[1]
    axes = known(FUNCTIONS[name], PAIRS[0], second)
    wanted = np.asarray(jax.jit(FUNCTIONS[name])(PAIRS[0], second))
    assert isinstance(axes, Constant) and axes.are_numbers
    assert axes.entries.dtype == wanted.dtype
    np.testing.assert_array_equal(axes.entries, wanted)


@pytest.mark.parametrize("name", ["div", "rem"])
def test_what_is_divided_by_zero_is_not_known(name):
    assert not isinstance(known(BINARY[name], *PAIRS), Constant)


_BITS = [65535 * (np.arange(64) // 2 >> place & 1) for place in (0, 1, 0, 1)]
OTHER_NUMBERS = (
    lambda a, b: jnp.sin(a) * b,
    lambda a, b: jnp.where(a > 1, b, 0.0),
    lambda a, b: jnp.concatenate([a, b, a * b]),
    lambda a, b: jnp.concatenate([jnp.sin(a), jnp.cos(a)]),
    lambda a, b: a.astype(jnp.int32) // 2 + b.astype(jnp.int32),
    lambda a, b: (a.reshape(8, 8) + b.reshape(8, 8).T).reshape(-1),
    lambda a, b: jnp.concatenate([jnp.asarray(np.float32([1.0, 1.25] * 32)), a]),
    lambda a, b: jnp.real(jnp.asarray(np.repeat(np.complex64([1 - 2j, 3 - 2j]), 32))) * a,
    lambda a, b: lax.broadcasted_iota(jnp.float32, (16, 4), 1).reshape(-1),
    # As integers side by side, these would be wider than any type.
    lambda a, b: lax.select_n(
        jnp.arange(64) % 2, *(jnp.asarray(own).astype(jnp.float32) for own in _BITS)
    ),
)
DTYPES = ("f2", "f4", "f8", "c8", "c16", "i1", "u8", "?", "bfloat16", "float8_e4m3fn")


@pytest.mark.parametrize("function", OTHER_NUMBERS)
def test_of_other_numbers_it_is_known_which_are_equal(function):
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 4, 64).astype(np.float32) for _ in range(2))
    axes, wanted = known(function, a, b), np.asarray(jax.jit(function)(a, b))
    assert isinstance(axes, Constant) and not axes.are_numbers and axes.entries.dtype.kind in "iu"
    for entry in np.unique(axes.entries):
        assert len(np.unique(wanted[axes.entries == entry])) == 1
    assert len(np.unique(axes.entries)) < len(wanted) / 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_entries_are_equal_only_where_the_array_is(dtype):
    array = np.array([0.0, -0.0, 1.0, 1.5, 1e-3, 1.0, 0.0, 1.0]).astype(jnp.dtype(dtype))
    entries, are_numbers = entries_of(array)
    assert are_numbers == (array.dtype.kind in "biu")
    bits = [value.tobytes() for value in array]
    for i, one in enumerate(bits):
        assert [one == other for other in bits] == list(entries == entries[i])
