"""Meta-gradients of this project's estimators against slow ones, and laws that they keep."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from unf_lopt import ecosystem, register
from unf_lopt.estimators import (
    ByPart,
    HorizonES,
    Horizons,
    NoiseReuseES,
    Objective,
    TruncatedBackprop,
    with_objective,
)
from unf_lopt.estimators.inner_run import InnerRun
from unf_lopt.estimators.perturbation import antithetic_gradient, draw, shifted, standardized
from unf_lopt.estimators.truncated import advance
from unf_lopt.tasks.image_mlp import digits_mlp_family

FAMILY = digits_mlp_family((3,), 8)
STD = {"scalars": 0.02, "functional": 0.05}
LONG = Horizons(5, 5)
KEY = jax.random.PRNGKey(7)


@pytest.fixture(scope="module")
def lopt():
    return register.deep_sets(hidden_channels=2, hidden_layers=1, gradient_clip=1.0)


@pytest.fixture(scope="module")
def weights(lopt):
    return weights_of(lopt)


# For laws that hold whatever the optimizer is: it has two numbers, and is compiled soon.
SGDM = register.learned_sgdm()


def weights_of(lopt):
    theta = lopt.init(jax.random.PRNGKey(0))
    return types.SimpleNamespace(theta=theta, theta_model_state=None)


def assert_close(tree, other, rtol=1e-4):
    scale = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(other))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * scale), tree, other
    )


@functools.cache
def slow_step(lopt):
    """One inner step with the ecosystem's optimizer: the loss before it, and the state after."""
    task = FAMILY.task_fn(None)

    @jax.jit
    def step(theta, opt_state, batch):
        opt = lopt.opt_fn(theta)
        loss, grad = jax.value_and_grad(task.loss)(opt.get_params(opt_state), KEY, batch)
        return loss, opt.update(opt_state, grad, loss=loss)

    return step


def slow_loss(lopt, theta, key, horizon, objective):
    """The meta-loss of a run, step by step with the ecosystem's optimizer."""
    run = InnerRun(FAMILY, lopt, objective)
    state = jax.jit(run.start)(theta, key, jnp.float32(horizon))
    reader = ecosystem.device_reader(FAMILY.datasets)
    places = run.places(state, horizon)
    opt_state, values, first = state.opt_state, [], None
    for number in range(horizon):
        batch = reader.batch(places[number])
        loss, opt_state = slow_step(lopt)(theta, opt_state, batch)
        first = loss if first is None else first
        if number >= int(objective.start * horizon):
            own = float(jnp.minimum(loss, 3 * first))
            values.append(np.log(own + objective.offset) if objective.kind == "log" else own)
    return np.mean(values)


@pytest.mark.parametrize("objective", [Objective("log", 0.5, offset=0.1), Objective("mean")])
def test_horizon_es_is_the_slow_estimate(lopt, weights, objective):
    estimator = HorizonES(FAMILY, lopt, LONG, objective, num_pairs=2, std=STD)
    out, _ = estimator.compute_gradient_estimate(
        weights, KEY, estimator.init_worker_state(weights, KEY)
    )
    _, perturbation_key, run_key = jax.random.split(KEY, 3)
    pairs = zip(jax.random.split(perturbation_key, 2), jax.random.split(run_key, 2), strict=True)
    changes, differences, losses = [], [], []
    for change_key, own in pairs:
        change = draw(change_key, weights.theta, STD)
        both = [
            slow_loss(lopt, shifted(weights.theta, change, sign), own, 5, objective)
            for sign in (1.0, -1.0)
        ]
        changes.append(change)
        differences.append(both[0] - both[1])
        losses += both
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *changes)
    expected = antithetic_gradient(stacked, jnp.asarray(differences), weights.theta, STD)
    assert_close(out.grad, expected, 5e-3)
    np.testing.assert_allclose(out.mean_loss, np.mean(losses), rtol=1e-3)


def test_standardized_estimates_have_the_direction_and_not_the_scale():
    theta = weights_of(SGDM).theta
    plain, standard = (
        jax.jit(HorizonES(FAMILY, SGDM, LONG, num_pairs=2, std=0.02, standardize=own).estimate)(
            theta, KEY, {}
        )[0]
        for own in (False, True)
    )
    one, other = (ravel_pytree(tree)[0] for tree in (plain, standard))
    cosine = jnp.vdot(one, other) / (jnp.linalg.norm(one) * jnp.linalg.norm(other))
    np.testing.assert_allclose(cosine, 1.0, rtol=1e-5)
    differences = jnp.asarray([3.0, -1.0, 2.0])
    for scale in (1e-4, 1e4):
        found = standardized(scale * differences)
        np.testing.assert_allclose(found, standardized(differences), rtol=1e-5)
    np.testing.assert_allclose(jnp.mean(found**2), 1.0, rtol=1e-5)
    assert not np.any(standardized(jnp.zeros(3)))


def test_the_estimate_of_a_linear_function_is_its_gradient():
    """Exactly so where perturbations span the space: the mean of ε·(εᵀg)/σ² is g."""
    theta = {"scalars": jnp.zeros(3), "functional": jnp.zeros(2)}
    gradient = {"scalars": jnp.asarray([1.0, -2.0, 3.0]), "functional": jnp.asarray([4.0, 5.0])}
    std = {"scalars": 0.1, "functional": 0.3}
    units = np.sqrt(5) * np.eye(5)
    changes = {"scalars": 0.1 * units[:, :3], "functional": 0.3 * units[:, 3:]}
    differences = 2 * sum(changes[name] @ gradient[name] for name in theta)
    found = antithetic_gradient(jax.tree.map(jnp.asarray, changes), differences, theta, std)
    assert_close(found, gradient, 1e-5)
    alone = antithetic_gradient(
        jax.tree.map(jnp.asarray, changes), differences, theta, {"scalars": 0.1}
    )
    assert not np.any(alone["functional"])


def test_truncations_of_reused_noise_add_up_to_the_whole_run():
    """Two of three and two steps are one of five, as the perturbation is the same."""
    options = {"num_pairs": 2, "std": 0.02}
    whole = NoiseReuseES(FAMILY, SGDM, LONG, trunc_length=5, **options)
    parts = NoiseReuseES(FAMILY, SGDM, LONG, trunc_length=1, **options)
    weights = weights_of(SGDM)
    start = jax.vmap(lambda own: whole._start(weights.theta, own, jnp.float32(5)))
    state = jax.jit(start)(jax.random.split(KEY, 2))
    expected, _ = whole.compute_gradient_estimate(weights, KEY, state)
    found = []
    for step in range(5):
        out, _ = parts.compute_gradient_estimate(weights, jax.random.PRNGKey(step), state)
        found.append(out.grad)
        before, state = state, out.unroll_state
    mean = jax.tree.map(lambda *leaves: sum(leaves) / 5, *found)
    assert_close(mean, expected.grad, 1e-3)
    # At the end of the run everything is drawn anew.
    assert np.all(state.plus.step == 0) and np.all(before.plus.step == 4)
    for new, old in zip(jax.tree.leaves(state.change), jax.tree.leaves(before.change), strict=True):
        assert np.any(new != old)


def test_backpropagation_is_the_slope_of_the_truncations_loss(lopt, weights):
    with jax.enable_x64(True):
        theta = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), weights.theta)
        run = InnerRun(FAMILY, lopt, Objective("mean"))
        state = jax.jit(run.start)(theta, KEY, jnp.float32(5))

        @jax.jit
        def loss(theta):
            return advance(run, theta, state, 3, checkpointed=True)[1].total / 3

        gradient = jax.jit(jax.grad(loss))(theta)
        direction = draw(KEY, theta, 1.0)
        size = 1e-2
        slope = (loss(shifted(theta, direction, size)) - loss(shifted(theta, direction, -size))) / (
            2 * size
        )
        along = sum(
            jnp.vdot(a, b)
            for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True)
        )
        np.testing.assert_allclose(along, slope, rtol=2e-2)
        assert abs(float(slope)) > 1e-4


def test_every_part_of_theta_has_its_own_estimator(lopt, weights):
    scalars = HorizonES(FAMILY, lopt, LONG, num_pairs=2, std={"scalars": 0.02})
    functional = TruncatedBackprop(FAMILY, lopt, LONG, num_runs=2, trunc_length=2)
    both = ByPart({"scalars": scalars, "functional": functional})
    state = both.init_worker_state(weights, KEY)
    out, _ = both.compute_gradient_estimate(weights, KEY, state)
    keys = jax.random.split(KEY, 2)
    alone, _ = scalars.compute_gradient_estimate(weights, keys[0], state["scalars"])
    assert_close(out.grad["scalars"], alone.grad["scalars"], 1e-5)
    alone, _ = functional.compute_gradient_estimate(weights, keys[1], state["functional"])
    assert_close(out.grad["functional"], alone.grad["functional"], 1e-5)
    assert any(np.any(leaf) for leaf in jax.tree.leaves(out.grad["functional"]))
    with pytest.raises(ValueError, match="theta's parts are"):
        ByPart({"controller": scalars}).init_worker_state(weights, KEY)


def test_runs_are_staggered_and_end_at_their_horizons():
    estimator = TruncatedBackprop(FAMILY, SGDM, Horizons(4, 9), num_runs=16, trunc_length=1)
    weights = weights_of(SGDM)
    state = estimator.init_worker_state(weights, KEY)
    assert len(np.unique(state.horizon)) > 3 and state.horizon.max() <= 9
    for step in range(9):
        out, _ = estimator.compute_gradient_estimate(weights, jax.random.PRNGKey(step), state)
        state = out.unroll_state
        assert np.all(state.step < state.horizon)
    assert np.all(state.horizon >= 4)  # all have been started anew


def test_the_ecosystems_estimators_average_what_the_objective_makes():
    """A family's tasks pass their losses through the objective; data and names stay."""
    family = with_objective(FAMILY)
    task = family.task_fn(None)
    assert family.name == FAMILY.name and family.datasets is FAMILY.datasets
    np.testing.assert_allclose(task.normalizer(jnp.float32(0.5)), np.log(0.501), rtol=1e-6)
    assert FAMILY.task_fn(None).normalizer(0.5) == 0.5
    options = {"num_tasks": 2, "trunc_length": 2, "std": 0.01, "steps_per_jit": 2}
    schedule = ecosystem.ConstantTruncationSchedule(4)
    estimator = ecosystem.truncated_pes(family, SGDM, schedule, **options)
    learner = ecosystem.make_learner(SGDM, theta_opt=ecosystem.Adam(0.01), num_steps=2)
    weights = learner.get_state_for_worker(learner.init(KEY))
    states = ecosystem.init_unroll_states(weights, [estimator], KEY)
    found = ecosystem.compute_gradient(weights, [estimator], states, KEY)
    plain = ecosystem.truncated_pes(FAMILY, SGDM, schedule, **options)
    states = ecosystem.init_unroll_states(weights, [plain], KEY)
    losses = ecosystem.compute_gradient(weights, [plain], states, KEY)
    np.testing.assert_allclose(found.mean_loss, np.log(losses.mean_loss + 1e-3), atol=0.1)


def test_objectives():
    horizon = jnp.float32(10)
    steps = jnp.arange(10)
    for start, count in ((0.0, 10), (0.5, 5), (0.875, 2), (1.0, 1)):
        objective = Objective(start=start)
        assert float(objective.counts(steps, horizon).sum()) == count
        np.testing.assert_allclose(objective.share(horizon), count / 10, rtol=1e-6)
    for bad in (jnp.nan, jnp.inf, 6.1):
        value, bounded = Objective("log").value(jnp.float32(bad), jnp.float32(2.0))
        assert bounded and np.isclose(value, np.log(6.001))
        slope = jax.grad(lambda x: Objective("log").value(x, jnp.float32(2.0))[0])(jnp.float32(bad))
        assert slope == 0
    value, bounded = Objective("mean").value(jnp.float32(5.9), jnp.float32(2.0))
    assert not bounded and value == np.float32(5.9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Objective("median"), "objective.kind='median'"),
        (lambda: Objective(start=1.5), r"objective.start=1\.5"),
        (lambda: Objective(split="test"), "objective.split='test'"),
        (lambda: Objective(offset=0.0), r"objective.offset=0\.0: must be a positive number"),
        (lambda: Objective(offset=float("nan")), "objective.offset=nan"),
        (lambda: Horizons(0, 5), "horizons.shortest=0"),
        (lambda: Horizons(7, 5), "shortest=7 is more than longest=5"),
        (lambda: HorizonES(FAMILY, None, LONG, num_pairs=0), r"HorizonES\(num_pairs=0\)"),
        (lambda: NoiseReuseES(FAMILY, None, LONG, trunc_length=0), "trunc_length=0"),
        (lambda: TruncatedBackprop(FAMILY, None, LONG, clip=0.0), "clip=0.0"),
        (lambda: ByPart({}), "at least one part"),
        (lambda: HorizonES(FAMILY, None, 5), r"HorizonES\(horizons=5\).*@horizons\(\)"),
        (lambda: TruncatedBackprop(FAMILY, None, LONG, Objective), r"objective=.*@objective\(\)"),
        (lambda: with_objective(3), "task_family=int"),
    ],
)
def test_what_cannot_be_is_refused_at_construction(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@pytest.mark.parametrize(
    "std", [-0.1, 0.0, float("nan"), {"scalars": -1.0}, {"controller": 0.1}], ids=str
)
def test_sizes_of_perturbations_that_cannot_be_are_refused(lopt, weights, std):
    estimator = HorizonES(FAMILY, lopt, LONG, std=std)
    with pytest.raises(ValueError, match="std="):
        estimator.init_worker_state(weights, KEY)


def test_data_that_the_device_cannot_read_are_refused():
    class Reader:
        pass

    family = with_objective(FAMILY)
    family.datasets = ecosystem.Datasets(*[Reader() for _ in range(4)])
    with pytest.raises(ValueError, match="cannot be read on the device"):
        HorizonES(family, None, LONG)
