"""Functions of entries and layers, block by block: what the whole gives, in less memory."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.strategies import from_axes
from unf_lopt import PermutationSpec, PointwiseMLP, SpecError, UNFLinear
from unf_lopt.layers import _pooling, in_blocks, means_in_blocks

SHAPES = {"matrix": (37, 11), "vector": (53,), "scalar": (), "nothing": (0, 4), "cube": (3, 8, 5)}
AXES = {
    "w": ("a", "b"),
    "square": ("b", "b"),
    "cube": ("b", "pixels", "a"),
    "joined": ("a*b",),
    "cut": ("a + b",),
    "scale": (),
}
SIZES = {
    "w": (3, 4),
    "square": (4, 4),
    "cube": (4, 2, 3),
    "joined": (12,),
    "cut": (7,),
    "scale": (),
}
SPEC = PermutationSpec.from_names(
    AXES,
    {path: jax.ShapeDtypeStruct(shape, "float32") for path, shape in SIZES.items()},
    fixed={"pixels"},
    sizes={"a": 3, "b": 4},
)


@pytest.fixture(autouse=True)
def exact():
    with jax.enable_x64(True):
        yield


def random(shapes, *channels, seed=0):
    generator = np.random.default_rng(seed)
    return {
        name: jnp.asarray(generator.normal(size=(*shape, *channels)))
        for name, shape in shapes.items()
    }


def arguments(shapes):
    """Parameters, six momenta and a scale of every tensor's own."""
    scales = random(dict.fromkeys(shapes, ()), 6, seed=2)
    return random(shapes), random(shapes, 6, seed=1), scales


def function(matrix, x, momenta, scale):
    features = jnp.concatenate([x[:, None], momenta * scale], axis=1)
    hidden = jnp.tanh(features @ matrix)
    return {"one": hidden[:, 0], "many": hidden}


def on_the_whole(matrix, params, momenta, scales):
    found = {"one": {}, "many": {}}
    for name, x in params.items():
        own = jnp.broadcast_to(scales[name], (x.size, 6))
        results = function(matrix, x.reshape(-1), momenta[name].reshape(-1, 6), own)
        for part, value in results.items():
            found[part][name] = value.reshape(*x.shape, *value.shape[1:])
    return found


def by_blocks(matrix, params, momenta, scales, block):
    own = lambda *parts: function(matrix, *parts)  # noqa: E731
    return in_blocks(own, params, momenta, of_tensors=[scales], block=block)


def assert_close(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        scale = max(1.0, float(np.max(np.abs(y), initial=0)))
        np.testing.assert_allclose(x, y, rtol=0, atol=1e-12 * scale)


MATRIX = np.random.default_rng(3).normal(size=(7, 5))  # float64 here, where JAX has none yet


@pytest.mark.parametrize("block", [1, 2, 7, 16, 10_000])
def test_by_blocks_is_on_the_whole(block):
    found = jax.jit(by_blocks, static_argnames="block")(MATRIX, *arguments(SHAPES), block=block)
    assert_close(found, jax.jit(on_the_whole)(MATRIX, *arguments(SHAPES)))


@pytest.mark.parametrize("block", [2, 7])
def test_gradients_by_blocks_are_those_on_the_whole(block):
    def loss(how, *args, **options):
        return sum(jnp.sum(jnp.sin(x)) for x in jax.tree.leaves(how(*args, **options)))

    gradient = jax.jit(
        jax.grad(loss, argnums=(1, 2, 3, 4)), static_argnums=0, static_argnames="block"
    )
    args = (MATRIX, *arguments(SHAPES))
    assert_close(gradient(by_blocks, *args, block=block), gradient(on_the_whole, *args))


@pytest.mark.parametrize("block", [7, 10_000])
def test_means_by_blocks_are_those_on_the_whole(block):
    shapes = {name: shape for name, shape in SHAPES.items() if name != "nothing"}
    trees = arguments(shapes)[:2]

    def by_block(*trees):
        return means_in_blocks(lambda x, m: x[:, None] * m**2, *trees, block=block)

    def whole(params, momenta):
        axes = {name: tuple(range(x.ndim)) for name, x in params.items()}
        return {n: jnp.mean(x[..., None] * momenta[n] ** 2, axes[n]) for n, x in params.items()}

    def loss(how, *trees):
        return sum(jnp.sum(jnp.sin(x)) for x in how(*trees).values())

    gradient = jax.value_and_grad(loss, argnums=(1, 2))
    assert_close(
        *(
            jax.jit(lambda *trees, how=how: (how(*trees), gradient(how, *trees)))(*trees)
            for how in (by_block, whole)
        )
    )


def test_over_perturbations_and_tasks():
    args = arguments(SHAPES)
    matrices = np.stack([MATRIX, 2 * MATRIX])
    tasks = jax.tree.map(lambda x: np.stack([x, -x, 3 * x]), jax.device_get(args))

    def over_both(how):
        over_tasks = jax.vmap(how, (None, 0, 0, 0))
        return jax.jit(jax.vmap(over_tasks, (0, None, None, None)))(matrices, *tasks)

    found = over_both(lambda *parts: by_blocks(*parts, block=7))
    assert_close(found, over_both(on_the_whole))
    assert found["many"]["matrix"].shape == (2, 3, 37, 11, 5)


def test_trees_that_do_not_belong_together():
    params, momenta, _ = arguments(SHAPES)
    with pytest.raises(ValueError, match="one structure"):
        in_blocks(lambda x, y: x, params, {"matrix": momenta["matrix"]})
    with pytest.raises(ValueError, match=r"shape \(53, 6\), where the first tree's is \(37, 11\)"):
        in_blocks(lambda x, y: x, params, momenta | {"matrix": momenta["vector"]})
    assert in_blocks(lambda x: x, {}) == {}


# --------------------------------------------------------------------------------------- layers
def layer_on_the_whole(params, momenta, scales, **options):
    features = in_blocks(joined_features, params, momenta, of_tensors=[scales])
    return UNFLinear(2, SPEC, **options)(features, trunk())


def layer_in_blocks(params, momenta, scales, **options):
    network = trunk()
    layer = UNFLinear(2, SPEC, **options)
    own = lambda *parts: network(joined_features(*parts))  # noqa: E731
    return layer.in_blocks(own, params, momenta, of_tensors=[scales])


def joined_features(x, momenta, scale):
    return jnp.concatenate([x[:, None], momenta * scale], axis=1)


def trunk():
    return PointwiseMLP((16, 20), activate_final=True)


CASES = {
    "tied, cross terms": {"coefficients": "tied", "cross_terms": True},
    "tied": {"coefficients": "tied", "fixed_axes": "positional", "balanced": True},
    "full": {"bias": "full"},
    "full, free": {"fixed_axes": "free", "balanced": True},
}


@pytest.mark.parametrize("case", CASES)
def test_a_layer_in_blocks_is_the_layer(case, monkeypatch):
    monkeypatch.setattr(_pooling, "LARGE", 7)  # some tensors are larger, others are not
    monkeypatch.setattr(_pooling.LazyFeatures.read, "__defaults__", (5,))
    shapes = dict(zip(SPEC.paths, SPEC.shapes, strict=True))
    args = arguments(shapes)
    whole, lazy = (
        hk.without_apply_rng(hk.transform(lambda *parts, how=how: how(*parts, **CASES[case])))
        for how in (layer_on_the_whole, layer_in_blocks)
    )
    expected_shapes = jax.eval_shape(whole.init, jax.random.key(0), *args)
    params = jax.jit(lazy.init)(jax.random.key(0), *args)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, expected_shapes)
    generator = np.random.default_rng(0)
    params = jax.tree.map(lambda x: jnp.asarray(generator.normal(size=x.shape)), params)

    results = []
    for network in (lazy, whole):

        def loss(params, args, network=network):
            outputs = network.apply(params, *args)
            return sum(jnp.sum(jnp.sin(x)) for x in outputs.values()), outputs

        # One gradient will do: it takes long to compile, and layers read features in one way.
        own = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True) if case == "tied" else loss
        results.append(jax.jit(own)(params, args))
    assert_close(*results)


def test_a_layer_in_blocks_refuses_trees_of_another_weight_space():
    layer = hk.transform(lambda tree: UNFLinear(2, SPEC).in_blocks(lambda x: x[:, None], tree))
    with pytest.raises(SpecError, match="matrix"):
        layer.init(jax.random.key(0), random(SHAPES))


# --------------------------------------------------------------------------------------- memory
@pytest.mark.parametrize("last", ["pointwise", "tied", "full"])
def test_memory_of_a_step_is_a_few_times_that_of_the_parameters(last):
    """Features and network of the paper's widths; the whole takes 60 times the parameters."""
    with jax.enable_x64(False):
        spec = from_axes(
            {"w": ("a", "b"), "v": ("b", "c"), "bias": ("b",)},
            sizes={"a": 256, "b": 512, "c": 256},
        )
        zeros = {p: jnp.zeros(s) for p, s in zip(spec.paths, spec.shapes, strict=True)}
        momenta = jax.tree.map(lambda x: jnp.zeros((*x.shape, 6)), zeros)

        def features(w, g, m):
            time = jnp.broadcast_to(jnp.linspace(0, 1, 11), (len(w), 11))
            return jnp.concatenate([w[:, None], g[:, None], m, time], axis=1)

        def network(params, gradient, momenta):
            hidden = PointwiseMLP((32, 32, 32), activate_final=True)
            if last == "pointwise":
                final = PointwiseMLP((1,))
                function = lambda *parts: final(hidden(features(*parts)))  # noqa: E731
                hk.running_init() and function(*(x["bias"] for x in (params, gradient, momenta)))
                return in_blocks(function, params, gradient, momenta)
            coefficients = "tied" if last == "tied" else "per_pair"
            layer = UNFLinear(1, spec, coefficients=coefficients)
            function = lambda *parts: hidden(features(*parts))  # noqa: E731
            return layer.in_blocks(function, params, gradient, momenta)

        transformed = hk.without_apply_rng(hk.transform(network))
        theta = jax.eval_shape(transformed.init, jax.random.key(0), zeros, zeros, momenta)
        compiled = jax.jit(transformed.apply).lower(theta, zeros, zeros, momenta).compile()
    size = sum(x.nbytes for x in zeros.values())
    assert compiled.memory_analysis().temp_size_in_bytes < 8 * size
