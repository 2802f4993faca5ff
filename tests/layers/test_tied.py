"""Laws of the tied layer: contained in the full one, equivariant, one for all architectures."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.layers.random_arrays import random_params, random_tree
from tests.strategies import compiling, from_axes, mlp_spec, specs
from unf_lopt import assert_equivariant, count_maps
from unf_lopt.layers import TiedLinear, untied
from unf_lopt.layers._tied_means import LONG, _mean


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


small = specs(max_tensors=4, max_rank=3).filter(lambda spec: count_maps(spec) <= 500)


@given(small, st.booleans(), st.booleans(), st.sampled_from(["tensor", "none"]), st.integers(0, 99))
@compiling
def test_the_full_layer_contains_it(spec, cross_terms, balanced, bias, seed):
    layer = TiedLinear(spec, 2, cross_terms=cross_terms, balanced=balanced, bias=bias)
    params, features = random_params(layer, seed, 3), random_tree(spec, seed, 3)
    full, full_params = untied(layer, params)

    @jax.jit
    def both(features):
        return layer.apply(params, features), full.apply(full_params, features)

    tied_outputs, full_outputs = both(features)
    for path in spec.paths:
        scale = max(1.0, float(np.max(np.abs(full_outputs[path]))))
        np.testing.assert_allclose(tied_outputs[path], full_outputs[path], atol=1e-12 * scale)


@given(specs(max_tensors=4), st.booleans(), st.integers(0, 99))
@compiling
def test_equivariant_to_float64_precision(spec, cross_terms, seed):
    layer = TiedLinear(spec, 2, cross_terms=cross_terms)
    params = random_params(layer, seed, 3)
    apply = jax.jit(lambda x: layer.apply(params, x))
    assert_equivariant(apply, spec, jax.random.key(seed), features=random_tree(spec, seed, 3))


@given(specs(), specs())
def test_the_same_parameters_for_every_weight_space(one, other):
    shapes = [TiedLinear(spec, 5, cross_terms=True).parameter_shapes(3) for spec in (one, other)]
    assert shapes[0] == shapes[1]


def test_parameters_move_to_another_architecture():
    layer = TiedLinear(mlp_spec((5, 4, 3)), 2)
    params = random_params(layer, 0, 3)
    for spec in (mlp_spec((7,) * 6), from_axes({"w": ("a", "a", "b"), "s": ()})):
        other = TiedLinear(spec, 2)
        outputs = jax.jit(other.apply)(params, random_tree(spec, 1, 3))
        assert all(np.all(np.isfinite(leaf)) for leaf in outputs.values())


@pytest.mark.parametrize("initialization", ["lecun", "pointwise"])
def test_a_balanced_layer_starts_as_the_one_that_is_not(initialization):
    tables = {}
    for balanced in (True, False):
        layer = TiedLinear(mlp_spec((4, 3)), 64, initialization=initialization, balanced=balanced)
        tables[balanced] = layer.tables(layer.init(jax.random.key(0), 64))
    for name, table in tables[True].items():
        np.testing.assert_allclose(table, tables[False][name], rtol=1e-12, err_msg=name)


def test_operations_do_not_grow_with_depth():
    counts = set()
    for depth in (3, 12):
        spec = mlp_spec((6,) * (depth + 1), fixed=())
        layer = TiedLinear(spec, 2)
        arrays = [np.zeros((len(own.tensors), *own.shape, 3)) for own in layer.stacks]
        params = layer.init(jax.random.key(0), 3)
        counts.add(len(jax.make_jaxpr(layer.apply_packed)(params, arrays).eqns))
    assert len(counts) == 1


def test_every_kind_of_coefficient_has_an_effect():
    """On a space that has everything: no parameter is dead."""
    axes = {
        "w": ("a", "b"),
        "v": ("b", "a"),
        "u": ("a", "b"),
        "square": ("a", "a"),
        "cube": ("a", "b", "a"),
        "kernel": ("a", "b", "pixels"),
        "bias": ("a",),
        "scale": (),
    }
    spec = from_axes(axes, fixed={"pixels"})
    layer = TiedLinear(spec, 1, cross_terms=True)
    params, features = random_params(layer, 0, 1), random_tree(spec, 0, 1)

    def loss(params):
        return sum((leaf**2).sum() for leaf in layer.apply(params, features).values())

    for name, gradient in jax.jit(jax.grad(loss))(params).items():
        assert np.all(gradient != 0), name


def test_options_that_are_none():
    spec = mlp_spec((4, 3, 2))
    with pytest.raises(ValueError, match="bias='full' belongs to a tensor"):
        TiedLinear(spec, 2, bias="full")
    with pytest.raises(ValueError, match="initialization='zeros'"):
        TiedLinear(spec, 2, initialization="zeros")
    with pytest.raises(ValueError, match="output_channels=0"):
        TiedLinear(spec, 0)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("shape", [(2, 7, LONG // 4, 4), (3, 5, LONG - 1), (2, 3, 4, LONG)])
def test_means_of_long_rows_are_means(shape, dtype):
    """On both sides of the length from which a mean is a product."""
    x = jax.random.normal(jax.random.key(0), shape, "float64").astype(dtype)
    tolerance = {"float64": 1e-14, "float32": 1e-6, "bfloat16": 1e-2}[dtype]
    for axis in (0, 1, 2):
        mean = jax.jit(_mean, static_argnums=1)(x, axis)
        assert mean.dtype == x.dtype
        exact = np.mean(np.asarray(x, "float64"), axis)
        np.testing.assert_allclose(np.asarray(mean, "float64"), exact, atol=tolerance)
