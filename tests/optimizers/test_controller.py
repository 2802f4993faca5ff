"""The mixed step and its controller: symmetry, scale, start values, horizons."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.optimizers.problems import CHAIN, RECURRENT
from tests.optimizers.weight_spaces import mixed_spec, random_tree
from unf_lopt.optimizers import controller as control
from unf_lopt.optimizers.controller import FEATURES, Controller
from unf_lopt.optimizers.entry_functional import entry_functional
from unf_lopt.optimizers.lines import lines_of
from unf_lopt.optimizers.matrices import matrices_by_shape, matrices_of
from unf_lopt.optimizers.mixed_step import DIRECTIONS, MixedStep
from unf_lopt.optimizers.mixed_theta import initial_theta
from unf_lopt.optimizers.statistics import Statistics

SPEC = mixed_spec()
ALL = tuple(DIRECTIONS)


def _step(matrices, mixed=ALL, functional=None, horizon=True, **options):
    """A step with a controller."""
    controller = Controller(outputs=len(mixed), **options)
    return MixedStep(matrices, mixed, controller, functional=functional, horizon=horizon)


def _initial(step):
    return initial_theta(jax.random.PRNGKey(0), step.mixed, step.controller, step.functional)


CHAIN_STEP = _step(matrices_of(CHAIN.spec))
FUNCTIONAL = entry_functional(CHAIN.spec, 2)
FULL_STEP = _step(CHAIN_STEP.matrices, ("adam", "normalized"), functional=FUNCTIONAL, lines=True)


def _random(theta, scale=0.3):
    leaves, treedef = jax.tree.flatten(theta)
    generator = np.random.default_rng(5)
    return treedef.unflatten([x + scale * generator.normal(size=x.shape) for x in leaves])


@functools.cache
def _compiled(step):
    def run(theta, params, grads, losses, num_steps):
        state, moved = step.init(params, num_steps), []
        for grad, loss in zip(grads, losses, strict=True):
            updates, state = step.update(theta, grad, state, params, loss)
            params = jax.tree.map(jnp.add, params, updates)
            moved.append(updates)
        return moved, state

    return jax.jit(run)


def _chain(theta, losses=(1.0, 0.5), num_steps=10, scale=1.0, step=CHAIN_STEP):
    params = CHAIN.random(0, "f4")
    grads = [jax.tree.map(lambda g: scale * g, CHAIN.random(s, "f4")) for s in (1, 2)]
    return _compiled(step)(theta, params, grads, jnp.array(losses), num_steps)


def _close(found, expected, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), found, expected)


@pytest.mark.parametrize("pooling", [True, False])
@pytest.mark.parametrize("lines", [True, False])
@jax.enable_x64(True)
def test_permutations_pass_through(lines, pooling):
    # Every direction of all once; else of gates, heads, a kernel's axes and a recurrent matrix.
    paths = ("gates", "gates_bias", "recurrent", "query", "query_bias", "kernel", "temperature")
    every = pooling and not lines
    spec, mixed = (SPEC, ALL) if every else (mixed_spec(paths), ("adam",))
    step = _step(matrices_of(spec), mixed, pooling=pooling, lines=lines)
    theta = _random(_initial(step))
    theta = jax.tree.map(lambda x: x.astype("f8"), theta)
    trees = [random_tree(seed, "f8", spec.paths) for seed in range(3)]
    permutation = spec.sample(jax.random.PRNGKey(3))
    permute = jax.jit(lambda tree: spec.permute(tree, permutation))

    def run(params, *grads):
        return _compiled(step)(theta, params, grads, jnp.array([2.0, 1.5]), 7)[0]

    expected = [permute(updates) for updates in run(*trees)]
    _close(run(*map(permute, trees)), expected, rtol=0, atol=1e-11)


def test_a_permutation_of_tensors_permutes_the_outputs():
    net = Controller()
    theta = _random(net.init(jax.random.PRNGKey(0)))
    x = jnp.asarray(np.random.default_rng(1).normal(size=(5, FEATURES)), "f4")
    order = jnp.array([3, 1, 4, 0, 2])
    _close(net.apply(theta, x[order]), net.apply(theta, x)[order], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pooling", [True, False])
def test_only_pooling_lets_a_tensor_see_others(pooling):
    net = Controller(pooling=pooling)
    theta = _random(net.init(jax.random.PRNGKey(0)))
    slope = jax.jacobian(lambda x: net.apply(theta, x)[0])(jnp.ones((4, FEATURES)))
    assert bool(np.any(np.asarray(slope)[:, 1:])) == pooling


def test_the_ablation_has_as_many_parameters():
    sizes = [
        jax.tree.map(jnp.shape, Controller(pooling=p, lines=True).init(jax.random.PRNGKey(0)))
        for p in (True, False)
    ]
    assert sizes[0] == sizes[1]


def test_it_starts_as_the_step_without_it():
    theta = _initial(FULL_STEP)
    alone = MixedStep(CHAIN_STEP.matrices, FULL_STEP.mixed)
    expected = _chain({"scalars": theta["scalars"]}, step=alone)[0]
    _close(_chain(theta, step=FULL_STEP)[0], expected, rtol=1e-6)


def test_step_sizes_are_powers_of_rows_columns_windows_and_the_number_of_tensors():
    step = MixedStep(matrices_of(SPEC), ("adam",), sees_extents=True)
    params, grad = random_tree(0, "f4"), random_tree(1, "f4")
    theta = initial_theta(jax.random.PRNGKey(0), step.mixed, sees_extents=True)
    state = step.init(params, 10)
    before, _ = step.update(theta, grad, state, params)
    powers = {"power_rows": 0.5, "power_columns": -0.25, "power_window": 0.125}
    powers |= {"power_tensors": -0.75}
    after, _ = step.update({"scalars": theta["scalars"] | powers}, grad, state, params)
    of_all = (len(step.matrices.paths) / 6) ** -0.75
    factor = of_all * 54**0.5 * 4**-0.25 * 9**0.125 / (32**0.5 * 16**-0.25)
    np.testing.assert_allclose(after["kernel"], factor * before["kernel"], rtol=1e-5)
    np.testing.assert_allclose(after["gates_bias"], of_all * before["gates_bias"], rtol=1e-6)


def test_a_functional_turns_directions_and_leaves_their_size():
    step = MixedStep(CHAIN_STEP.matrices, ("adam",), functional=FUNCTIONAL)
    theta = _initial(step)
    turned = _random(theta["functional"], 0.5)
    before = _chain(theta, step=step)[0]
    after = _chain({**theta, "functional": turned}, step=step)[0]
    for own, other in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        np.testing.assert_allclose(np.linalg.norm(own), np.linalg.norm(other), rtol=1e-3)
        assert np.abs(own - other).max() > 1e-4 * np.abs(own).max()


def test_a_line_scales_its_entries_alone():
    """What rows and columns get is a product over axes, so a matrix of it has rank 1."""
    step = _step(CHAIN_STEP.matrices, ("adam",), lines=True)
    theta = _initial(step)
    lines = {
        **theta["controller"]["lines"],
        "out": jnp.ones_like(theta["controller"]["lines"]["out"]),
    }
    controlled = {**theta, "controller": {**theta["controller"], "lines": lines}}
    before, after = (_chain(own, step=step)[0][0] for own in (theta, controlled))
    ratio = np.asarray(after["first"]["w"] / before["first"]["w"])
    np.testing.assert_allclose(np.linalg.svd(ratio)[1][1:], 0, atol=1e-4)
    assert np.std(ratio, axis=0).min() > 1e-3 and np.std(ratio, axis=1).min() > 1e-3


def test_units_are_pooled_over_the_tensors_that_share_them():
    """A unit's incoming column, bias and outgoing row see each other, and no other unit's."""
    lines = lines_of(CHAIN_STEP.matrices)
    slope = jax.jacobian(lines.pooled)(jnp.ones((sum(lines.lengths), 1)))[:, 0, :, 0]
    spaces = np.repeat(lines.axes, lines.lengths)
    index = np.concatenate([np.arange(length) for length in lines.lengths])
    same = (spaces[:, None] == spaces) & (index[:, None] == index)
    np.testing.assert_allclose(slope, same / same.sum(1, keepdims=True), rtol=1e-6)


def test_without_horizon_features_the_horizon_does_not_matter():
    step = _step(CHAIN_STEP.matrices, ("adam", "normalized"), horizon=False)
    theta = _random(_initial(step))
    _close(*(_chain(theta, num_steps=n, step=step)[0] for n in (3, 3000)), rtol=0)
    with_horizon = _step(CHAIN_STEP.matrices, ("adam", "normalized"))
    assert jax.tree.map(jnp.shape, _initial(with_horizon)) == jax.tree.map(jnp.shape, theta)


@pytest.mark.parametrize("name", DIRECTIONS)
def test_a_direction_alone_is_what_the_mix_of_it_follows(name):
    alone = MixedStep(CHAIN_STEP.matrices, (name,))
    other = "momentum" if name == "adam" else name
    pair = MixedStep(CHAIN_STEP.matrices, ("adam", other))
    scalars = dict(_initial(pair)["scalars"])
    scalars[f"mix_{other}"] = jnp.float32(-1e4 if name == "adam" else 1e4)
    expected = _chain({"scalars": scalars}, step=pair)[0]
    own = {key: x for key, x in scalars.items() if not key.endswith(other)}
    _close(_chain({"scalars": own}, step=alone)[0], expected, rtol=1e-5, atol=1e-7)


def test_the_scale_of_the_loss_does_not_matter():
    theta = _random(_initial(CHAIN_STEP), 0.1)
    expected = _chain(theta, (1.0, 0.5))[0]
    scaled = _chain(theta, (1000.0, 500.0), scale=1000.0)[0]
    _close(scaled, expected, rtol=1e-3, atol=1e-6)


def test_one_theta_is_for_every_network():
    theta = _random(_initial(CHAIN_STEP))
    params = RECURRENT.random(0, "f4")
    for matrices in (matrices_of(RECURRENT.spec), matrices_by_shape(params)):
        step = _step(matrices)
        updates, _ = _compiled(step)(theta, params, [RECURRENT.random(1, "f4")], [1.0], 10)
        assert all(np.isfinite(u).all() for u in jax.tree.leaves(updates))


@pytest.mark.parametrize("grads", ["zero", "huge"])
def test_extreme_gradients_and_losses_stay_finite(grads):
    theta = _random(_initial(FULL_STEP))
    scale = 0.0 if grads == "zero" else 1e15
    moved, state = _chain(theta, (0.0, 0.0), scale=scale, step=FULL_STEP)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((moved, state)))


def test_the_horizon_may_be_traced_and_anneals():
    theta = _initial(CHAIN_STEP)

    def last(num_steps):
        return _chain(theta, num_steps=num_steps)[0][-1]["first"]["b"]

    short, long = jax.vmap(last)(jnp.array([2.0, 200.0]))
    assert np.all(np.abs(short) < np.abs(long))


def test_it_is_differentiable_in_theta_and_gradients():
    theta = _random(_initial(FULL_STEP))

    def total(theta, scale):
        moved = _chain(theta, scale=scale, step=FULL_STEP)[0]
        return sum(jnp.sum(jnp.square(u)) for u in jax.tree.leaves(moved))

    slopes = jax.jit(jax.grad(total, (0, 1)))
    for scale in (1.0, 0.0):
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(slopes(theta, scale)))


@pytest.mark.parametrize("clip", [None, 0.5])
def test_means_of_the_averages_are_known_without_reading_them(clip):
    step = MixedStep(CHAIN_STEP.matrices, ("adam",), gradient_clip=clip)
    state = _chain(_initial(step), step=step)[1]
    first, second = (step.matrices.flatten(tree)[0] for tree in (state.first, state.second))
    squares = [np.mean(np.square(x)) for x in first]
    np.testing.assert_allclose(state.averages.first, squares, rtol=1e-5)
    np.testing.assert_allclose(state.averages.second, [np.mean(x) for x in second], rtol=1e-5)


def test_the_state_keeps_its_types():
    params = CHAIN.random(0, "bfloat16")
    theta = _initial(FULL_STEP)
    before = jax.eval_shape(FULL_STEP.init, params, 10.0)
    updates, after = jax.eval_shape(FULL_STEP.update, theta, params, before, params, 1.0)
    assert after == before
    assert {u.dtype for u in jax.tree.leaves(updates)} == {np.dtype("float32")}


def test_the_state_can_be_donated():
    params = CHAIN.random(0, "f4")
    theta = _initial(CHAIN_STEP)
    update = jax.jit(CHAIN_STEP.update, donate_argnums=2)
    _, state = update(theta, params, CHAIN_STEP.init(params, 10), params, 1.0)
    assert state.iteration == 1


def test_no_feature_is_large():
    step = CHAIN_STEP
    count = len(step.matrices.paths)
    sizes = jnp.asarray([1e-20, 1e20, 1.0, 1e-3, 0.0][:count])
    found = Statistics(sizes, sizes[::-1], 1e-20 * sizes, sizes**0.5, sizes)
    running = control.update_running(
        control.start_running(count), found, jnp.array(1e9), jnp.array(0)
    )
    features = control.describe(
        step.matrices, found, running, jnp.array(1e-9), (jnp.array(2.0), jnp.array(9.0))
    )
    assert features.shape == (count, FEATURES)
    assert np.abs(features).max() <= 3.0


def test_what_is_larger_than_what_a_theta_is_trained_on_looks_like_the_largest():
    def features(rows, columns):
        matrices = matrices_by_shape({"w": jax.ShapeDtypeStruct((rows, columns), jnp.float32)})
        found = Statistics(*[jnp.ones(1)] * len(Statistics._fields))
        running, one = control.start_running(1), jnp.array(1.0)
        return control.describe(matrices, found, running, one, (one, one), extents=True)

    np.testing.assert_array_equal(features(1024, 512), features(8192, 4096))
    assert np.abs(features(256, 128) - features(128, 256)).max() > 0.1
