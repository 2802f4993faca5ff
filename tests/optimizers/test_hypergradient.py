"""Step sizes that follow the hypergradient: what it is, and what it is for."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.optimizers.problems import CHAIN
from tests.optimizers.weight_spaces import mixed_spec, random_tree
from unf_lopt import to_optax
from unf_lopt.optimizers import mixed_step, unf_controller
from unf_lopt.optimizers.hypergradient import (
    LARGEST_LOG_FACTOR,
    initial_scalars,
    next_log_factors,
)

NUM_STEPS = 60
TIME = (jnp.zeros(()), jnp.zeros(()))
SCALARS = {name: jnp.asarray(value) for name, value in initial_scalars().items()}


def _run(optimizer, grads, scale=1.0, spec=CHAIN.spec, theta=None, params=None):
    """The states and updates of steps with given gradients."""
    optimizer = optimizer.bind(spec)
    theta = optimizer.init(jax.random.key(0)) if theta is None else theta
    transform = optimizer.transformation(theta, NUM_STEPS)
    params = CHAIN.random(0, "f4") if params is None else params
    state, found = transform.init(params), []
    update = jax.jit(lambda g, s: transform.update(g, s, params, value=jnp.ones(())))
    for grad in grads:
        updates, state = update(jax.tree.map(lambda g: scale * g, grad), state)
        found.append((updates, state))
    return found


def _factors(*args, **options):
    return np.stack([state.log_factors for _, state in _run(*args, **options)])


PLAIN = mixed_step(hypergradient=True, gradient_clip=None, directions=("momentum",))


def test_it_is_the_slope_of_the_loss_along_the_step_before():
    """With momentum as the direction: dL(W − r·d)/d log r = −‖g‖‖r·d‖·a, of every matrix."""
    params = CHAIN.random(0, "f4")
    grads = [CHAIN.grad(params)]
    # Momentum without a look-ahead is the direction itself.
    optimizer = PLAIN.bind(CHAIN.spec)
    theta = optimizer.init(jax.random.key(0))
    theta["scalars"]["logit_nesterov"] = jnp.asarray(50.0)
    theta["scalars"]["log_step"] = jnp.asarray(0.5)  # far enough for another gradient
    (step, state), *_ = _run(PLAIN, grads, theta=theta)

    def loss(log_factors):
        leaves, unflatten = CHAIN.spec.flatten(step)
        scaled = [jnp.exp(own) * leaf for own, leaf in zip(log_factors, leaves, strict=True)]
        return CHAIN.loss(jax.tree.map(jnp.add, params, unflatten(scaled)))

    slopes = jax.grad(loss)(jnp.zeros(len(CHAIN.spec.paths)))
    second = CHAIN.grad(jax.tree.map(jnp.add, params, step))
    after = _run(PLAIN, [*grads, second], theta=theta)[1][1]
    change = after.log_factors - state.log_factors
    share = float(-(NUM_STEPS / 2 - 1) / NUM_STEPS)
    growth = SCALARS["growth"] + SCALARS["slope_growth"] * share
    gain = jnp.exp(SCALARS["log_gain"] + SCALARS["gain_horizon"] * np.log(NUM_STEPS / 200))
    pull = change / gain + SCALARS["root_leak"] ** 2 * state.log_factors
    agreement = (jnp.arctanh(pull) - growth) / jnp.exp(SCALARS["log_sharpness"])
    lengths = [
        np.linalg.norm(g) * np.linalg.norm(d)
        for g, d in zip(CHAIN.spec.flatten(second)[0], CHAIN.spec.flatten(step)[0], strict=True)
    ]
    matrices = [leaf.ndim == 2 for leaf in CHAIN.spec.flatten(step)[0]]  # vectors have Adam's
    found, expected = (np.asarray(x)[matrices] for x in (-slopes / np.array(lengths), agreement))
    assert np.all(np.abs(expected) < 0.99)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_size_of_gradients_does_not_matter(scale):
    grads = [CHAIN.random(seed, "f4") for seed in (1, 2)]
    expected = _factors(PLAIN, grads)
    np.testing.assert_allclose(_factors(PLAIN, grads, scale), expected, rtol=1e-4, atol=1e-6)


def test_steps_grow_along_a_line_and_shrink_across_a_valley():
    same = [CHAIN.random(1, "f4")] * 20
    opposite = [jax.tree.map(lambda g, n=n: (-1) ** n * g, same[0]) for n in range(20)]
    assert np.all(np.diff(_factors(PLAIN, same), axis=0) > 0)
    assert np.all(np.diff(_factors(PLAIN, opposite)[1:], axis=0) < 0)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=8), st.floats(-9, 9))
def test_a_factor_is_bounded_and_changes_by_at_most_the_gain(agreements, change):
    old = jnp.zeros(len(agreements))
    new = next_log_factors(old, jnp.array(agreements), SCALARS, TIME, change)
    assert np.all(np.abs(new) <= np.exp(SCALARS["log_gain"]) * (1 + 1e-6))
    far = next_log_factors(old + 100, jnp.array(agreements), SCALARS, TIME)
    np.testing.assert_array_equal(far, np.full(len(agreements), LARGEST_LOG_FACTOR, "f4"))


@given(agreement=st.floats(-1, 1), change=st.floats(-1, 1), leak=st.floats(0.15, 1))
def test_what_is_the_same_at_every_step_sums_up_to_what_the_leak_lets_it(agreement, change, leak):
    scalars = {**SCALARS, "root_leak": jnp.sqrt(leak), "log_gain": jnp.log(0.5)}
    agreements, factors = jnp.full(1, agreement), [jnp.zeros(1)]
    for _ in range(40):
        factors.append(next_log_factors(factors[-1], agreements, scalars, TIME, change))
    pull = np.tanh(agreement + SCALARS["growth"] + change)
    expected = pull / leak * (1 - (1 - 0.5 * leak) ** np.arange(41))
    np.testing.assert_allclose(np.ravel(factors), expected, rtol=1e-3, atol=1e-5)
    assert np.all(np.abs(factors) <= 1 / leak)


@pytest.mark.parametrize("make", [mixed_step, unf_controller])
@jax.enable_x64(True)
def test_permutations_of_units_change_no_factor(make):
    paths = ("gates", "gates_bias", "recurrent", "query", "query_bias", "kernel", "temperature")
    spec = mixed_spec(paths)
    optimizer = make(hypergradient=True)
    theta = jax.tree.map(
        lambda x: x + 0.1 * np.random.default_rng(1).normal(size=x.shape),
        optimizer.init(jax.random.key(0)),
    )
    grads = [random_tree(seed, "f8", paths) for seed in (1, 2, 3)]
    params = random_tree(0, "f8", paths)
    permutation = spec.sample(jax.random.key(3))
    run = functools.partial(_factors, optimizer, spec=spec, theta=theta)
    found = run(grads, params=params)
    moved = run(
        [spec.permute(grad, permutation) for grad in grads],
        params=spec.permute(params, permutation),
    )
    assert np.ptp(found) > 1e-3
    np.testing.assert_allclose(moved, found, rtol=0, atol=1e-12)


def test_where_there_is_no_gradient_nothing_is_divided_by_zero():
    factors = _factors(PLAIN, [jax.tree.map(jnp.zeros_like, CHAIN.random(0, "f4"))] * 3)
    assert np.all(np.isfinite(factors))


@pytest.mark.parametrize("log_mistake", [-4.0, -2.0])
def test_steps_that_are_far_too_small_matter_less(log_mistake):
    """The classifier of scikit-learn's digits, by hand: the loss is a fraction of what it was."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images, labels = jnp.asarray(images / 16, jnp.float32), jnp.asarray(labels)

    def loss(params, rows):
        logits = images[rows] @ params["w"] + params["b"]
        return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(len(rows)), labels[rows]])

    def final(hypergradient):
        params = {"w": jnp.zeros((64, 10)), "b": jnp.zeros(10)}
        optimizer = mixed_step(hypergradient=hypergradient)
        theta = optimizer.init(jax.random.key(0))
        theta["scalars"]["log_step"] += log_mistake
        rows = jax.random.randint(jax.random.key(1), (150, 64), 0, 1500)
        transform = to_optax(theta, loss, params, rows[0], optimizer=optimizer, num_steps=150)

        def step(carry, rows):
            params, state = carry
            grad = jax.grad(loss)(params, rows)
            updates, state = transform.update(grad, state, params)
            return (jax.tree.map(jnp.add, params, updates), state), None

        carry, _ = jax.lax.scan(step, (params, transform.init(params)), rows)
        return float(loss(carry[0], jnp.arange(1500)))

    assert final(True) < 0.5 * final(False)
