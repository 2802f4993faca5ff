"""Layers without pooling: as many parameters, and every entry sees itself alone."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.layers.random_arrays import random_tree
from unf_lopt import PermutationSpec, UNFLinear

# A concatenation, heads, a kernel of three axes, a recurrent matrix and a scalar.
AXES = {
    "joined": ((5, 4), ("a + b", "c")),
    "heads": ((4, 6), ("c", "h*k")),
    "kernel": ((2, 2, 3), ("y", "a", "b")),
    "recurrent": ((3, 3), ("b", "b")),
    "bias": ((3,), ("b",)),
    "scale": ((), ()),
}
SPEC = PermutationSpec.from_names(
    {path: names for path, (_, names) in AXES.items()},
    {path: jnp.zeros(shape) for path, (shape, _) in AXES.items()},
    {"y"},
    {"h": 2, "k": 3},
)
every_layer = pytest.mark.parametrize("coefficients", ["per_pair", "tied"])


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def _layer(coefficients, pooling):
    def layer(features):
        return UNFLinear(2, SPEC, coefficients=coefficients, pooling=pooling)(features)

    return hk.without_apply_rng(hk.transform(layer))


def _params(coefficients, seed=3):
    shapes = _layer(coefficients, True).init(jax.random.key(0), random_tree(SPEC, 0, 3))
    generator = np.random.default_rng(seed)
    return jax.tree.map(lambda x: jnp.asarray(generator.normal(size=x.shape)), shapes)


@every_layer
def test_it_has_as_many_parameters(coefficients):
    both = [
        jax.eval_shape(_layer(coefficients, p).init, jax.random.key(0), random_tree(SPEC, 0, 3))
        for p in (True, False)
    ]
    assert both[0] == both[1]


@every_layer
def test_an_entry_sees_itself_alone(coefficients):
    params = _params(coefficients)
    apply = jax.jit(_layer(coefficients, False).apply)
    features, other = random_tree(SPEC, 0, 3), random_tree(SPEC, 9, 3)
    mixed = {path: x.copy() for path, x in other.items()}
    places = {path: (1,) * (x.ndim - 1) for path, x in features.items()}
    for path, place in places.items():
        mixed[path][place] = features[path][place]
    found, expected = apply(params, mixed), apply(params, features)
    for path, place in places.items():
        np.testing.assert_allclose(found[path][place], expected[path][place], rtol=1e-12)
        assert path == "scale" or np.abs(found[path] - expected[path]).max() > 1e-3


@every_layer
def test_on_constant_features_it_is_the_layer_itself(coefficients):
    """Means of what is equal everywhere are the entries; but maps onto diagonals are there too."""
    params = _params(coefficients)
    x = np.random.default_rng(0).normal(size=3)
    features = {
        path: np.broadcast_to(x, (*shape, 3))
        for path, shape in zip(SPEC.paths, SPEC.shapes, strict=True)
    }
    pooled, alone = (
        jax.jit(_layer(coefficients, p).apply)(params, features) for p in (True, False)
    )
    for path in SPEC.paths:
        rows = np.arange(3)
        where = (rows, rows) if path == "recurrent" else ()
        np.testing.assert_allclose(alone[path][where], pooled[path][where], rtol=1e-9)


def test_coefficients_of_single_indices_are_refused():
    with pytest.raises(ValueError, match=r"pooling=False, fixed_axes='free'"):
        hk.transform(lambda: UNFLinear(1, SPEC, pooling=False, fixed_axes="free")).init(
            jax.random.key(0)
        )
