"""Losses that train, differentiate, stack or repeat models inside."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tests.symmetry.zoo.case import case, problem
from tests.symmetry.zoo.data import cross_entropy, dense, labels, layer_norm, normal


def _mlp_loss(params, x, y):
    h = jnp.tanh(dense(params["first"], x))
    return cross_entropy(dense(params["last"], h), y)


MLP = """
        first/w  [pixels], hidden
        first/b  hidden
        last/w   hidden, [classes]
        last/b   [classes]
"""
SIZES = dict(batch=7, pixels=6, hidden=5, classes=3)


def _batch(n, *leading, seed=0):
    x = normal(*leading, n.batch, n.pixels, seed=seed)
    return x, labels(*leading, n.batch, classes=n.classes, seed=seed)


def _sgd(params, slope, rate):
    return jax.tree.map(lambda p, g: p - rate * g, params, slope)


@case(trap={"steps": 3}, steps=3, **SIZES)
def inner_training(n):
    """The parameters are where training starts; the loss is what it reaches."""

    def loss(params, xs, ys):
        def step(params, data):
            value, slope = jax.value_and_grad(_mlp_loss)(params, *data)
            return _sgd(params, slope, 0.1), value

        params, values = jax.lax.scan(step, params, (xs, ys))
        return values.mean() + _mlp_loss(params, xs[0], ys[0])

    return problem(n, loss, MLP, _batch(n, n.steps))


@case(trap={"steps": 2}, steps=2, **SIZES)
def inner_training_with_adam(n):
    """An optimizer of optax, its state in the scan."""
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1))

    def loss(params, xs, ys):
        def step(carry, data):
            params, state = carry
            value, slope = jax.value_and_grad(_mlp_loss)(params, *data)
            updates, state = optimizer.update(slope, state, params)
            return (optax.apply_updates(params, updates), state), value

        (params, _), values = jax.lax.scan(step, (params, optimizer.init(params)), (xs, ys))
        return values.sum() + _mlp_loss(params, xs[0], ys[0])

    return problem(n, loss, MLP, _batch(n, n.steps))


@case(trap={"steps": 2}, steps=2, **SIZES)
def meta_learned_initialization(n):
    """MAML: a step of gradient descent per task, with learned rates for every parameter."""

    def loss(params, xs, ys):
        def of_task(x, y):
            slope = jax.grad(_mlp_loss)(params["net"], x, y)
            scaled = jax.tree.map(lambda g, r: g * jnp.exp(r), slope, params["rates"])
            return _mlp_loss(_sgd(params["net"], scaled, 0.1), x[::-1], y[::-1])

        return jnp.mean(jax.vmap(of_task)(xs, ys))

    nets = [
        MLP.replace("first", f"{name}/first").replace("last", f"{name}/last")
        for name in ("net", "rates")
    ]
    return problem(n, loss, "".join(nets), _batch(n, n.steps))


@case(trap={"steps": 2, "inputs": 3, "outputs": 2}, steps=2, inputs=3, width=4, outputs=2, **SIZES)
def learned_optimizer(n):
    """The task of the outer loop: a small network, entry by entry, updates another one."""

    def update(theta, value, slope, momentum):
        features = jnp.stack([value, slope, momentum], axis=-1)
        out = dense(theta["out"], jax.nn.relu(dense(theta["in"], features)))
        return value - 0.1 * out[..., 0] * jnp.exp(0.1 * out[..., 1])

    def loss(theta, inner, xs, ys):
        def step(carry, data):
            inner, momenta = carry
            value, slope = jax.value_and_grad(_mlp_loss)(inner, *data)
            momenta = jax.tree.map(lambda m, g: 0.9 * m + g, momenta, slope)
            inner = jax.tree.map(lambda *own: update(theta, *own), inner, slope, momenta)
            return (inner, momenta), value

        start = (inner, jax.tree.map(jnp.zeros_like, inner))
        return jax.lax.scan(step, start, (xs, ys))[1].mean()

    table = """
        in/w   [inputs], width
        in/b   width
        out/w  width, [outputs]
        out/b  [outputs]
    """
    inner = {
        "first": {"w": normal(n.pixels, n.hidden), "b": normal(n.hidden)},
        "last": {"w": normal(n.hidden, n.classes), "b": normal(n.classes)},
    }
    return problem(n, loss, table, (inner, *_batch(n, n.steps)))


def _stack(n, transform, one_step):
    def loss(params, x, y):
        def block(h, layer):
            return one_step(h, layer), None

        h, _ = jax.lax.scan(transform(block), x @ params["in"], params["blocks"])
        return cross_entropy(h @ params["out"], y)

    return loss


@case(trap={"layers": 3}, layers=3, stream=4, **SIZES)
def scanned_layers(n):
    """Parameters with a leading axis of layers, whose order the scan keeps; rematerialized."""

    def block(h, layer):
        inner = jax.nn.gelu(dense(layer["up"], layer_norm(layer["norm"], h)))
        return h + dense(layer["down"], inner)

    table = """
        in                  [pixels], stream
        blocks/norm/scale   [layers], stream
        blocks/norm/offset  [layers], stream
        blocks/up/w         [layers], stream, hidden
        blocks/up/b         [layers], hidden
        blocks/down/w       [layers], hidden, stream
        blocks/down/b       [layers], stream
        out                 stream, [classes]
    """
    return problem(n, _stack(n, jax.checkpoint, block), table, _batch(n))


@case(trap=True, layers=4, **SIZES)
def scanned_plain_layers(n):
    """Without a residual stream the scan's carry still ties input and output of a layer.

    Permuting between two layers of the stack, another permutation for each, is a symmetry too,
    but of single layers of an array, which no axis says.
    """

    def block(h, layer):
        return jnp.tanh(dense(layer, h))

    table = """
        in        [pixels], hidden
        blocks/w  [layers], hidden, hidden
        blocks/b  [layers], hidden
        out       hidden, [classes]
    """
    return problem(n, _stack(n, lambda block: block, block), table, _batch(n))


@case(trap=True, layers=3, **SIZES)
def unrolled_stack(n):
    """The same arrays, a layer at a time in a Python loop."""

    def loss(params, x, y):
        h = x @ params["in"]
        for layer in range(n.layers):
            h = jnp.tanh(h @ params["blocks"][layer])
        return cross_entropy(h @ params["out"], y)

    table = """
        in      [pixels], hidden
        blocks  [layers], hidden, hidden
        out     hidden, [classes]
    """
    return problem(n, loss, table, _batch(n))


@case(trap=True, members=4, **SIZES)
def ensemble(n):
    """The mean over models of one batched array: members are a group."""

    def loss(params, x, y):
        return jnp.mean(jax.vmap(_mlp_loss, (0, None, None))(params, x, y))

    table = "".join(
        line.replace(path, f"{path}  members,") + "\n"
        for line in MLP.strip().splitlines()
        for path in [line.split()[0]]
    )
    return problem(n, loss, table, _batch(n))


@case(trap=True, **SIZES)
def sharpness_aware(n):
    """The loss at the worst nearby point, found by a normalized gradient step."""

    def loss(params, x, y):
        slope = jax.grad(_mlp_loss)(params, x, y)
        norm = jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(slope)))
        return _mlp_loss(_sgd(params, slope, -0.05 / norm), x, y)

    return problem(n, loss, MLP, _batch(n))


@case(trap=True, **SIZES)
def curvature_penalty(n):
    """A product of the Hessian with a vector: a derivative of a derivative."""

    def loss(params, x, y):
        def slope(p):
            return jax.grad(_mlp_loss)(p, x, y)

        value, change = jax.jvp(slope, (params,), (params,))
        return _mlp_loss(params, x, y) + sum(
            jnp.sum(a * b) for a, b in zip(*map(jax.tree.leaves, (value, change)), strict=True)
        )

    return problem(n, loss, MLP, _batch(n))


@case(trap={"steps": 3}, steps=3, **SIZES)
def gradients_accumulated(n):
    """Micro-batches in a loop; the loss is the squared norm of the mean gradient."""

    def loss(params, xs, ys):
        slopes = jax.lax.map(lambda data: jax.grad(_mlp_loss)(params, *data), (xs, ys))
        return sum(jnp.sum(g.mean(0) ** 2) for g in jax.tree.leaves(slopes))

    return problem(n, loss, MLP, _batch(n, n.steps))


@case(trap=True, **SIZES)
def half_precision(n):
    """Parameters are cast to bfloat16 and back inside the loss."""

    def loss(params, x, y):
        small = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)
        h = jnp.tanh(dense(small["first"], x.astype(jnp.bfloat16)))
        return cross_entropy(dense(small["last"], h).astype(jnp.float32), y)

    return problem(n, loss, MLP, _batch(n))


@case(trap=True, time=5, batch=4, pixels=6, hidden=5, actions=3)
def actor_and_critic(n):
    """Returns are summed backwards in time; one body, two heads."""

    def loss(params, x, actions, rewards):
        h = jax.nn.relu(dense(params["body"], x))
        values = (h @ params["critic"])[..., 0]
        log_policy = jax.nn.log_softmax(dense(params["actor"], h))

        def step(later, now):
            later = now + 0.9 * later
            return later, later

        _, returns = jax.lax.scan(step, jnp.zeros(n.batch), rewards, reverse=True)
        gain = returns - values
        chosen = jnp.take_along_axis(log_policy, actions[..., None], axis=-1)[..., 0]
        entropy = -jnp.sum(jnp.exp(log_policy) * log_policy, -1)
        return jnp.mean(gain**2 - jax.lax.stop_gradient(gain) * chosen - 0.01 * entropy)

    table = """
        body/w   [pixels], hidden
        body/b   hidden
        critic   hidden, 1
        actor/w  hidden, [actions]
        actor/b  [actions]
    """
    shape = (n.time, n.batch)
    args = normal(*shape, n.pixels), labels(*shape, classes=n.actions), normal(*shape, seed=1)
    return problem(n, loss, table, args)


@case(trap=True, **SIZES)
def parameters_in_one_vector(n):
    """A flat vector, cut into matrices and biases: sums and products in one axis."""

    def loss(params, x, y):
        lengths = (n.pixels * n.hidden, n.hidden, n.hidden * n.classes)
        w, b, last = jnp.split(params["all"], np.cumsum(lengths)[:-1])
        h = jnp.tanh(x @ w.reshape(n.pixels, n.hidden) + b)
        return cross_entropy(h @ last.reshape(n.hidden, n.classes), y)

    table = "all  [pixels]*hidden + hidden + hidden*[classes]"
    return problem(n, loss, table, _batch(n))
