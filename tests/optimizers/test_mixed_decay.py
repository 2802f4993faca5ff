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


def _step(decay, scale=1.0, unit=1.0):
    """Parameters after a step with λ, and after one without.

    Args:
      decay: λ.
      scale: of the step size.
      unit: of the weights, and so of the step size too.
    """
    params, grad = (random_tree(seed, "f4") for seed in (0, 1))
    params = jax.tree.map(lambda x: unit * x, params)
    found = []
    for decays in (True, False):
        step = MixedStep(MATRICES, ("adam",), decays=decays)
        theta = initial_theta(jax.random.PRNGKey(0), step.mixed, decays=decays)
        theta["scalars"]["log_step"] += np.log(scale * unit)
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


@pytest.mark.parametrize("unit", [1.0, 30.0])
def test_what_is_left_does_not_depend_on_the_unit_of_the_weights(unit):
    for own, other in zip(_step(3.0)[0], _step(3.0, unit=unit)[0], strict=True):
        np.testing.assert_allclose(unit * own, other, rtol=1e-4, atol=1e-4)


def test_weights_that_begin_at_zero_are_measured_as_if_they_did_not():
    step = MixedStep(MATRICES, ("adam",), decays=True)
    zeros = jax.tree.map(jnp.zeros_like, random_tree(0, "f4"))
    scales = step.init(zeros, 100).scales
    for scale, own in zip(scales, MATRICES.blocks, strict=True):
        assert own == () or scale == pytest.approx(own[0].matrices[1] ** -0.5)
