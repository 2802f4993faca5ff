"""Alignment finds what it should, never makes a network worse, and refuses what does not fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import mlp_spec, specs
from tests.symmetry.zoo import catalogue
from tests.symmetry.zoo.case import cases_of
from unf_lopt.symmetry import PermutationSpec, SpecError
from unf_lopt.weights import (
    align,
    align_all,
    align_by_activations,
    align_gaussians,
    interpolate,
    loss_barrier,
)

LAYER = PermutationSpec.from_names({"w": ("in", "hidden")}, {"w": np.zeros((2, 5))}, fixed={"in"})


def random_weights(spec, seed=0, channels=()):
    rng = np.random.default_rng(seed)
    return {
        path: rng.normal(size=(*shape, *channels)).astype(np.float32)
        for path, shape in zip(spec.paths, spec.shapes, strict=True)
    }


def product(spec, one, other):
    leaves = zip(spec.flatten(one)[0], spec.flatten(other)[0], strict=True)
    return sum(float(np.vdot(a, b)) for a, b in leaves)


def architectures():
    """For every family of the zoo the first whose table was written by hand and has groups."""
    for module in catalogue.MODULES:
        for case in cases_of(module):
            expected = case.build().expected
            if expected is not None and expected.groups:
                yield pytest.param(expected, id=case.name)
                break


@pytest.mark.parametrize("spec", architectures())
def test_a_networks_own_permutation_is_found_exactly(spec):
    params = random_weights(spec)
    permuted = spec.permute(params, spec.sample(jax.random.key(1)))
    restored = spec.permute(permuted, align(spec, params, permuted))
    jax.tree.map(np.testing.assert_array_equal, restored, params)


@given(spec=specs(), seed=st.integers(0, 3), starts=st.integers(1, 4))
def test_alignment_never_takes_networks_apart(spec, seed, starts):
    one, other = random_weights(spec, seed), random_weights(spec, seed + 10)
    found = align(spec, one, other, num_starts=starts, seed=seed)
    assert found.keys() == spec.groups.keys()
    before, after = product(spec, one, other), product(spec, one, spec.permute(other, found))
    assert after >= before - 1e-4 * abs(before)


def test_trees_keep_their_containers_and_order():
    spec = mlp_spec([3, 5, 4, 2])
    names = [path.split("/") for path in spec.paths]
    weights = random_weights(spec)
    params = {layer: {} for layer, _ in names}
    for path, (layer, leaf) in zip(spec.paths, names, strict=True):
        params[layer][leaf] = weights[path]
    permuted = spec.permute(params, spec.sample(jax.random.key(3)))
    restored = spec.permute(permuted, align(spec, params, permuted))
    jax.tree.map(np.testing.assert_array_equal, restored, params)


def test_gaussians_that_differ_in_their_variances_alone_are_told_apart():
    spec = mlp_spec([3, 6, 2])
    mean = jax.tree.map(np.zeros_like, random_weights(spec))
    variance = jax.tree.map(np.square, random_weights(spec, 1))
    permutation = spec.sample(jax.random.key(2))
    moved = spec.permute(variance, permutation)
    found = align_gaussians(spec, mean, variance, mean, moved)
    jax.tree.map(np.testing.assert_array_equal, spec.permute(moved, found), variance)


def test_many_networks_come_together():
    spec = mlp_spec([4, 7, 5, 3])
    base = random_weights(spec)
    keys = jax.random.split(jax.random.key(5), 4)
    networks = [
        jax.tree.map(
            lambda x, i=i: x + 0.05 * np.random.default_rng(i).normal(size=x.shape),
            spec.permute(base, spec.sample(key)),
        )
        for i, key in enumerate(keys)
    ]
    found = align_all(spec, networks)
    together = [spec.permute(own, p) for own, p in zip(networks, found, strict=True)]
    for other in together[1:]:
        for leaf, first in zip(spec.flatten(other)[0], spec.flatten(together[0])[0], strict=True):
            assert np.max(np.abs(leaf - first)) < 0.5  # noise of 0.05, weights of 1


def test_activations_pair_units_that_do_the_same():
    spec = mlp_spec([3, 6, 2])
    (group,) = spec.groups
    units = np.random.default_rng(0).normal(size=(20, 6))
    index = np.random.default_rng(1).permutation(6)
    found = align_by_activations(spec, {group: units}, {group: 3 * units[:, index] + 1})
    np.testing.assert_array_equal(index[np.asarray(found[group])], np.arange(6))


def test_a_barrier_is_the_height_above_the_line():
    params_a, params_b = {"x": jnp.zeros(1)}, {"x": jnp.full(1, 2.0)}

    def loss(params):
        x = params["x"][0]
        return 1 - (x - 1) ** 2 + 3 * x

    assert loss_barrier(loss, params_a, params_b) == pytest.approx(1.0)
    assert interpolate(params_a, params_b, 0.25)["x"][0] == pytest.approx(0.5)


def test_what_does_not_fit_is_refused():
    spec = mlp_spec([3, 4, 2])
    params, wide = random_weights(spec), random_weights(spec, channels=(2,))
    (group,) = spec.groups
    units = np.ones((5, 4))
    broken = {**params, "linear_0/b": np.full(4, np.nan)}
    other = PermutationSpec.from_names({"w": ("a",)}, {"w": np.zeros(2)})
    for error, message, call in [
        (SpecError, "linear_0/b", lambda: align(other, params, params)),
        (ValueError, "channels", lambda: align(spec, params, wide)),
        (ValueError, "finite", lambda: align(spec, params, broken)),
        (ValueError, "num_starts=0", lambda: align(spec, params, params, num_starts=0)),
        (ValueError, "two or more", lambda: align_all(spec, [params])),
        (SpecError, "not a group", lambda: align_by_activations(spec, {"z": 0}, {"z": 0})),
        (ValueError, "groups", lambda: align_by_activations(spec, {group: units}, {})),
        (
            ValueError,
            r"\[inputs, 4\]",
            lambda: align_by_activations(spec, {group: units}, {group: units[:, :3]}),
        ),
        (
            ValueError,
            "negative",
            lambda: align_gaussians(spec, params, params, params, params),
        ),
        (ValueError, "num_points=2", lambda: loss_barrier(jnp.sum, 0.0, 0.0, num_points=2)),
    ]:
        with pytest.raises(error, match=message):
            call()


def test_complex_networks_are_matched_in_both_parts():
    """Imaginary parts alone tell these units apart."""
    params = {"w": (1j * np.random.default_rng(0).normal(size=(2, 5))).astype("c8")}
    other = LAYER.permute(params, {"hidden": np.array([3, 1, 4, 0, 2])})
    back = LAYER.permute(other, align(LAYER, params, other))
    np.testing.assert_array_equal(back["w"], params["w"])


def test_alignment_runs_on_numbers():
    with pytest.raises(ValueError, match=r"align: runs on numbers, outside of jax\.jit"):
        jax.jit(lambda params: align(LAYER, params, params))({"w": jnp.ones((2, 5))})


def test_lines_are_between_networks_of_one_shape():
    with pytest.raises(ValueError, match="interpolate: the shapes differ"):
        interpolate({"w": jnp.ones((3, 1))}, {"w": jnp.ones((1, 3))}, 0.5)
    params = {"w": jnp.ones(3)}
    with pytest.raises(ValueError, match="loss_barrier: the loss must give one number"):
        loss_barrier(lambda p: (jnp.sum(p["w"]), {}), params, params)


NESTED_NAMES = {
    "q": ("stream", "heads*width"),
    "k": ("stream", "heads", "width"),
    "out": ("heads*values", "stream"),
    "router": ("stream", "heads"),
    "stack": ("layer", "stream", "lh*lk"),
    "stack_heads": ("layer", "lh"),
}
NESTED_SHAPES = {
    "q": (5, 12),
    "k": (5, 3, 4),
    "out": (6, 5),
    "router": (5, 3),
    "stack": (2, 5, 12),
    "stack_heads": (2, 3),
}


def nested_networks():
    rng = np.random.default_rng(0)
    params = {path: rng.normal(size=shape) for path, shape in NESTED_SHAPES.items()}
    sizes = {"width": 4, "values": 2, "lk": 4}
    nested = {"width": "heads", "values": "heads", "lk": ("layer", "lh"), "lh": "layer"}
    spec = PermutationSpec.from_names(NESTED_NAMES, params, {"layer"}, sizes, nested)
    noisy = {path: x + 0.01 * rng.normal(size=x.shape) for path, x in params.items()}
    return spec, params, noisy


@pytest.mark.parametrize("seed", range(3))
def test_a_nested_permutation_is_found_again(seed):
    """One of its own for each head: one for all heads cannot bring the networks together."""
    spec, params, noisy = nested_networks()
    hidden = jax.device_get(spec.sample(jax.random.key(seed)))
    other = spec.permute(noisy, hidden)
    found = align(spec, params, other, num_starts=4, seed=seed)
    back = spec.compose(hidden, jax.device_get(found))
    for index in back.values():
        np.testing.assert_array_equal(index - np.arange(index.shape[-1]), 0 * index)
    shared = spec.nest({})
    one = shared.permute(other, jax.device_get(align(shared, params, other, num_starts=4)))
    own = spec.permute(other, jax.device_get(found))
    assert distance(params, own) < 0.1 * distance(params, one)


def distance(a, b):
    return sum(float(np.sum(np.square(a[path] - b[path]))) for path in a)


def test_activations_of_a_nested_group_are_refused():
    spec, _, _ = nested_networks()
    with pytest.raises(SpecError, match=r"\['width'\] are nested"):
        align_by_activations(spec, {"width": np.ones((2, 4))}, {"width": np.ones((2, 4))})
