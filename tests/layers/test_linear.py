"""Laws of the equivariant layer: the definition, equivariance, rank, counts, messages."""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.layers.random_arrays import random_params, random_tree
from tests.strategies import compiling, from_axes, mlp_spec, specs
from unf_lopt import PointwiseMLP, SpecError, UNFLinear, assert_equivariant, count_maps
from unf_lopt.layers import EquivariantLinear, bell_number, reference
from unf_lopt.layers._coefficient_arrays import LARGE
from unf_lopt.layers._plan import make_plan, terms
from unf_lopt.symmetry import random_features

MAPS_LIMIT = 500  # of a random example, so that the slow reference stays quick


def small(spec):
    return count_maps(spec) <= MAPS_LIMIT


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


@given(
    specs().filter(small),
    st.sampled_from(["tensor", "full", "none"]),
    st.booleans(),
    st.integers(0, 99),
)
@compiling
def test_fast_equals_definition(spec, bias, balanced, seed):
    layer = EquivariantLinear(spec, 2, bias=bias, balanced=balanced)
    params, features = random_params(layer, seed, 3), random_tree(spec, seed, 3)
    fast = jax.jit(layer.apply)(params, features)
    slow = reference.apply_by_definition(layer, params, features, xp=np)
    for path in spec.paths:
        scale = max(1.0, float(np.max(np.abs(slow[path]))))
        np.testing.assert_allclose(fast[path], slow[path], atol=1e-12 * scale, err_msg=path)


@given(specs().filter(small), st.sampled_from(["tensor", "full", "none"]), st.integers(0, 99))
@compiling
def test_equivariant_to_float64_precision(spec, bias, seed):
    layer = EquivariantLinear(spec, 2, bias=bias)
    params, features = random_params(layer, seed, 3), random_tree(spec, seed, 3)
    apply = jax.jit(lambda x: layer.apply(params, x))
    assert_equivariant(apply, spec, jax.random.key(seed), features=features)


@given(specs(max_rank=3))
def test_every_coefficient_is_one_map(spec):
    layer = EquivariantLinear(spec, 1, bias="none")
    places = [make_plan(spec).locate(term) for term in terms(spec)]
    assert len(set(places)) == len(places) == count_maps(spec)
    assert layer.parameter_shapes(1) == {"coefficients": (count_maps(spec), 1, 1)}


def test_large_buckets_have_arrays_of_their_own():
    """The layout and its inverse, on both sides of the limit."""
    layout = EquivariantLinear(mlp_spec((3, 4, 2)), 64).layout(64)
    generator = np.random.default_rng(0)
    params = {name: generator.normal(size=shape) for name, shape in layout.shapes().items()}
    assert len(params) == 2 and params["coefficients()"].size >= LARGE
    tables = layout.tables(params)
    sizes = {bucket: (len(own), len(slots)) for bucket, (own, slots) in layout.plan.buckets.items()}
    assert {bucket: table.shape[::2] for bucket, table in tables.items()} == sizes
    again = layout.params(tables)
    assert again.keys() == params.keys()
    for name, value in params.items():
        np.testing.assert_array_equal(again[name], value)


@pytest.mark.parametrize(
    "axes",
    [
        {"square": ("a", "a")},
        {"cube": ("a", "a", "a")},
        {"w": ("a", "b"), "b": ("b",), "s": ()},
        {"kernel": ("a", "b", "a"), "scale": ("a",)},
        {"recurrent": ("b", "b"), "in": ("a", "b"), "bias": ("b",)},
    ],
)
def test_rank_of_the_layer_is_the_bell_number_count(axes):
    # maps are independent once a space has as many entries as there are axes to tell apart
    repeats = {name: max(own.count(name) for own in axes.values()) for name in "ab"}
    sizes = {name: max(2 * repeats[name], 2) for name in "ab"}
    spec = from_axes(axes, sizes=sizes)
    layer = EquivariantLinear(spec, 1, bias="none")
    zero = {name: np.zeros(shape) for name, shape in layer.parameter_shapes(1).items()}
    inputs = [random_tree(spec, seed, 1) for seed in range(8)]

    def outputs(params):
        """The layer on some random inputs: maps that differ there are independent everywhere."""
        applied = [layer.apply(params, features) for features in inputs]
        return jnp.concatenate([jnp.ravel(x) for x in jax.tree.leaves(applied)])

    stacked = jax.jit(jax.jacfwd(outputs))(zero)
    columns = [np.asarray(block).reshape(block.shape[0], -1) for block in stacked.values()]
    assert np.linalg.matrix_rank(np.concatenate(columns, axis=1)) == count_maps(spec)


def test_a_repeated_space_has_fifteen_maps():
    assert count_maps(from_axes({"square": ("a", "a")})) == bell_number(4) == 15
    assert count_maps(from_axes({"cube": ("a", "a", "a")})) == bell_number(6) == 203
    assert count_maps(from_axes({"scalar": ()})) == 1


@pytest.mark.parametrize(("widths", "maps"), [((64, 32, 10), 32)])
def test_counts_of_the_paper(widths, maps):
    assert count_maps(mlp_spec(widths)) == maps


def test_pointwise_initialization_starts_as_a_pointwise_layer():
    spec = from_axes({"w": ("a", "a"), "b": ("a",), "s": ()})
    layer = EquivariantLinear(spec, 2, initialization="pointwise")
    params = layer.init(jax.random.key(0), 3)
    features = random_tree(spec, 1, 3)
    apply = jax.jit(layer.apply)
    outputs = apply(params, features)
    first = np.eye(len(features["b"]))[:1].T
    changed = {**features, "b": features["b"] + first, "s": features["s"] + 1.0}
    difference = jax.tree.map(np.subtract, *jax.device_get((apply(params, changed), outputs)))
    assert np.max(np.abs(difference["w"])) < 1e-14
    assert np.max(np.abs(difference["b"][1:])) < 1e-14
    assert np.min(np.abs(difference["b"][0])) > 1e-3


@pytest.mark.parametrize("balanced", [False, True])
def test_lecun_initialization_keeps_the_variance(balanced):
    spec = mlp_spec((16, 16, 16))
    layer = EquivariantLinear(spec, 256, initialization="lecun", balanced=balanced)
    outputs = jax.jit(layer.apply)(layer.init(jax.random.key(0), 64), _ones(spec, 64))
    for output in outputs.values():
        assert 0.8 < float(np.std(output)) < 1.25


@given(specs().filter(small), st.sampled_from(["exchangeable", "positional"]), st.integers(0, 99))
@compiling
def test_a_balanced_layer_is_one_with_other_parameters(spec, fixed_axes, seed):
    balanced = EquivariantLinear(spec, 2, fixed_axes, bias="full", balanced=True)
    plain = dataclasses.replace(balanced, balanced=False)
    params, features = random_params(balanced, seed, 3), random_tree(spec, seed, 3)
    outputs = jax.jit(balanced.apply)(params, features)
    others = jax.jit(lambda p: plain.apply(balanced.coefficients(p, 3), features))(params)
    for path in spec.paths:
        np.testing.assert_allclose(outputs[path], others[path], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layers", [2, 8])
def test_a_perturbation_of_a_balanced_layer_is_that_of_a_pointwise_one(layers):
    """Of size sigma on C channels of ones: sigma √C from an entry itself, once more from others."""
    spec, sigma, channels = mlp_spec((4,) * (layers + 1)), 0.01, 64
    layer = EquivariantLinear(spec, 256, bias="none", balanced=True)
    noise = {name: sigma * x for name, x in random_params(layer, 1, channels).items()}
    outputs = jax.jit(layer.apply)(noise, _ones(spec, channels))
    for output in outputs.values():
        assert float(np.std(output)) == pytest.approx(sigma * (2 * channels) ** 0.5, rel=0.15)


def _ones(spec, channels):
    return {
        path: np.ones((*shape, channels))
        for path, shape in zip(spec.paths, spec.shapes, strict=True)
    }


def test_haiku_module_is_the_plain_layer():
    spec = mlp_spec((4, 3, 2))
    transformed = hk.without_apply_rng(hk.transform(lambda x: UNFLinear(5, spec, bias="full")(x)))
    features = random_tree(spec, 0, 2)
    params = jax.jit(transformed.init)(jax.random.key(1), features)
    apply = jax.jit(EquivariantLinear(spec, 5, bias="full").apply)
    plain = apply(params["unf_linear"], features)
    for path, output in jax.jit(transformed.apply)(params, features).items():
        np.testing.assert_array_equal(output, plain[path])


def test_pointwise_linear_shares_its_map():
    transformed = hk.without_apply_rng(hk.transform(lambda x: PointwiseMLP([5])(x)))
    features = {"w": jnp.ones((3, 4, 2)), "s": jnp.ones((2,))}
    params = transformed.init(jax.random.key(0), features)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 2 * 5 + 5
    outputs = transformed.apply(params, features)
    np.testing.assert_allclose(outputs["w"], jnp.broadcast_to(outputs["s"], (3, 4, 5)))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_dtype_is_kept(dtype):
    spec = mlp_spec((4, 3, 2))
    layer = EquivariantLinear(spec, 2)
    features = random_features(spec, jax.random.key(0), 3, dtype)
    params = jax.jit(lambda: layer.init(jax.random.key(1), 3, dtype))()
    outputs = jax.jit(layer.apply)(params, features)
    assert {str(output.dtype) for output in outputs.values()} == {dtype}


def test_works_under_vmap_and_grad():
    spec = mlp_spec((4, 3, 2))
    layer = EquivariantLinear(spec, 2)
    params, features = random_params(layer, 1, 3), random_tree(spec, 0, 3)
    batch = jax.tree.map(lambda x: np.stack([x, 2 * x]), features)
    outputs = jax.jit(jax.vmap(layer.apply, (None, 0)))(params, batch)
    single = jax.jit(layer.apply)(params, features)
    for path in spec.paths:
        np.testing.assert_allclose(outputs[path][0], single[path], atol=1e-12)

    @jax.jit
    @jax.grad
    def gradient(p):
        return sum(jnp.sum(leaf**2) for leaf in layer.apply(p, features).values())

    assert all(np.any(g != 0) for g in jax.tree.leaves(gradient(params)))


def test_bad_options_and_trees_are_errors_at_once():
    spec = mlp_spec((4, 3, 2))
    with pytest.raises(ValueError, match=r"bias='per_tensor': .*'tensor', 'full', 'none'"):
        EquivariantLinear(spec, 1, bias="per_tensor")
    with pytest.raises(ValueError, match=r"fixed_axes='fre'.*exchangeable"):
        EquivariantLinear(spec, 1, fixed_axes="fre")
    with pytest.raises(ValueError, match=r"fixed_axes='fre'"):
        count_maps(spec, fixed_axes="fre")
    with pytest.raises(ValueError, match=r"initialization='zeros'.*lecun"):
        EquivariantLinear(spec, 1, initialization="zeros")
    with pytest.raises(ValueError, match="output_channels=0"):
        EquivariantLinear(spec, 0)
    layer = EquivariantLinear(spec, 1)
    params = layer.init(jax.random.key(0), 2)
    features = random_features(spec, jax.random.key(0), 2)
    with pytest.raises(SpecError, match=r"'linear_0/b'.*\(3, 'channels'\).*\(3,\)"):
        layer.apply(params, {**features, "linear_0/b": jnp.ones(3)})
    with pytest.raises(SpecError, match="equally many channels"):
        layer.apply(params, {**features, "linear_0/b": jnp.ones((3, 5))})
    with pytest.raises(SpecError, match=r"only in the spec.*linear_1/w"):
        layer.apply(params, {k: v for k, v in features.items() if k != "linear_1/w"})
