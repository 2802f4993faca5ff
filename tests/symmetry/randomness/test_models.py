"""Dropout and noise as libraries draw them: in distribution, they change no symmetry."""

import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

from tests.symmetry.randomness.law import infer_in_distribution
from unf_lopt import infer_spec

X = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)
KEYS = [random.key(1), random.PRNGKey(1)]
MODELS = {}


def model(function):
    MODELS[function.__name__] = function
    return function


def dropout(rate, x):
    return hk.dropout(hk.next_rng_key(), rate, x) if rate else x


@model
def haiku_layers(rate):
    def net(x):
        for width in (6, 7, 6):
            x = dropout(rate, jnp.tanh(hk.Linear(width)(x[-1] if x.ndim == 3 else x)))
        return hk.Linear(3)(x)

    return hk.transform(net)


@model
def haiku_recurrent(rate):
    def net(xs):
        core = hk.VanillaRNN(6)

        def step(state, x):
            output, state = core(x, state)
            return state, dropout(rate, output)

        state, outputs = hk.scan(step, jnp.zeros((5, 6)), xs)
        x = dropout(rate, jnp.tanh(hk.Linear(7)(dropout(rate, state) + jnp.sum(outputs, 0))))
        return hk.Linear(3)(x)

    return hk.transform(net)


@model
def haiku_layer_stack(rate):
    def layer(x):
        inner = dropout(rate, jnp.tanh(hk.Linear(7)(x)))
        return x + dropout(rate, jnp.tanh(hk.Linear(6)(inner)))

    def net(x):
        x = hk.experimental.layer_stack(3)(layer)(hk.Linear(6)(x[-1]))
        return hk.Linear(3)(dropout(rate, x))

    return hk.transform(net)


class Layers(nn.Module):
    rate: float

    @nn.compact
    def __call__(self, x):
        for width, broadcast in ((6, ()), (7, (0,)), (6, ())):
            x = jnp.tanh(nn.Dense(width)(x))
            x = nn.Dropout(self.rate, broadcast, deterministic=not self.rate)(x)
        return nn.Dense(3)(x)


class Residual(nn.Module):
    rate: float

    @nn.compact
    def __call__(self, x, _):
        y = nn.Dropout(self.rate, deterministic=not self.rate)(jnp.tanh(nn.Dense(7)(x)))
        y = nn.Dropout(self.rate, deterministic=not self.rate)(jnp.tanh(nn.Dense(6)(y)))
        return x + y, None


class Rematerialized(nn.Module):
    rate: float

    @nn.compact
    def __call__(self, x):
        scan = nn.scan(
            nn.remat(Residual),
            variable_axes={"params": 0},
            split_rngs={"params": True, "dropout": True},
            length=3,
        )
        x, _ = scan(self.rate)(nn.Dense(6)(x[-1]), None)
        return nn.Dense(3)(nn.Dropout(self.rate, deterministic=not self.rate)(x))


class Ensemble(nn.Module):
    rate: float

    @nn.compact
    def __call__(self, x):
        members = nn.vmap(
            Layers,
            variable_axes={"params": 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=None,
            axis_size=4,
        )
        return jnp.sum(members(self.rate)(x[-1]) ** 2, 0)


class OfFlax:
    """A Flax module with the interface of a Haiku one."""

    def __init__(self, module):
        self.module = module

    def init(self, key, x):
        return self.module.init({"params": key, "dropout": key}, x)

    def apply(self, params, key, x):
        return self.module.apply(params, x, rngs={"dropout": key})


@model
def flax_layers(rate):
    return OfFlax(Layers(rate))


@model
def flax_scan_of_rematerialized_layers(rate):
    return OfFlax(Rematerialized(rate))


@model
def flax_ensemble(rate):
    return OfFlax(Ensemble(rate))


def loss_of(net):
    return lambda params, key, x: jnp.sum(jnp.sin(net.apply(params, key, x)))


@pytest.mark.parametrize("name", MODELS)
def test_dropout_changes_no_symmetry_in_distribution(name):
    net, without = MODELS[name](0.4), MODELS[name](0.0)
    key = KEYS[len(name) % 2]
    params = jax.eval_shape(net.init, KEYS[0], X)
    spec = infer_in_distribution(loss_of(net), params, key, X)
    assert spec == infer_spec(loss_of(without), params, key, X)
    frozen = infer_spec(loss_of(net), params, key, X)
    assert len(frozen.groups) < len(spec.groups)


@pytest.mark.parametrize("name", ["flax_scan_of_rematerialized_layers", "haiku_recurrent"])
def test_gradients_of_dropout_change_no_symmetry_in_distribution(name):
    def loss_of_gradient(net):
        def loss(params, key, x):
            gradient = jax.grad(lambda x: loss_of(net)(params, key, x))(x)
            return jnp.sum(jnp.cos(gradient))

        return loss

    params = jax.eval_shape(MODELS[name](0.4).init, KEYS[0], X)
    spec = infer_in_distribution(loss_of_gradient(MODELS[name](0.4)), params, KEYS[0], X)
    assert spec == infer_spec(loss_of_gradient(MODELS[name](0.0)), params, KEYS[0], X)


@pytest.mark.parametrize("key", KEYS)
def test_a_variational_autoencoder_has_a_free_latent_space(key):
    def loss(params, key, x):
        mean, log_scale = jnp.split(jnp.tanh(x @ params["encoder"]) @ params["code"], 2, -1)
        noise_key, key = random.split(key)
        z = mean + jnp.exp(log_scale / 4) * random.normal(noise_key, mean.shape)
        keep = random.bernoulli(key, 0.7, (1, 7))
        output = (jnp.tanh(z @ params["decoder"]) * keep) @ params["pixels"]
        return jnp.sum((output - x) ** 2) + jnp.sum(mean**2 + jnp.exp(log_scale) - log_scale)

    shapes = {"encoder": (4, 6), "code": (6, 6), "decoder": (3, 7), "pixels": (7, 4)}
    params = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
    spec = infer_in_distribution(loss, params, key, X[0])
    assert sorted(spec.groups.values()) == [3, 6, 7]
    assert spec.axes[spec.paths.index("decoder")][0] in spec.groups
    frozen = infer_spec(loss, params, key, X[0])
    assert sorted(frozen.groups.values()) == [6]
