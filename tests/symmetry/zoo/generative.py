"""Autoencoders, densities and flows."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from tests.symmetry.zoo.case import case, problem
from tests.symmetry.zoo.data import (
    cross_entropy,
    dense,
    normal,
    reconstruction,
)


@case(trap=True, batch=5, pixels=7, hidden=4, code=3)
def autoencoder(n):
    """What comes out is compared with what went in: both are the same pixels."""

    def loss(params, x):
        h = x
        for layer in ("first", "second", "third"):
            h = jnp.tanh(dense(params[layer], h))
        return reconstruction(dense(params["last"], h), x)

    table = """
        first/w   [pixels], hidden
        first/b   hidden
        second/w  hidden, code
        second/b  code
        third/w   code, hidden2
        third/b   hidden2
        last/w    hidden2, [pixels]
        last/b    [pixels]
    """
    return problem(n, loss, table, (normal(n.batch, n.pixels),))


@case(trap=True, batch=5, pixels=7, hidden=4, code=3)
def tied_autoencoder(n):
    """The decoder is the encoder's transpose, so each hidden layer is one space both ways."""

    def loss(params, x):
        h = jnp.tanh(dense(params["first"], x))
        h = jnp.tanh(dense(params["second"], h))
        h = jnp.tanh(h @ params["second"]["w"].T + params["back"])
        return reconstruction(h @ params["first"]["w"].T + params["offset"], x)

    table = """
        first/w   [pixels], hidden
        first/b   hidden
        second/w  hidden, code
        second/b  code
        back      hidden
        offset    [pixels]
    """
    return problem(n, loss, table, (normal(n.batch, n.pixels),))


@case(
    trap={"side": 4, "rows": 3, "columns": 3},
    batch=3,
    side=4,
    colours=2,
    rows=3,
    columns=3,
    maps=5,
    code=4,
)
def convolutional_autoencoder(n):
    numbers = ("NHWC", "HWIO", "NHWC")

    def loss(params, x):
        h = jax.lax.conv_general_dilated(
            x, params["encode"], (2, 2), "SAME", dimension_numbers=numbers
        )
        shape = h.shape
        code = jnp.tanh(dense(params["narrow"], jnp.tanh(h).reshape(n.batch, -1)))
        h = jnp.tanh(code @ params["widen"]).reshape(shape)
        out = jax.lax.conv_transpose(
            h, params["decode"], (2, 2), "SAME", dimension_numbers=numbers, transpose_kernel=True
        )
        return jnp.mean((out - x) ** 2)

    table = """
        encode    [rows1], [columns1], [colours], maps
        narrow/w  [space]*maps, code
        narrow/b  code
        widen     code, [space]*maps2
        decode    [rows2], [columns2], [colours], maps2
    """
    n.space = (n.side // 2) ** 2
    images = normal(n.batch, n.side, n.side, n.colours)
    return problem(n, loss, table, (images,), check_fixed_ties=False)


@case(batch=6, features=5, pixels=7, hidden=4, width=3)
def adversarial(n):
    """Generator and critic in one loss; the data's noise feeds the generator."""

    def critic(params, x):
        return jax.nn.leaky_relu(dense(params["critic"], x)) @ params["score"]

    def loss(params, noise, real):
        fake = jnp.tanh(dense(params["generator"], noise)) @ params["out"]
        return jnp.mean(jax.nn.softplus(-critic(params, fake))) - jnp.mean(
            jax.nn.log_sigmoid(critic(params, real))
        )

    table = """
        generator/w  [features], hidden
        generator/b  hidden
        out          hidden, [pixels]
        critic/w     [pixels], width
        critic/b     width
        score        width
    """
    return problem(n, loss, table, (normal(n.batch, n.features), normal(n.batch, n.pixels)))


@case(trap={"parts": 3}, batch=6, features=5, hidden=4, components=7, parts=3)
def mixture_density(n):
    """Weight, mean and scale of every component, in thirds of the output."""

    def loss(params, x, y):
        out = dense(params["last"], jnp.tanh(dense(params["first"], x)))
        weight, mean, log_scale = jnp.split(out, n.parts, axis=-1)
        log_scale = jnp.tanh(log_scale)
        density = -0.5 * ((y[:, None] - mean) * jnp.exp(-log_scale)) ** 2 - log_scale
        return -jnp.mean(jax.nn.logsumexp(jax.nn.log_softmax(weight) + density, axis=-1))

    table = """
        first/w  [features], hidden
        first/b  hidden
        last/w   hidden, [parts]*components
        last/b   [parts]*components
    """
    return problem(n, loss, table, (normal(n.batch, n.features), normal(n.batch, seed=1)))


@case(trap=True, batch=6, pixels=5, components=4)
def gaussian_mixture(n):
    """Full precision matrices by their factors."""

    def loss(params, x):
        gaps = x[:, None] - params["means"]
        whitened = jnp.einsum("bkp,kpr->bkr", gaps, params["factors"])
        density = jax.nn.log_softmax(params["logits"]) - 0.5 * jnp.sum(whitened**2, -1)
        return -jnp.mean(jax.nn.logsumexp(density, axis=-1))

    table = """
        means    components, [pixels]
        factors  components, [pixels], rank
        logits   components
    """
    n.rank = n.pixels
    return problem(n, loss, table, (normal(n.batch, n.pixels),))


@case(trap=True, batch=6, pixels=5, hidden=4)
def restricted_boltzmann_machine(n):
    def free_energy(params, v):
        hidden = jax.nn.softplus(v @ params["weights"] + params["hidden"])
        return -v @ params["visible"] - jnp.sum(hidden, axis=-1)

    def loss(params, data, negative):
        return jnp.mean(free_energy(params, data)) - jnp.mean(free_energy(params, negative))

    table = """
        weights  [pixels], hidden
        visible  [pixels]
        hidden   hidden
    """
    return problem(n, loss, table, (normal(n.batch, n.pixels), normal(n.batch, n.pixels, seed=1)))


@case(trap={"pixels": 8}, batch=6, pixels=6, hidden=5)
def normalizing_flow(n):
    """Coupling layers over halves of the data; only what is inside them is free."""

    def coupled(layer, left, right):
        h = jnp.tanh(dense(layer["in"], left))
        log_scale = jnp.tanh(h @ layer["scale"])
        return right * jnp.exp(log_scale) + h @ layer["shift"], jnp.sum(log_scale, -1)

    def loss(params, x):
        left, right = jnp.split(x, 2, axis=-1)
        right, first = coupled(params["a"], left, right)
        left, second = coupled(params["b"], right, left)
        z = jnp.concatenate([left, right], axis=-1)
        return jnp.mean(0.5 * jnp.sum(z**2, -1) - first - second)

    table = """
        a/in/w   [left], hidden0
        a/in/b   hidden0
        a/scale  hidden0, [right]
        a/shift  hidden0, [right]
        b/in/w   [right], hidden1
        b/in/b   hidden1
        b/scale  hidden1, [left]
        b/shift  hidden1, [left]
    """
    n.left = n.right = n.pixels // 2
    return problem(n, loss, table, (normal(n.batch, n.pixels),))


@case(trap={"halves": 2}, batch=4, pixels=6, frequencies=3, hidden=5, coded=7, halves=2)
def diffusion(n):
    """The time's code scales and shifts hidden units."""

    def loss(params, x, time, noise):
        waves = time[:, None] * 2.0 ** np.arange(n.frequencies, dtype=np.float32)
        waves = jnp.concatenate([jnp.sin(waves), jnp.cos(waves)], axis=-1)
        code = jax.nn.silu(dense(params["code"], waves))
        scale, shift = jnp.split(dense(params["film"], code), n.halves, axis=-1)
        h = dense(params["in"], jnp.sqrt(1 - time)[:, None] * x + jnp.sqrt(time)[:, None] * noise)
        h = jax.nn.silu(h * (1 + scale) + shift)
        return reconstruction(dense(params["out"], h), noise)

    table = """
        code/w  [waves], coded
        code/b  coded
        film/w  coded, [halves]*hidden
        film/b  [halves]*hidden
        in/w    [pixels], hidden
        in/b    hidden
        out/w   hidden, [pixels]
        out/b   [pixels]
    """
    n.waves = 2 * n.frequencies
    x, noise = normal(n.batch, n.pixels), normal(n.batch, n.pixels, seed=1)
    return problem(n, loss, table, (x, np.linspace(0.1, 0.9, n.batch, dtype=np.float32), noise))


@case(trap=True, batch=6, pixels=7, hidden=5, codes=4, code=3)
def vector_quantized(n):
    """The nearest code is looked up by its index."""

    def loss(params, x):
        h = jnp.tanh(x @ params["encode"]) @ params["project"]
        gaps = jnp.sum((h[:, None] - params["codebook"]) ** 2, axis=-1)
        code = params["codebook"][jnp.argmin(gaps, axis=-1)]
        straight = h + jax.lax.stop_gradient(code - h)
        return reconstruction(straight @ params["decode"], x) + reconstruction(h, code)

    table = """
        encode    [pixels], hidden
        project   hidden, code
        codebook  codes, code
        decode    code, [pixels]
    """
    why = "argmin counts positions, and fixes the axis in which it does"
    return problem(n, loss, table, (normal(n.batch, n.pixels),), not_found=why)


@case(trap=True, batch=5, pixels=6, hidden=4, code=3)
def contrastive_with_teacher(n):
    """Two networks of one shape: hidden units are their own, codes are compared."""

    def encode(net, x):
        z = jnp.tanh(dense(net.first, x)) @ net.last
        return z / jnp.linalg.norm(z, axis=-1, keepdims=True)

    def loss(params, x, other):
        z = encode(params["student"], x)
        target = jax.lax.stop_gradient(encode(params["teacher"], other))
        return cross_entropy(z @ target.T * jnp.exp(params["sharpness"]), jnp.arange(n.batch))

    table = """
        student/first/w  [pixels], hidden
        student/first/b  hidden
        student/last     hidden, code
        teacher/first/w  [pixels2], hidden2
        teacher/first/b  hidden2
        teacher/last     hidden2, code
        sharpness
    """

    def shape(*dimensions):
        return jax.ShapeDtypeStruct(dimensions, np.float32)

    def net():
        first = {"w": shape(n.pixels, n.hidden), "b": shape(n.hidden)}
        return Net(first, shape(n.hidden, n.code))

    params = {"student": net(), "teacher": net(), "sharpness": shape()}
    views = normal(n.batch, n.pixels), normal(n.batch, n.pixels, seed=1)
    return problem(n, loss, table, views, params=params)


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Net:
    """Parameters in a class of the user's own."""

    first: dict
    last: jax.Array
