"""Maps from weights to weights: equivariant, the identity at first, and better once learned."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.strategies import mlp_spec
from unf_lopt.weights import FitOptions, Zoo, fit_adaptation, split_models
from unf_lopt.weights.adaptation import _equivariant_map

SPEC = mlp_spec([3, 5, 2])


def outputs(weights, inputs):
    hidden = jnp.tanh(inputs @ weights["linear_0/w"] + weights["linear_0/b"])
    return hidden @ weights["linear_1/w"] + weights["linear_1/b"]


def zoo_of(count):
    rng = np.random.default_rng(0)
    params = {
        path: rng.normal(size=(count, *shape)).astype(np.float32)
        for path, shape in zip(SPEC.paths, SPEC.shapes, strict=True)
    }
    return Zoo("random", SPEC, params, {"label": np.zeros(count)}, "label")


def model(zoo, number):
    return {path: jnp.asarray(x[number]) for path, x in zoo.params.items()}


ZOO = zoo_of(40)
SPLIT = split_models(len(ZOO), 0)


def loss(weights, inputs):
    """How far all outputs are from one."""
    return jnp.mean(jnp.square(outputs(weights, inputs) - 1.0))


@pytest.mark.parametrize("fixed_axes", ["free", "exchangeable"])
def test_the_map_commutes_with_permutations_and_starts_as_the_identity(fixed_axes):
    mapped, theta = _equivariant_map(ZOO, SPLIT, 4, fixed_axes, 0)
    own = model(ZOO, 0)
    jax.tree.map(np.testing.assert_array_equal, mapped(theta, own), own)
    keys = jax.random.split(jax.random.key(1), len(jax.tree.leaves(theta)))
    keys = jax.tree.unflatten(jax.tree.structure(theta), list(keys))
    theta = jax.tree.map(lambda key, x: 0.3 * jax.random.normal(key, x.shape), keys, theta)
    order = {"space_1": jnp.array([4, 2, 0, 1, 3])}
    moved = mapped(theta, SPEC.permute(own, order))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        moved,
        SPEC.permute(mapped(theta, own), order),
    )
    assert np.max(np.abs(moved["linear_0/w"] - SPEC.permute(own, order)["linear_0/w"])) > 1e-3


def test_networks_that_were_not_trained_on_do_better():
    inputs = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
    options = FitOptions(width=4, epochs=60, batch_size=8)
    adapted = fit_adaptation(ZOO, loss, [inputs], SPLIT, options, rates=(1e-2,))
    networks = [model(ZOO, number) for number in SPLIT.test]
    before = np.mean([loss(own, inputs) for own in networks])
    after = np.mean([loss(adapted(own), inputs) for own in networks])
    assert after < 0.7 * before


def test_data_of_no_or_other_lengths_is_told():
    for data in ([], [np.zeros((0, 3))], [np.zeros((4, 3)), np.zeros(5)]):
        with pytest.raises(ValueError, match="one number is needed"):
            fit_adaptation(ZOO, loss, data, SPLIT)
