"""Optimizers as optax transformations: the ecosystem's trajectory, in anyone's loop."""

import functools

import flax
import gin
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint
import pytest
from flax import nnx

from tests.optimizers.problems import CHAIN, NOISE, RECURRENT
from unf_lopt import SymmetryError, optimizers, to_optax
from unf_lopt.symmetry import PermutationSpec

THETA_KEY = jax.random.key(3)


def theta_of(lopt):
    """Initial theta, but with a functional that has a say."""
    theta = lopt.init(THETA_KEY)
    return {
        part: jax.tree.map(
            lambda x, size=NOISE[part]: x + size * jnp.cos(jnp.arange(x.size)).reshape(x.shape), x
        )
        for part, x in theta.items()
    }


def trained(transformation, problem, steps=4, dtype=None):
    params = problem.random(0, dtype)
    state = transformation.init(params)
    step = jax.jit(functools.partial(one_step, transformation, problem), donate_argnums=(0, 1))
    for _ in range(steps):
        params, state = step(params, state)
    return params, state


def one_step(transformation, problem, params, state):
    value, gradient = jax.value_and_grad(problem.loss)(params)
    updates, state = transformation.update(gradient, state, params, value=value)
    return optax.apply_updates(params, updates), state


@pytest.mark.parametrize("name", sorted(optimizers.family.OPTIMIZERS))
@pytest.mark.parametrize("nominal", ["momentum", "adam"])
def test_the_trajectory_is_the_ecosystems(name, nominal):
    lopt = optimizers.family.OPTIMIZERS[name](nominal=nominal, weight_decay=0.1)
    bound = lopt.bind(CHAIN.spec)
    theta = theta_of(bound)
    transformation = to_optax(theta, CHAIN.loss, CHAIN.random(0), optimizer=lopt)
    params, _ = trained(transformation, CHAIN)
    inner = bound.opt_fn(theta)
    state = inner.init(CHAIN.random(0))
    for _ in range(4):
        state = inner.update(state, jax.grad(CHAIN.loss)(state.params))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=2e-5), params, state.params)


def test_in_a_chain_with_frozen_and_half_precision_parameters():
    lopt = optimizers.unf(frozen=("last/b",))
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
    lopt = optimizers.unf_universal(initial_alpha=0.03)
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


def write_run(folder, name):
    """What outer training leaves behind, without the training."""
    gin.parse_config_files_and_bindings(["digits_mlp.gin", "small.gin"], [f"LOPT = @{name}()"])
    lopt = optimizers.family.OPTIMIZERS[name]().bind(CHAIN.spec)
    theta = theta_of(lopt)
    folder.mkdir()
    (folder / optimizers.CONFIG).write_text(gin.config_str())
    checkpoint = optimizers.parameter_checkpoint(theta, 7, lopt)
    (folder / "params_7").write_bytes(flax.serialization.to_bytes(checkpoint))
    gin.clear_config()
    return theta


@pytest.mark.parametrize("name", ["unf", "deep_sets"])
def test_a_run_says_which_optimizer_it_trained(name, tmp_path):
    import unf_lopt.register  # noqa: F401

    theta = write_run(tmp_path / "run", name)
    gin.parse_config("unf.hidden_channels = 8")  # the user's own, which is put aside
    lopt = optimizers.optimizer_of_run(tmp_path / "run")
    assert lopt.name == name
    assert gin.query_parameter("unf.hidden_channels") == 8
    gin.clear_config()
    expected, _ = trained(to_optax(theta, CHAIN.loss, CHAIN.random(0), optimizer=lopt), CHAIN)
    for path in (tmp_path / "run", tmp_path / "run" / "params_7"):
        params, _ = trained(to_optax(path, CHAIN.loss, CHAIN.random(0)), CHAIN)
        jax.tree.map(np.testing.assert_array_equal, params, expected)


def test_another_weight_space_is_refused(tmp_path):
    import unf_lopt.register  # noqa: F401

    theta = write_run(tmp_path / "run", "unf")
    with pytest.raises(ValueError, match="written for another weight space"):
        to_optax(tmp_path / "run", RECURRENT.loss, RECURRENT.random(0))
    with pytest.raises(ValueError, match="theta is not of unf on this weight space"):
        to_optax(theta, RECURRENT.loss, RECURRENT.random(0))


def test_what_is_missing_is_named(tmp_path):
    (tmp_path / "params_3").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="pass it, such as optimizer=unf"):
        to_optax(tmp_path, CHAIN.loss, CHAIN.random(0))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        to_optax(tmp_path / "nowhere", CHAIN.loss, CHAIN.random(0))
    lopt = optimizers.learned_sgdm()
    transformation = to_optax(lopt.init(THETA_KEY), CHAIN.loss, CHAIN.random(0), optimizer=lopt)
    params = CHAIN.random(0)
    with pytest.raises(ValueError, match=r"update\(gradient, state, params\)"):
        transformation.update(params, transformation.init(params))


def test_the_spec_is_verified_where_the_optimizer_asks_for_it():
    axes = {"first": {"w": ("x", "h"), "b": ("h",)}, "last": {"w": ("h", "y"), "b": ("y",)}}
    wrong = PermutationSpec.from_names(axes, CHAIN.random(0), fixed={"y"})
    lopt = optimizers.unf(verify=True)
    with pytest.raises(SymmetryError, match="x"):
        to_optax(lopt.bind, CHAIN.loss, CHAIN.random(0), optimizer=lopt, spec=wrong)
