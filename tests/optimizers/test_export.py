"""Optimizers as optax transformations: the ecosystem's trajectory, in anyone's loop."""

import functools

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint
import pytest
from flax import nnx

from tests.optimizers.problems import CHAIN, FUNCTIONAL, NOISE, RECURRENT, small_options
from unf_lopt import SymmetryError, ecosystem, optimizers, to_optax
from unf_lopt.symmetry import PermutationSpec

THETA_KEY = jax.random.key(3)


def theta_of(lopt):
    """Initial theta, but with a functional that has a say."""
    theta = jax.jit(lopt.init)(THETA_KEY)
    return {
        part: jax.tree.map(
            lambda x, size=NOISE[part]: x + size * jnp.cos(jnp.arange(x.size)).reshape(x.shape), x
        )
        for part, x in theta.items()
    }


def trained(transformation, problem, steps=4, dtype=None):
    params = problem.random(0, dtype)
    state = jax.jit(transformation.init)(params)
    step = jax.jit(functools.partial(one_step, transformation, problem), donate_argnums=(0, 1))
    for _ in range(steps):
        params, state = step(params, state)
    return params, state


def one_step(transformation, problem, params, state):
    value, gradient = jax.value_and_grad(problem.loss)(params)
    updates, state = transformation.update(gradient, state, params, value=value)
    return optax.apply_updates(params, updates), state


@pytest.mark.parametrize("name", FUNCTIONAL)
@pytest.mark.parametrize("nominal", ["momentum", "adam"])
def test_the_trajectory_is_the_ecosystems(name, nominal):
    lopt = optimizers.OPTIMIZERS[name](nominal=nominal, weight_decay=0.1, **small_options(name))
    bound = lopt.bind(CHAIN.spec)
    theta = theta_of(bound)
    transformation = to_optax(theta, CHAIN.loss, CHAIN.random(0), optimizer=lopt)
    params, _ = trained(transformation, CHAIN)
    inner = ecosystem.learned_optimizer(bound).opt_fn(theta)
    state, update = jax.jit(inner.init)(CHAIN.random(0)), jax.jit(inner.update)
    for _ in range(4):
        state = update(state, CHAIN.grad(state.params))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=2e-5), params, state.params)


def test_in_a_chain_with_frozen_and_half_precision_parameters():
    lopt = optimizers.unf(frozen=("last/b",), **small_options("unf"))
    theta = theta_of(lopt.bind(CHAIN.spec))
    own = to_optax(theta, CHAIN.loss, CHAIN.random(0), optimizer=lopt)
    chain = optax.chain(optax.clip_by_global_norm(1.0), own, optax.scale(0.5))
    before = CHAIN.random(0, jnp.bfloat16)
    params, _ = trained(chain, CHAIN, dtype=jnp.bfloat16)
    assert params["last"]["b"].dtype == jnp.bfloat16
    assert np.array_equal(params["last"]["b"], before["last"]["b"])
    assert not np.array_equal(params["last"]["w"], before["last"]["w"])


def test_the_state_of_a_flax_model_goes_through_orbax(tmp_path):
    inputs, targets = jnp.ones((5, 3)), jnp.arange(5.0)

    class Model(nnx.Module):
        def __init__(self, rngs):
            self.first, self.last = nnx.Linear(3, 4, rngs=rngs), nnx.Linear(4, 1, rngs=rngs)

        def __call__(self, x):
            return self.last(jnp.tanh(self.first(x)))[:, 0]

    def loss(params):
        return jnp.mean((nnx.merge(graph, params)(inputs) - targets) ** 2)

    graph, params = nnx.split(Model(nnx.Rngs(0)), nnx.Param)
    lopt = optimizers.unf_universal(initial_alpha=0.03, **small_options("unf_universal"))
    transformation = to_optax(lopt.init(THETA_KEY), loss, params, optimizer=lopt)

    @jax.jit
    def step(params, state):
        updates, state = transformation.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    before, state = loss(params), transformation.init(params)
    for _ in range(20):
        params, state = step(params, state)
    assert loss(params) < before
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "state", jax.eval_shape(lambda: state))
    continued, again = step(params, state)[0], step(params, restored)[0]
    jax.tree.map(np.testing.assert_array_equal, continued, again)


def write_theta(folder, name, **options):
    """What outer training leaves behind, without the training."""
    lopt = optimizers.OPTIMIZERS[name](**small_options(name), **options).bind(CHAIN.spec)
    theta = theta_of(lopt)
    folder.mkdir()
    checkpoint = ecosystem.ParameterCheckpoint(
        params=theta, gen_id=optimizers.theta_identity(lopt, {}), step=7
    )
    (folder / "params_7").write_bytes(flax.serialization.to_bytes(checkpoint))
    (folder / "theta_7.safetensors").write_bytes(optimizers.theta_data(theta, lopt, 7, {}))
    return lopt, theta


@pytest.mark.parametrize("name", FUNCTIONAL)
def test_a_theta_says_which_optimizer_it_belongs_to(name, tmp_path):
    options = {"nominal": "adam", "frozen": lambda path: path == "first/b"}
    lopt, theta = write_theta(tmp_path / "run", name, **options)
    expected, _ = trained(to_optax(theta, CHAIN.loss, CHAIN.random(0), optimizer=lopt), CHAIN)
    assert np.array_equal(expected["first"]["b"], CHAIN.random(0)["first"]["b"])
    for file in ("", "params_7", "theta_7.safetensors"):
        params, _ = trained(to_optax(tmp_path / "run" / file, CHAIN.loss, CHAIN.random(0)), CHAIN)
        jax.tree.map(np.testing.assert_array_equal, params, expected)


def test_a_theta_from_before_extents_were_seen_steps_as_it_did(tmp_path):
    lopt = optimizers.unf_controller(width=2, hypergradient=True)
    file, theta = tmp_path / "theta_1.safetensors", theta_of(lopt)
    file.write_bytes(optimizers.theta_data(theta, lopt, 1, {}))
    seeing = optimizers.unf_controller(width=2, hypergradient=True, extents=True)
    grown = optimizers.read_theta(file).for_optimizer(seeing)
    assert jax.tree.map(jnp.shape, grown) == _shapes(seeing)
    (before, _), (after, _) = (
        trained(to_optax(own, CHAIN.loss, CHAIN.random(0), optimizer=of, num_steps=4), CHAIN)
        for own, of in ((theta, lopt), (grown, seeing))
    )
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), after, before)


@pytest.mark.parametrize("make", [optimizers.mixed_step, optimizers.unf_controller])
def test_a_theta_without_weight_decay_begins_with_the_one_set_by_hand(tmp_path, make):
    lopt, decaying = make(), make(learned_weight_decay=True, extents=True)
    file = tmp_path / "theta_1.safetensors"
    file.write_bytes(optimizers.theta_data(theta_of(lopt), lopt, 1, {}))
    grown = optimizers.read_theta(file).for_optimizer(decaying)
    assert jax.tree.map(jnp.shape, grown) == _shapes(decaying)
    by_hand = decaying.init(THETA_KEY)["scalars"]
    assert grown["scalars"]["log_weight_decay"] == by_hand["log_weight_decay"]
    with pytest.raises(ValueError, match="was not written by this"):
        optimizers.read_theta(file).for_optimizer(make(hypergradient=True, extents=True))


def _shapes(lopt):
    return jax.tree.map(lambda x: x.shape, jax.eval_shape(lopt.init, THETA_KEY))


def test_another_weight_space_is_refused(tmp_path):
    _, theta = write_theta(tmp_path / "run", "unf")
    with pytest.raises(ValueError, match="written for another weight space"):
        to_optax(tmp_path / "run", RECURRENT.loss, RECURRENT.random(0))
    with pytest.raises(ValueError, match="theta is not of unf on this weight space"):
        to_optax(theta, RECURRENT.loss, RECURRENT.random(0))


def test_what_is_missing_is_named(tmp_path):
    (tmp_path / "params_3").write_bytes(b"")
    with pytest.raises(ValueError, match="params_3 is not a params_N"):
        to_optax(tmp_path, CHAIN.loss, CHAIN.random(0))
    lopt = optimizers.learned_sgdm()
    checkpoint = ecosystem.ParameterCheckpoint(lopt.init(THETA_KEY), gen_id="", step=3)
    (tmp_path / "params_3").write_bytes(flax.serialization.to_bytes(checkpoint))
    with pytest.raises(ValueError, match="pass it, such as optimizer=unf"):
        to_optax(tmp_path, CHAIN.loss, CHAIN.random(0))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        to_optax(tmp_path / "nowhere", CHAIN.loss, CHAIN.random(0))
    transformation = to_optax(lopt.init(THETA_KEY), CHAIN.loss, CHAIN.random(0), optimizer=lopt)
    params = CHAIN.random(0)
    with pytest.raises(ValueError, match=r"update\(gradient, state, params\)"):
        transformation.update(params, transformation.init(params))


def test_the_spec_is_verified_on_request():
    axes = {"first": {"w": ("x", "h"), "b": ("h",)}, "last": {"w": ("h", "y"), "b": ("y",)}}
    wrong = PermutationSpec.from_names(axes, CHAIN.random(0), fixed={"y"})
    lopt = optimizers.unf()
    with pytest.raises(SymmetryError, match="x"):
        to_optax({}, CHAIN.loss, CHAIN.random(0), optimizer=lopt, spec=wrong, verify=True)
