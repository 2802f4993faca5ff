"""Multilayer perceptrons, their normalizations and reparametrizations."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from tests.symmetry.zoo.case import case, problem
from tests.symmetry.zoo.data import (
    classification,
    cross_entropy,
    dense,
    labels,
    layer_norm,
    normal,
    standardized,
)


@case(trap=True, batch=7, pixels=6, hidden=5, width=4, classes=3)
def relu(n):
    def loss(params, x, y):
        h = jax.nn.relu(dense(params["first"], x))
        h = jax.nn.relu(dense(params["second"], h))
        return cross_entropy(dense(params["last"], h), y)

    table = """
        first/w   [pixels], hidden
        first/b   hidden
        second/w  hidden, width
        second/b  width
        last/w    width, [classes]
        last/b    [classes]
    """
    return problem(n, loss, table, classification(n))


@case(batch=7, pixels=6, hidden=5, width=4, classes=3)
def gelu_with_auxiliary_output(n):
    def loss(params, x, y):
        h = jax.nn.gelu(x @ params["first"])
        logits = jnp.tanh(h @ params["second"]) @ params["last"]
        return cross_entropy(logits, y), {"logits": logits, "hidden": h}

    table = """
        first   [pixels], hidden
        second  hidden, width
        last    width, [classes]
    """
    return problem(n, loss, table, classification(n), has_aux=True)


@case(trap=True, batch=7, pixels=6, hidden=5, classes=3)
def layer_normalized(n):
    def loss(params, x, y):
        h = jax.nn.relu(layer_norm(params["norm"], dense(params["first"], x)))
        return cross_entropy(dense(params["last"], h), y)

    table = """
        first/w      [pixels], hidden
        first/b      hidden
        norm/scale   hidden
        norm/offset  hidden
        last/w       hidden, [classes]
        last/b       [classes]
    """
    return problem(n, loss, table, classification(n))


@case(batch=7, pixels=6, hidden=5, classes=3)
def data_normalized(n):
    """The norm's parameters lie on the data's axis."""

    def loss(params, x, y):
        h = jnp.tanh(layer_norm(params["norm"], x) @ params["first"])
        return cross_entropy(h @ params["last"], y)

    table = """
        norm/scale   [pixels]
        norm/offset  [pixels]
        first        [pixels], hidden
        last         hidden, [classes]
    """
    return problem(n, loss, table, classification(n))


@case(trap=True, batch=7, pixels=6, hidden=5, classes=3)
def batch_normalized(n):
    def loss(params, state, x, y):
        h = dense(params["first"], x)
        mean, variance = jnp.mean(h, 0), jnp.var(h, 0)
        h = (h - mean) / jnp.sqrt(variance + 1e-5) * params["scale"] + params["offset"]
        new = {"mean": mean, "variance": variance}
        state = jax.tree.map(lambda old, now: 0.9 * old + 0.1 * now, state, new)
        return cross_entropy(dense(params["last"], jax.nn.relu(h)), y), state

    table = """
        first/w  [pixels], hidden
        first/b  hidden
        scale    hidden
        offset   hidden
        last/w   hidden, [classes]
        last/b   [classes]
    """
    state = {"mean": normal(n.hidden), "variance": normal(n.hidden) ** 2}
    return problem(
        n,
        loss,
        table,
        (state, *classification(n)),
        state_argnum=0,
        state_table="mean      hidden\nvariance  hidden",
        without_effect=("first/b",),  # the mean that is subtracted takes it away again
    )


@case(trap=True, batch=7, pixels=6, stream=5, hidden=4, classes=3)
def residual(n):
    """Every block reads from and adds to one stream."""

    def loss(params, x, y):
        h = x @ params["in"]
        for block in params["blocks"].values():
            h = h + jax.nn.relu(h @ block["up"]) @ block["down"]
        return cross_entropy(h @ params["out"], y)

    table = """
        in             [pixels], stream
        blocks/a/up    stream, hidden1
        blocks/a/down  hidden1, stream
        blocks/b/up    stream, hidden2
        blocks/b/down  hidden2, stream
        out            stream, [classes]
    """
    return problem(n, loss, table, classification(n))


@case(batch=7, pixels=6, units=5, pieces=3, classes=4)
def maxout(n):
    """The maximum over its pieces is symmetric too: one permutation of pieces for all units."""

    def loss(params, x, y):
        h = dense(params["first"], x).reshape(-1, n.units, n.pieces).max(-1)
        return cross_entropy(dense(params["last"], h), y)

    table = """
        first/w  [pixels], units*pieces
        first/b  units*pieces
        last/w   units, [classes]
        last/b   [classes]
    """
    return problem(n, loss, table, classification(n))


@case(trap={"gate": 2}, batch=7, pixels=6, hidden=5, classes=3, gate=2)
def gated(n):
    def loss(params, x, y):
        parts = jnp.split(dense(params["first"], x), n.gate, axis=-1)
        return cross_entropy(parts[0] * jax.nn.sigmoid(parts[1]) @ params["last"], y)

    table = """
        first/w  [pixels], [gate]*hidden
        first/b  [gate]*hidden
        last     hidden, [classes]
    """
    return problem(n, loss, table, classification(n))


@case(batch=7, pixels=6, hidden=5, classes=3, gate=2)
def gated_interleaved(n):
    """The gate is the minor part of the axis."""

    def loss(params, x, y):
        parts = (x @ params["first"]).reshape(n.batch, n.hidden, n.gate)
        return cross_entropy(parts[..., 0] * jnp.tanh(parts[..., 1]) @ params["last"], y)

    table = """
        first  [pixels], hidden*[gate]
        last   hidden, [classes]
    """
    return problem(n, loss, table, classification(n))


@case(batch=7, pixels=6, sharp=5, smooth=3, classes=4)
def two_activations(n):
    """Units of two kinds side by side: permutable among their kind."""

    def loss(params, x, y):
        h = dense(params["first"], x)
        h = jnp.concatenate([jax.nn.relu(h[:, : n.sharp]), jnp.tanh(h[:, n.sharp :])], axis=1)
        return cross_entropy(dense(params["last"], h), y)

    table = """
        first/w  [pixels], sharp + smooth
        first/b  sharp + smooth
        last/w   sharp + smooth, [classes]
        last/b   [classes]
    """
    return problem(n, loss, table, classification(n))


@case(batch=7, pixels=6, hidden=5, classes=3)
def weight_normalized(n):
    def loss(params, x, y):
        first = params["first"]
        w = first["g"] * first["v"] / jnp.linalg.norm(first["v"], axis=0)
        return cross_entropy(jax.nn.relu(x @ w + first["b"]) @ params["last"], y)

    table = """
        first/v  [pixels], hidden
        first/g  hidden
        first/b  hidden
        last     hidden, [classes]
    """
    return problem(n, loss, table, classification(n))


@case(trap=True, batch=7, pixels=6, hidden=5, width=4, classes=3)
def spectrally_normalized(n):
    """A step of the power method; its left vector is the model state."""

    def loss(params, state, x, y):
        w = params["second"]
        v = w.T @ state["u"] / jnp.linalg.norm(w.T @ state["u"])
        u = w @ v / jnp.linalg.norm(w @ v)
        u, v = jax.lax.stop_gradient((u, v))
        h = jax.nn.relu(jax.nn.relu(x @ params["first"]) @ w / (u @ w @ v))
        return cross_entropy(h @ params["last"], y), {"u": u}

    table = """
        first   [pixels], hidden
        second  hidden, width
        last    width, [classes]
    """
    return problem(
        n,
        loss,
        table,
        ({"u": normal(n.hidden)}, *classification(n)),
        state_argnum=0,
        state_table="u  hidden",
    )


@case(batch=7, pixels=6, hidden=5, width=4, classes=3)
def cosine_normalized(n):
    def unit(x, axis):
        return x / (jnp.linalg.norm(x, axis=axis, keepdims=True) + 1e-3)

    def loss(params, x, y):
        h = jax.nn.relu(x @ params["first"])
        h = jnp.tanh(params["sharpness"] * unit(h, -1) @ unit(params["second"], 0))
        return cross_entropy(h @ params["last"], y)

    table = """
        first      [pixels], hidden
        second     hidden, width
        sharpness
        last       width, [classes]
    """
    return problem(n, loss, table, classification(n))


@case(trap=True, batch=7, pixels=6, hidden=5, width=4, rank=2, classes=3)
def low_rank_adapters(n):
    def loss(params, x, y):
        h = jax.nn.relu(x @ (params["first"] + params["down0"] @ params["up0"]))
        h = jax.nn.relu(h @ params["second"] + (h @ params["down1"]) @ params["up1"])
        return cross_entropy(h @ params["last"], y)

    table = """
        first   [pixels], hidden
        down0   [pixels], rank0
        up0     rank0, hidden
        second  hidden, width
        down1   hidden, rank1
        up1     rank1, width
        last    width, [classes]
    """
    return problem(n, loss, table, classification(n))


@case(batch=7, pixels=6, rank=4, hidden=5, classes=3)
def factored_with_singular_values(n):
    def loss(params, x, y):
        w = jnp.einsum("pr,r,rh->ph", params["u"], params["s"], params["v"])
        return cross_entropy(jax.nn.relu(x @ w) @ params["last"], y)

    table = """
        u     [pixels], rank
        s     rank
        v     rank, hidden
        last  hidden, [classes]
    """
    return problem(n, loss, table, classification(n))


@case(batch=7, time=4, pixels=6, hidden=5, classes=3)
def broadcast_biases(n):
    def loss(params, x, y):
        h = jnp.tanh(x @ params["first"] + params["bias"])
        h = jnp.tanh(standardized(h, (1, 2)) * params["scale"] + params["step"])
        return cross_entropy(h.mean(1) @ params["last"], y)

    table = """
        first  [pixels], hidden
        bias   1, 1, hidden
        scale  1, 1, 1
        step   1, [time], 1
        last   hidden, [classes]
    """
    args = (normal(n.batch, n.time, n.pixels), labels(n.batch, classes=n.classes))
    return problem(n, loss, table, args)


@case(batch=7, pixels=6, seed_size=3, hidden=5, classes=4)
def hypernetwork(n):
    """A small network writes the weights of the first layer."""

    def loss(params, x, y):
        code = jnp.tanh(params["seed"])
        w = (code @ params["to_weights"]).reshape(n.pixels, n.hidden)
        h = jax.nn.relu(x @ w + code @ params["to_biases"])
        return cross_entropy(h @ params["last"], y)

    table = """
        seed        seed_size
        to_weights  seed_size, [pixels]*hidden
        to_biases   seed_size, hidden
        last        hidden, [classes]
    """
    return problem(n, loss, table, classification(n))
