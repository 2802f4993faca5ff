"""Equinox's own modules: their symmetries, their state, and training them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unf_lopt
from unf_lopt import infer_spec, verify_spec

IMAGES = np.random.default_rng(0).normal(size=(6, 1, 8, 8)).astype(np.float32)
ROWS = IMAGES[:, 0]
LABELS = np.arange(6) % 3


class Gated(eqx.Module):
    """A recurrent network that reads rows, and a linear layer on its last state."""

    cell: eqx.Module
    last: eqx.nn.Linear

    def __init__(self, cell, key):
        keys = jax.random.split(key)
        self.cell = cell(8, 12, key=keys[0])
        self.last = eqx.nn.Linear(12, 3, key=keys[1])

    def __call__(self, rows):
        start = jnp.zeros(12)
        carry = (start, start) if isinstance(self.cell, eqx.nn.LSTMCell) else start
        carry, _ = jax.lax.scan(lambda carry, row: (self.cell(row, carry), None), carry, rows)
        return self.last(carry[0] if isinstance(carry, tuple) else carry)


class Attending(eqx.Module):
    """Attention over rows, normalized, and a dense network on their mean."""

    attention: eqx.nn.MultiheadAttention
    norm: eqx.nn.LayerNorm
    dense: eqx.nn.MLP

    def __init__(self, key):
        keys = jax.random.split(key)
        self.attention = eqx.nn.MultiheadAttention(2, 8, key=keys[0])
        self.norm = eqx.nn.LayerNorm(8)
        self.dense = eqx.nn.MLP(8, 3, 10, 2, activation=jax.nn.gelu, key=keys[1])

    def __call__(self, rows):
        rows = rows + self.attention(rows, rows, rows)
        return self.dense(jnp.mean(jax.vmap(self.norm)(rows), axis=0))


def convolutional(key):
    keys = jax.random.split(key, 3)
    return eqx.nn.Sequential(
        [
            eqx.nn.Conv2d(1, 4, 3, key=keys[0]),
            eqx.nn.GroupNorm(1, 4),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.MaxPool2d(2, 2),
            eqx.nn.Conv2d(4, 6, 3, key=keys[1]),
            eqx.nn.Lambda(jnp.ravel),
            eqx.nn.Linear(6, 3, key=keys[2]),
        ]
    )


# By name: the module, what it reads, and the sizes of the groups that it has.
MODULES = {
    "dense": (lambda key: eqx.nn.MLP(8, 3, 16, 2, key=key), ROWS[:, 0], [16, 16]),
    "convolutional": (convolutional, IMAGES, [4, 6]),
    "GRU": (lambda key: Gated(eqx.nn.GRUCell, key), ROWS, [12]),
    "LSTM": (lambda key: Gated(eqx.nn.LSTMCell, key), ROWS, [12]),
    # Heads, what queries and keys share in each, what values do, and two dense layers. The
    # rows come in as they are and are added to: none of their entries are exchangeable.
    "attention": (Attending, ROWS, [2, 4, 4, 10, 10]),
}


def cross_entropy(logits):
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, LABELS))


def loss_of(static):
    def loss(params, inputs):
        return cross_entropy(jax.vmap(eqx.combine(params, static))(inputs))

    return loss


@pytest.mark.parametrize("name", MODULES)
def test_the_groups_of_a_module(name):
    make, inputs, sizes = MODULES[name]
    params, static = eqx.partition(make(jax.random.key(0)), eqx.is_inexact_array)
    spec = infer_spec(loss_of(static), params, inputs)
    assert sorted(spec.groups.values()) == sizes
    assert verify_spec(spec, loss_of(static), params, inputs).maximal != "not maximal"


def test_a_module_is_trained_by_a_shipped_optimizer():
    model = eqx.nn.MLP(8, 3, 16, 2, key=jax.random.key(0))
    params, static = eqx.partition(model, eqx.is_inexact_array)
    loss = loss_of(static)
    optimizer = unf_lopt.to_optax("universal_controller", loss, params, ROWS[:, 0], num_steps=20)

    @eqx.filter_jit
    def step(params, state):
        value, grad = eqx.filter_value_and_grad(loss)(params, ROWS[:, 0])
        updates, state = optimizer.update(grad, state, params, value=value)
        return eqx.apply_updates(params, updates), state, value

    state, losses = optimizer.init(params), []
    for _ in range(20):
        params, state, value = step(params, state)
        losses.append(float(value))
    assert losses[-1] < 0.1 * losses[0]


def test_the_state_of_a_module_is_model_state():
    """Batch normalization: running averages follow the units that they are of."""

    class Normalized(eqx.Module):
        first: eqx.nn.Linear
        norm: eqx.nn.BatchNorm
        last: eqx.nn.Linear

        def __init__(self, key):
            keys = jax.random.split(key)
            self.first = eqx.nn.Linear(8, 16, key=keys[0])
            self.norm = eqx.nn.BatchNorm(16, axis_name="batch", mode="batch")
            self.last = eqx.nn.Linear(16, 3, key=keys[1])

        def __call__(self, x, state):
            hidden, state = self.norm(self.first(x), state)
            return self.last(jax.nn.relu(hidden)), state

    model, state = eqx.nn.make_with_state(Normalized)(jax.random.key(0))
    params, static = eqx.partition(model, eqx.is_inexact_array)

    def loss(params, state, inputs):
        applied = jax.vmap(
            eqx.combine(params, static), axis_name="batch", in_axes=(0, None), out_axes=(0, None)
        )
        outputs, state = applied(inputs, state)
        return cross_entropy(outputs), state

    spec = infer_spec(loss, params, state, ROWS[:, 0], state_argnum=0)
    assert sorted(spec.groups.values()) == [16]
    optimizer = unf_lopt.to_optax(
        "universal", loss, params, state, ROWS[:, 0], num_steps=5, state_argnum=0
    )
    updates, _ = optimizer.update(
        jax.grad(lambda p: loss(p, state, ROWS[:, 0])[0])(params), optimizer.init(params), params
    )
    moved = optax.apply_updates(params, updates)
    assert not np.array_equal(moved.first.weight, params.first.weight)
