"""Networks of equivariant layers: laws, depth, batches, precision, memory options."""

import functools

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.layers.random_arrays import random_tree
from tests.strategies import from_axes, mlp_spec
from unf_lopt import UNF, InvariantPool, PermutationSpec, UNFLinear, assert_equivariant
from unf_lopt.layers import EquivariantNetwork, PointwiseMLP, TiedLinear, equivariant_linear

SPEC = from_axes(
    {"w": ("a", "b"), "v": ("b", "pixels"), "square": ("b", "b"), "bias": ("b",), "scale": ()},
    fixed={"pixels"},
)
FEATURES = jax.tree.map(jnp.float32, random_tree(SPEC, 0, 3))
both = pytest.mark.parametrize("coefficients", ["per_pair", "tied"])


def network(*channels, coefficients="per_pair", spec=SPEC, **options):
    """The network as a Haiku transform that may use keys, each function one program."""
    own = hk.transform(
        lambda x, is_training=False: UNF(
            channels, spec, coefficients=coefficients, initialization="lecun", **options
        )(x, is_training)
    )
    return hk.Transformed(jax.jit(own.init), jax.jit(own.apply, static_argnums=3))


def randomized(params, seed=0):
    generator = np.random.default_rng(seed)
    return jax.tree.map(lambda x: jnp.asarray(generator.normal(size=x.shape) / 4, x.dtype), params)


@both
@pytest.mark.parametrize("options", [{}, {"residual": True, "normalize": True}])
def test_equivariant(coefficients, options):
    with jax.enable_x64(True):
        features = random_tree(SPEC, 0, 3)
        own = network(4, 2, coefficients=coefficients, activation=jnp.tanh, **options)
        params = randomized(own.init(jax.random.key(1), features))
        apply = functools.partial(own.apply, params, None)
        assert_equivariant(apply, SPEC, jax.random.key(2), features=features)
        assert apply(features)["w"].shape == (2, 3, 2)


@both
def test_the_module_is_the_plain_network(coefficients):
    own = network(4, 2, coefficients=coefficients)
    params = own.init(jax.random.key(1), FEATURES)
    layers = tuple(
        equivariant_linear(SPEC, n, coefficients, initialization="lecun") for n in (4, 2)
    )
    plain: dict = {}
    for name, value in params["unf"].items():
        layer, _, parameter = name.partition(".")
        plain.setdefault(layer, {})[parameter] = value
    expected = jax.jit(EquivariantNetwork(layers).apply)(plain, FEATURES)
    found = own.apply(params, None, FEATURES)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    shapes = jax.eval_shape(lambda: EquivariantNetwork(layers).init(jax.random.key(3), 3))
    assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, plain)


@both
def test_residual_and_normalized_it_stays_stable_at_depth(coefficients):
    spec, depth = mlp_spec((5, 4, 3)), 8
    features = jax.tree.map(jnp.float32, random_tree(spec, 0, 8))
    options = {"residual": True, "normalize": True, "coefficients": coefficients, "spec": spec}
    own = network(*[8] * depth, **options)
    params = own.init(jax.random.key(1), features)

    @jax.jit
    def size_and_gradient(params):
        def size(params):
            outputs = own.apply(params, None, features)
            return sum(jnp.mean(x**2) for x in outputs.values()) / len(outputs)

        return jax.value_and_grad(size)(params)

    size, gradient = size_and_gradient(params)
    assert 0.5 < size < 10 * depth  # grows with the number of summands, no faster
    assert all(jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


@both
def test_a_batch_of_weight_spaces(coefficients):
    own = network(4, 2, coefficients=coefficients)
    params = own.init(jax.random.key(1), FEATURES)
    batch = jax.tree.map(lambda x: jnp.stack([x, 2 * x, -x]), FEATURES)
    outputs = jax.jit(jax.vmap(own.apply, (None, None, 0)))(params, None, batch)
    second = own.apply(params, None, jax.tree.map(lambda x: 2 * x, FEATURES))
    for path in SPEC.paths:
        np.testing.assert_allclose(outputs[path][1], second[path], rtol=1e-4, atol=1e-5)


@both
def test_channels_in_bfloat16(coefficients):
    own = network(4, 2, coefficients=coefficients, residual=True, normalize=True)
    params = own.init(jax.random.key(1), FEATURES)
    exact = own.apply(params, None, FEATURES)
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), (params, FEATURES))
    outputs = own.apply(half[0], None, half[1])
    for path in SPEC.paths:
        assert outputs[path].dtype == jnp.bfloat16
        scale = float(jnp.max(jnp.abs(exact[path])))
        difference = jnp.abs(outputs[path].astype(jnp.float32) - exact[path])
        assert float(jnp.max(difference)) < 0.05 * scale


def test_remat_changes_memory_and_nothing_else():
    gradients = []
    for remat in (False, True):
        own = network(4, 2, coefficients="tied", remat=remat)
        params = own.init(jax.random.key(1), FEATURES)

        def loss(params, own=own):
            return sum(jnp.sum(x**2) for x in own.apply(params, None, FEATURES).values())

        gradients.append(jax.jit(jax.grad(loss))(params))
        assert ("remat" in str(jax.make_jaxpr(jax.grad(loss))(params))) == remat
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *gradients)


def test_dropout():
    own = network(4, 4, 2, dropout_rate=0.5)
    params = own.init(jax.random.key(1), FEATURES)
    evaluate = own.apply(params, None, FEATURES)
    jax.tree.map(np.testing.assert_array_equal, evaluate, own.apply(params, None, FEATURES, False))
    train = lambda key: own.apply(params, key, FEATURES, True)["w"]  # noqa: E731
    one, other = train(jax.random.key(1)), train(jax.random.key(2))
    assert jnp.any(one != other) and jnp.all(one == train(jax.random.key(1)))


@both
def test_the_last_layer_may_start_at_zero(coefficients):
    own = network(4, 2, coefficients=coefficients, zero_last=True)
    params = own.init(jax.random.key(1), FEATURES)
    assert all(jnp.all(x == 0) for x in own.apply(params, None, FEATURES).values())
    assert any(jnp.any(x != 0) for x in jax.tree.leaves(params))


def test_pooling_is_invariant():
    with jax.enable_x64(True):
        features = random_tree(SPEC, 0, 3)
        pool = hk.without_apply_rng(hk.transform(lambda x: InvariantPool(SPEC)(x)))
        apply, permutation = jax.jit(pool.apply), SPEC.sample(jax.random.key(1))
        vector = apply({}, features)
        moved = apply({}, SPEC.permute(features, jax.device_get(permutation)))
        assert vector.shape == (len(SPEC.paths) * 3,)
        np.testing.assert_allclose(vector, moved, atol=1e-14)
        np.testing.assert_allclose(vector[-3:], features["w"].mean((0, 1)))


def test_tied_linear_as_a_module():
    layer = hk.without_apply_rng(
        hk.transform(lambda x: UNFLinear(2, SPEC, coefficients="tied", cross_terms=True)(x))
    )
    params = jax.jit(layer.init)(jax.random.key(0), FEATURES)
    plain = jax.jit(TiedLinear(SPEC, 2, cross_terms=True).apply)(params["unf_linear"], FEATURES)
    jax.tree.map(np.testing.assert_array_equal, jax.jit(layer.apply)(params, FEATURES), plain)


@both
@pytest.mark.parametrize("fixed_axes", ["exchangeable", "free"])
def test_a_trunk_may_as_well_come_before(coefficients, fixed_axes):
    if (coefficients, fixed_axes) == ("tied", "free"):
        pytest.skip("tied coefficients take no free axes")
    shapes = {"w": (6, 4), "v": (4, 5), "scale": ()}
    spec = PermutationSpec.from_names(
        {"w": ("heads*width", "pixels"), "v": ("pixels", "b"), "scale": ()},
        {path: jax.ShapeDtypeStruct(shape, jnp.float32) for path, shape in shapes.items()},
        fixed={"pixels"},
        sizes={"heads": 2},
    )
    features = jax.tree.map(jnp.float32, random_tree(spec, 0, 3))

    def layer(x, within):
        trunk = PointwiseMLP((5, 4), activate_final=True)
        linear = UNFLinear(2, spec, coefficients=coefficients, fixed_axes=fixed_axes)
        return linear(x, trunk) if within else linear(trunk(x))

    transformed = hk.without_apply_rng(hk.transform(layer))
    shapes = jax.eval_shape(lambda x: transformed.init(jax.random.key(1), x, True), features)
    params = randomized(shapes)
    apply = jax.jit(transformed.apply, static_argnums=2)
    within, before = (apply(params, features, own) for own in (True, False))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), within, before)
    assert max(np.max(np.abs(leaf)) for leaf in within.values()) > 0.1


@pytest.mark.parametrize(
    ("channels", "options", "message"),
    [
        ((), {}, "at least one layer"),
        ((2,), {"coefficients": "shared"}, r"coefficients='shared'.*'per_pair', 'tied'"),
        ((2,), {"cross_terms": True}, "coefficients='per_pair' takes no cross_terms"),
        ((2,), {"dropout_rate": 1.0}, r"dropout_rate=1\.0"),
    ],
)
def test_options_that_are_none(channels, options, message):
    with pytest.raises(ValueError, match=message):
        network(*channels, **options).init(jax.random.key(0), FEATURES)
