"""Laws of the learned weight decay."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.optimizers.weight_spaces import mixed_spec, random_tree
from unf_lopt.optimizers.matrices import matrices_of
from unf_lopt.optimizers.mixed_step import MixedStep
from unf_lopt.optimizers.mixed_theta import initial_theta

SPEC = mixed_spec()
MATRICES = matrices_of(SPEC)


def _step(decay, scale=1.0):
    """Parameters after a step with λ, and after one without."""
    params, grad = (random_tree(seed, "f4") for seed in (0, 1))
    found = []
    for decays in (True, False):
        step = MixedStep(MATRICES, ("adam",), decays=decays)
        theta = initial_theta(jax.random.PRNGKey(0), step.mixed, decays=decays)
        theta["scalars"]["log_step"] += np.log(scale)
        if decays:
            theta["scalars"]["log_weight_decay"] = jnp.log(decay)
        updates, _ = jax.jit(step.update)(theta, grad, step.init(params, 100), params)
        found.append(SPEC.flatten(jax.tree.map(jnp.add, params, updates))[0])
    return found


def test_matrices_shrink_and_vectors_do_not():
    decayed, plain = _step(3.0)
    for role, own, other in zip(MATRICES.roles, decayed, plain, strict=True):
        ratios = np.asarray(own / other)
        if role == "vector":
            np.testing.assert_allclose(ratios, 1, rtol=1e-6)
        else:
            np.testing.assert_allclose(ratios, ratios.flat[0], rtol=1e-3)
            assert 0 < ratios.flat[0] < 1


def test_no_decay_is_the_step_without():
    for own, other in zip(*_step(0.0), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("decay", [1e3, 1e9])
def test_no_decay_is_too_large(decay):
    decayed, plain = _step(decay, scale=100.0)
    for role, own, other in zip(MATRICES.roles, decayed, plain, strict=True):
        if role != "vector":
            assert np.max(np.abs(own)) < 0.1 * np.max(np.abs(other))
