"""The equivariant layer in front of pointwise ones, and directions that are turned, not scaled."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.optimizers.problems import CHAIN, RECURRENT
from unf_lopt import assert_equivariant
from unf_lopt.optimizers import learned_sgdm, unf, unf_universal
from unf_lopt.optimizers.directions import corrected

SMALL = {"hidden_channels": 2, "hidden_layers": 1, "correction": "rescaled", "initial_beta": 0.3}
MAKERS = {"unf": unf, "unf_universal": unf_universal}


@functools.cache
def _lopt(name, spec=None, pooling=True, arrangement="front"):
    options = {**SMALL, "arrangement": arrangement, "pooling": pooling, "inputs": "channel_rms"}
    return MAKERS[name](RECURRENT.spec if spec is None else spec, **options)


@functools.cache
def _direction(lopt):
    """The first step along a gradient, compiled; of the parameters and the gradient."""

    def step(theta, params, grad):
        inner = lopt.transformation(theta)
        return inner.update(grad, inner.init(params), params)[0]

    return jax.jit(step)


def _theta(lopt, seed=0):
    generator = np.random.default_rng(seed)
    theta = lopt.init(jax.random.PRNGKey(seed))
    functional = jax.tree.map(
        lambda x: x + 0.3 * generator.normal(size=x.shape), theta["functional"]
    )
    return {**theta, "functional": functional}


@pytest.mark.parametrize("pooling", [True, False])
@pytest.mark.parametrize("name", MAKERS)
@jax.enable_x64(True)
def test_it_commutes_with_the_symmetries(name, pooling):
    lopt = _lopt(name, pooling=pooling)
    theta, problem = _theta(lopt), RECURRENT

    def step(channels):
        params, grad = (jax.tree.map(lambda x, i=i: x[..., i], channels) for i in (0, 1))
        updates = _direction(lopt)(theta, params, grad)
        return jax.tree.map(lambda x: x[..., None], updates)

    both = [problem.random(seed) for seed in range(2)]
    features = jax.tree.map(lambda *leaves: jnp.stack(leaves, axis=-1), *both)
    assert_equivariant(step, problem.spec, jax.random.key(0), features=features, tolerance=1e-11)


def test_only_pooling_lets_a_tensor_see_others():
    params, grad, other = (RECURRENT.random(seed) for seed in (0, 1, 1))
    other["first"]["w"] = other["first"]["w"] + 1.0
    for pooling in (True, False):
        lopt = _lopt("unf_universal", pooling=pooling)
        found = [_direction(lopt)(_theta(lopt), params, g)["recurrent"] for g in (grad, other)]
        assert bool(np.any(found[0] != found[1])) == pooling


@pytest.mark.parametrize("name", MAKERS)
def test_the_ablation_has_as_many_parameters(name):
    both = [
        jax.eval_shape(_lopt(name, pooling=p).init, jax.random.PRNGKey(0)) for p in (True, False)
    ]
    assert both[0] == both[1]


def test_it_starts_as_its_nominal_step():
    params, grad = RECURRENT.random(0), RECURRENT.random(1)
    nominal = learned_sgdm(RECURRENT.spec)
    lopt = _lopt("unf")
    expected = _direction(nominal)(nominal.init(jax.random.PRNGKey(0)), params, grad)
    found = _direction(lopt)(lopt.init(jax.random.PRNGKey(0)), params, grad)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, expected)


def test_one_theta_is_for_every_network():
    theta = _theta(_lopt("unf_universal"))
    lopt = _lopt("unf_universal", spec=CHAIN.spec)
    moved = _direction(lopt)(theta, CHAIN.random(0), CHAIN.random(1))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(moved))


@given(st.integers(0, 99), st.floats(-20, 5), st.floats(-3, 3))
def test_a_corrected_direction_is_as_long_as_before(seed, log_size, log_change):
    generator = np.random.default_rng(seed)
    nominal = jnp.asarray(np.exp(log_size) * generator.normal(size=(3, 4)), "f4")
    change = jnp.asarray(np.exp(log_change) * generator.normal(size=(3, 4)), "f4")
    found = corrected(nominal, change)
    norm = np.linalg.norm(nominal)
    np.testing.assert_allclose(np.linalg.norm(found), norm, rtol=1e-4)
    np.testing.assert_array_equal(corrected(nominal, jnp.zeros((3, 4))), nominal)


def test_no_direction_is_corrected_to_none_and_has_derivatives():
    def total(nominal, change):
        return jnp.sum(jnp.square(corrected(nominal, change)))

    zero, one = jnp.zeros((2, 3)), jnp.ones((2, 3))
    assert np.abs(corrected(zero, one)).max() < 1e-12
    assert all(np.isfinite(x).all() for x in jax.grad(total, (0, 1))(zero, one))


def test_options_that_are_none():
    with pytest.raises(ValueError, match=r"arrangement='middle'.*'last', 'front'"):
        unf(arrangement="middle")
    with pytest.raises(ValueError, match=r"pooling=False.*free"):
        unf(pooling=False, fixed_axes="free")
    with pytest.raises(ValueError, match=r"correction='rescaled'.*leaves nothing to relate to"):
        unf(correction="rescaled", nominal="none")
