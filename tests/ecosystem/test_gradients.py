"""PES through the door: the ecosystem's numbers, repeatable, and honest about NaN."""

import jax
import numpy as np
import pytest

from unf_lopt import ecosystem

_TASK_FAMILY = "FixedDimQuadraticFamily"


def _estimator(lopt, num_tasks=2, task_family=None):
    return ecosystem.truncated_pes(
        task_family or ecosystem.FixedDimQuadraticFamily(dim=3),
        lopt,
        ecosystem.ConstantTruncationSchedule(8),
        num_tasks=num_tasks,
        trunc_length=4,
        std=0.01,
        steps_per_jit=2,
        random_initial_iteration_offset=8,
    )


def _learner(lopt):
    return ecosystem.make_learner(lopt, theta_opt=ecosystem.Adam(0.01), num_steps=10)


class Setup:
    """A learner, one estimator, and the state in which outer training starts."""

    def __init__(self, lopt):
        self.key = jax.random.PRNGKey(0)
        self.learner = _learner(lopt)
        self.estimators = [_estimator(lopt)]
        self.state = self.learner.init(self.key)
        self.weights = self.learner.get_state_for_worker(self.state)
        self.unroll_states = ecosystem.init_unroll_states(self.weights, self.estimators, self.key)

    def gradient(self, **kwargs):
        return ecosystem.compute_gradient(
            self.weights, self.estimators, self.unroll_states, self.key, **kwargs
        )


@pytest.fixture(scope="module")
def setup():
    return Setup(ecosystem.LearnableSGDM())


def _assert_same_bits(left, right):
    jax.tree_util.tree_map(np.testing.assert_array_equal, left, right)


def test_the_gradient_is_the_ecosystems_own(setup):
    ours = setup.gradient()
    theirs = ecosystem.gradient_worker_compute(
        setup.weights, setup.estimators, setup.unroll_states, setup.key, False
    )
    assert ours.finite
    _assert_same_bits(ours.grad, theirs.to_put.theta_grads)
    _assert_same_bits(ours.unroll_states, theirs.unroll_states)
    assert ours.mean_loss == float(theirs.to_put.mean_loss)


def test_it_repeats_and_draws_nothing_from_numpys_global_generator(setup):
    before = np.random.get_state()
    first, second = setup.gradient(with_metrics=True), setup.gradient(with_metrics=True)
    _assert_same_bits(before[1], np.random.get_state()[1])
    _assert_same_bits(first.grad, second.grad)
    assert first.metrics == second.metrics
    norm = np.sqrt(sum(np.sum(np.square(leaf)) for leaf in jax.tree_util.tree_leaves(first.grad)))
    assert first.metrics[f"{_TASK_FAMILY}/grad_norm"] == pytest.approx(norm, rel=1e-6)


def test_several_estimators_are_averaged(setup):
    estimators = [*setup.estimators, _estimator(ecosystem.LearnableSGDM(), num_tasks=3)]
    states = ecosystem.init_unroll_states(setup.weights, estimators, setup.key)
    both = ecosystem.compute_gradient(setup.weights, estimators, states, setup.key)
    key, apart = setup.key, []
    for estimator, state in zip(estimators, states, strict=True):
        key, own = jax.random.split(key)
        apart.append(estimator.compute_gradient_estimate(setup.weights, own, state)[0])
    _assert_same_bits(
        both.grad, jax.tree_util.tree_map(lambda a, b: (a + b) / 2, *[out.grad for out in apart])
    )
    assert both.losses == tuple(float(out.mean_loss) for out in apart)
    assert both.mean_loss == pytest.approx(np.mean(both.losses))
    assert len(both.unroll_states) == 2


def test_an_outer_step_moves_theta_against_the_gradient(setup):
    gradient = setup.gradient()
    state, metrics = ecosystem.apply_gradient(
        setup.learner, setup.state, gradient, setup.key, with_metrics=True
    )
    before = ecosystem.theta_of(setup.learner, setup.state)
    after = ecosystem.theta_of(setup.learner, state)
    # Adam's first step is its learning rate, against the sign.
    jax.tree_util.tree_map(
        lambda b, a, g: np.testing.assert_allclose(a - b, -0.01 * np.sign(g), rtol=1e-3),
        before,
        after,
        gradient.grad,
    )
    assert int(state.theta_opt_state.iteration) == 1
    assert metrics["mean_loss"] == gradient.mean_loss
    assert metrics["theta_grad_norm"] > 0


def test_a_gradient_that_is_not_finite_says_so_and_is_not_applied():
    diverging = Setup(ecosystem.LearnableSGDM(initial_lr=1e30))
    gradient = diverging.gradient()
    assert not gradient.finite
    assert not np.isfinite(gradient.losses[0])
    assert not np.isfinite(gradient.grad["log_lr"])
    # What this is for: the ecosystem hands on a clean zero.
    theirs = ecosystem.gradient_worker_compute(
        diverging.weights, diverging.estimators, diverging.unroll_states, diverging.key, False
    )
    assert np.isfinite(theirs.to_put.theta_grads["log_lr"])
    with pytest.raises(ValueError, match=r"not finite.*skip the step"):
        ecosystem.apply_gradient(diverging.learner, diverging.state, gradient, diverging.key)


def test_states_and_estimators_have_to_match(setup):
    with pytest.raises(ValueError, match="got 1 estimators and 2 unroll states"):
        ecosystem.compute_gradient(
            setup.weights, setup.estimators, setup.unroll_states * 2, setup.key
        )
    with pytest.raises(ValueError, match="got 0 estimators"):
        ecosystem.compute_gradient(setup.weights, [], [], setup.key)


def test_tasks_are_named(setup):
    assert ecosystem.task_name(setup.estimators[0]) == _TASK_FAMILY
