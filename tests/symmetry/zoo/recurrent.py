"""Recurrent networks."""

from __future__ import annotations

import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from tests.symmetry.zoo.case import case, problem
from tests.symmetry.zoo.data import cross_entropy, dense, labels, normal, shapes_of

READOUT = """
        readout/w  {0}, [classes]
        readout/b  [classes]
"""


def _sequences(n):
    """Time first."""
    return normal(n.time, n.batch, n.features), labels(n.time, n.batch, classes=n.classes)


def _scanned(step, start, inputs):
    return jax.lax.scan(lambda h, x: (step(h, x),) * 2, start, inputs)[1]


@case(trap=True, time=4, batch=3, features=6, hidden=5, classes=2)
def vanilla(n):
    """With a learned first state."""

    def loss(params, x, y):
        start = jnp.tile(params["start"], (n.batch, 1))
        cell = params["cell"]
        h = _scanned(lambda h, x: jnp.tanh(x @ cell["in"] + h @ cell["own"] + cell["b"]), start, x)
        return cross_entropy(dense(params["readout"], h), y)

    table = """
        start     1, hidden
        cell/in   [features], hidden
        cell/own  hidden, hidden
        cell/b    hidden
    """
    return problem(n, loss, table + READOUT.format("hidden"), _sequences(n))


@case(trap=True, time=4, batch=3, vocabulary=7, hidden=5, code=6)
def irnn_language_model(n):
    """Words are embedded, and predicted by a dense layer of its own."""

    def loss(params, words):
        x = params["embedding"][words[:-1]]
        h = _scanned(
            lambda h, x: jax.nn.relu(x @ params["in"] + h @ params["own"] + params["bias"]),
            jnp.zeros((n.batch, n.hidden)),
            x,
        )
        return cross_entropy(dense(params["readout"], h), words[1:])

    table = """
        embedding  [vocabulary], code
        in         code, hidden
        own        hidden, hidden
        bias       hidden
        readout/w  hidden, [classes]
        readout/b  [classes]
    """
    n.classes = n.vocabulary
    words = labels(n.time + 1, n.batch, classes=n.vocabulary)
    return problem(n, loss, table, (words,), check_fixed_ties=False)


def _haiku(n, make_core, table, readout, **options):
    def forward(x):
        core = make_core()
        h, _ = hk.dynamic_unroll(core, x, core.initial_state(n.batch))
        return hk.Linear(n.classes, name="readout")(h)

    net = hk.without_apply_rng(hk.transform(forward))
    x, y = _sequences(n)
    params = shapes_of(net.init, jax.random.key(0), x)
    return problem(
        n,
        lambda params, x, y: cross_entropy(net.apply(params, x), y),
        table + READOUT.format(readout),
        (x, y),
        params=params,
        **options,
    )


@case(time=4, batch=3, features=6, hidden=5, classes=2)
def vanilla_haiku(n):
    table = """
        vanilla_rnn/linear/w   [features], hidden
        vanilla_rnn/linear/b   hidden
        vanilla_rnn/linear_1/w  hidden, hidden
        vanilla_rnn/linear_1/b  hidden
    """
    return _haiku(n, lambda: hk.VanillaRNN(n.hidden, double_bias=True), table, "hidden")


@case(trap=True, time=4, batch=3, features=6, hidden=5, classes=2)
def gru(n):
    table = """
        gru/w_i  [features], [gate]*hidden
        gru/w_h  hidden, [gate]*hidden
        gru/b    [gate]*hidden
    """
    return _haiku(n, lambda: hk.GRU(n.hidden), table, "hidden")


@case(trap=True, time=4, batch=3, features=6, hidden=5, classes=2)
def lstm(n):
    """Rows are what the cell reads, input and own state; columns are gates times units."""
    table = """
        lstm/linear/w  [features] + hidden, [gate]*hidden
        lstm/linear/b  [gate]*hidden
    """
    return _haiku(n, lambda: hk.LSTM(n.hidden), table, "hidden")


@case(trap=True, time=3, batch=3, features=6, hidden=5, width=4, classes=2)
def stacked_lstm(n):
    table = """
        lstm/linear/w    [features] + hidden, [gate]*hidden
        lstm/linear/b    [gate]*hidden
        lstm_1/linear/w  hidden + width, [gate]*width
        lstm_1/linear/b  [gate]*width
    """
    cores = [lambda: hk.LSTM(n.hidden), lambda: hk.LSTM(n.width)]
    return _haiku(n, lambda: hk.DeepRNN([make() for make in cores]), table, "width")


@case(trap=True, time=3, batch=3, features=6, hidden=5, width=4, classes=2)
def stacked_with_skips(n):
    """Every layer also reads the input, and the readout every layer."""
    table = """
        lstm/linear/w  [features] + hidden, [lstm_gate]*hidden
        lstm/linear/b  [lstm_gate]*hidden
        gru/w_i        [features] + hidden, [gru_gate]*width
        gru/w_h        width, [gru_gate]*width
        gru/b          [gru_gate]*width
    """

    def core():
        return hk.deep_rnn_with_skip_connections([hk.LSTM(n.hidden), hk.GRU(n.width)])

    return _haiku(n, core, table, "hidden + width")


@case(trap=True, time=3, batch=3, features=6, hidden=5, classes=2)
def lstm_flax(n):
    """Flax keeps one kernel for each gate."""

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            h = nn.RNN(nn.OptimizedLSTMCell(n.hidden), time_major=True)(x)
            return nn.Dense(n.classes)(h)

    cell = "OptimizedLSTMCell_0"
    lines = [f"{cell}/i{gate}/kernel  [features], hidden" for gate in "ifgo"]
    for gate in "ifgo":
        lines += [
            f"OptimizedLSTMCell_0/h{gate}/kernel  hidden, hidden",
            f"OptimizedLSTMCell_0/h{gate}/bias  hidden",
        ]
    return _flax(n, Model(), lines)


@case(time=3, batch=3, features=6, hidden=5, classes=2)
def gru_flax(n):
    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            h = nn.RNN(nn.GRUCell(n.hidden), time_major=True)(x)
            return nn.Dense(n.classes)(h)

    lines = ["GRUCell_0/hn/bias  hidden"]
    for gate in "rzn":
        lines += [
            f"GRUCell_0/i{gate}/kernel  [features], hidden",
            f"GRUCell_0/i{gate}/bias    hidden",
            f"GRUCell_0/h{gate}/kernel  hidden, hidden",
        ]
    return _flax(n, Model(), lines)


def _flax(n, model, lines):
    x, y = _sequences(n)
    params = shapes_of(model.init, jax.random.key(0), x)["params"]
    lines += ["Dense_0/kernel  hidden, [classes]", "Dense_0/bias  [classes]"]
    return problem(
        n,
        lambda params, x, y: cross_entropy(model.apply({"params": params}, x), y),
        "\n".join(lines),
        (x, y),
        params=params,
    )


@case(trap=True, time=4, batch=3, features=6, hidden=5, width=4, classes=2)
def bidirectional(n):
    def loss(params, x, y):
        def run(cell, inputs):
            start = jnp.zeros((n.batch, cell["own"].shape[0]))
            return _scanned(lambda h, x: jnp.tanh(x @ cell["in"] + h @ cell["own"]), start, inputs)

        backward = run(params["backward"], x[::-1])[::-1]
        h = jnp.concatenate([run(params["forward"], x), backward], axis=-1)
        return cross_entropy(dense(params["readout"], h), y)

    table = """
        forward/in    [features], hidden
        forward/own   hidden, hidden
        backward/in   [features], width
        backward/own  width, width
    """
    return problem(n, loss, table + READOUT.format("hidden + width"), _sequences(n))


@case(trap=True, time=5, batch=3, features=6, hidden=4, stream=5, classes=2)
def linear_state_space(n):
    """A diagonal recurrence, run by an associative scan."""

    def combined(left, right):
        return left[0] * right[0], right[0] * left[1] + right[1]

    def loss(params, x, y):
        u = x @ params["in"]
        decay = jnp.broadcast_to(jax.nn.sigmoid(params["decay"]), (n.time, n.batch, n.hidden))
        _, h = jax.lax.associative_scan(combined, (decay, u @ params["read"]))
        u = u + jax.nn.gelu(h @ params["write"])
        return cross_entropy(dense(params["readout"], u), y)

    table = """
        in     [features], stream
        decay  hidden
        read   stream, hidden
        write  hidden, stream
    """
    return problem(n, loss, table + READOUT.format("stream"), _sequences(n))


@case(trap=True, time=4, batch=3, features=6, keys=5, values=4, classes=2)
def fast_weights(n):
    """The state is a matrix: keys times values."""

    def loss(params, x, y):
        keys, queries = (jax.nn.softmax(x @ params[name]) for name in ("key", "query"))
        values = x @ params["value"]

        def step(memory, now):
            key, query, value = now
            error = value - jnp.einsum("bk,bkv->bv", key, memory)
            memory = memory + jnp.einsum("bk,bv->bkv", key, jnp.tanh(error))
            return memory, jnp.einsum("bk,bkv->bv", query, memory)

        start = jnp.broadcast_to(params["start"], (n.batch, n.keys, n.values))
        _, h = jax.lax.scan(step, start, (keys, queries, values))
        return cross_entropy(dense(params["readout"], h), y)

    table = """
        key    [features], keys
        query  [features], keys
        value  [features], values
        start  keys, values
    """
    return problem(n, loss, table + READOUT.format("values"), _sequences(n))


@case(trap=True, batch=5, pixels=6, hidden=4, classes=3)
def fixed_point(n):
    """An equilibrium layer: the same step until it has (nearly) converged."""

    def loss(params, x, y):
        drive = x @ params["in"] + params["bias"]

        def step(_, z):
            return jnp.tanh(0.3 * z @ params["own"] + drive)

        z = jax.lax.fori_loop(0, 20, step, jnp.zeros((n.batch, n.hidden)))
        return cross_entropy(z @ params["out"], y)

    table = """
        in    [pixels], hidden
        own   hidden, hidden
        bias  hidden
        out   hidden, [classes]
    """
    return problem(n, loss, table, (normal(n.batch, n.pixels), labels(n.batch, classes=n.classes)))


@case(trap=True, batch=5, pixels=6, hidden=4, classes=3)
def while_not_converged(n):
    """The loop's end depends on a norm over the units."""

    def loss(params, x, y):
        drive = x @ params["in"]

        def goes_on(state):
            _, change, steps = state
            return (jnp.linalg.norm(change) > 1e-3) & (steps < 30)

        def step(state):
            z, _, steps = state
            new = jnp.tanh(0.3 * z @ params["own"] + drive)
            return new, new - z, steps + 1

        start = jnp.zeros((n.batch, n.hidden))
        z, _, _ = jax.lax.while_loop(goes_on, step, (start, start + 1, 0))
        return cross_entropy(z @ params["out"], y)

    table = """
        in   [pixels], hidden
        own  hidden, hidden
        out  hidden, [classes]
    """
    return problem(n, loss, table, (normal(n.batch, n.pixels), labels(n.batch, classes=n.classes)))


@case(batch=5, pixels=6, hidden=4, width=3, classes=2)
def neural_ode(n):
    """Runge-Kutta steps over a vector field that reads the time beside the state."""

    def loss(params, x, y):
        def field(t, z):
            z = jnp.concatenate([z, jnp.full((n.batch, 1), t)], axis=1)
            return jnp.tanh(z @ params["up"]) @ params["down"]

        def step(z, t):
            a = field(t, z)
            b = field(t + 0.05, z + 0.05 * a)
            return z + 0.1 * b, None

        z, _ = jax.lax.scan(step, x @ params["in"], np.arange(4, dtype=np.float32) / 10)
        return cross_entropy(z @ params["out"], y)

    table = """
        in    [pixels], hidden
        up    hidden + 1, width
        down  width, hidden
        out   hidden, [classes]
    """
    return problem(n, loss, table, (normal(n.batch, n.pixels), labels(n.batch, classes=n.classes)))
