"""The convolution as a matrix product is Haiku's convolution."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unf_lopt.tasks.convolution import PatchConv2D

KEY = jax.random.PRNGKey(0)


@pytest.mark.parametrize(
    ("length", "kernel", "stride"),
    [(8, 3, 2), (7, 3, 2), (5, 3, 1), (9, 5, 3), (2, 3, 2), (6, 2, 2), (6, 1, 2)],
)
def test_parameters_initial_values_and_results_are_haikus(length, kernel, stride):
    image = np.random.default_rng(0).normal(size=(2, length, length + 1, 3))
    with jax.enable_x64(True):
        made = [
            hk.without_apply_rng(hk.transform(lambda x, build=build: build()(jnp.asarray(x))))
            for build in (
                lambda: PatchConv2D(4, kernel, stride),
                lambda: hk.Conv2D(4, kernel, stride),
            )
        ]
        ours, haikus = (network.init(KEY, image) for network in made)
        jax.tree.map(np.testing.assert_array_equal, ours, haikus)
        params = jax.tree.map(lambda leaf: leaf + 0.1, ours)
        found, expected = (network.apply(params, image) for network in made)
        np.testing.assert_allclose(found, expected, atol=1e-12)
