"""How programs are written: sharing, control flow, custom rules, tables, dead code."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from tests.symmetry.zoo.case import case, problem
from tests.symmetry.zoo.data import (
    classification,
    cross_entropy,
    dense,
    labels,
    normal,
    regression,
)


@case(trap=True, batch=7, pixels=6, hidden=5, classes=3)
def parameter_used_twice(n):
    """The middle layer's output is its own input: both its axes are one space."""

    def loss(params, x, y):
        h = jnp.tanh(x @ params["first"])
        for _ in range(2):
            h = jnp.tanh(dense(params["middle"], h))
        return cross_entropy(h @ params["last"], y)

    table = """
        first     [pixels], hidden
        middle/w  hidden, hidden
        middle/b  hidden
        last      hidden, [classes]
    """
    return problem(n, loss, table, classification(n))


@case(trap=True, batch=7, pixels=6, hidden=5, classes=3, rows=4, columns=2)
def dead_parameter(n):
    """What the loss never reads may be permuted in any way."""

    def loss(params, x, y):
        unused = jnp.sum(params["dead"]["w"] ** 2) + params["dead"]["b"]
        del unused
        return cross_entropy(jnp.tanh(x @ params["first"]) @ params["last"], y)

    table = """
        first    [pixels], hidden
        last     hidden, [classes]
        dead/w   rows, columns
        dead/b   lonely
    """
    n.lonely = n.columns
    return problem(n, loss, table, classification(n), without_effect=("dead/w", "dead/b"))


@case(trap=True, batch=7, pixels=6, hidden=5, code=4)
def siamese(n):
    """One encoder for two inputs."""

    def encode(params, x):
        return jax.nn.relu(dense(params["first"], x)) @ params["second"]

    def loss(params, left, right, same):
        gap = jnp.abs(encode(params, left) - encode(params, right))
        score = gap @ params["weights"] + params["bias"]
        return jnp.mean(jax.nn.softplus(score) - same * score)

    table = """
        first/w  [pixels], hidden
        first/b  hidden
        second   hidden, code
        weights  code
        bias
    """
    pair = normal(n.batch, n.pixels), normal(n.batch, n.pixels, seed=2)
    return problem(n, loss, table, (*pair, labels(n.batch, classes=2)))


@case(trap=True, batch=7, pixels=6, hidden=5, width=4)
def vmapped_model(n):
    """The model is written for one example."""

    def model(params, x):
        h = jax.nn.relu(jnp.dot(params["first"], x) + params["bias"])
        return jnp.vdot(params["last"], jnp.tanh(params["second"] @ h))

    def loss(params, x, y):
        return jnp.mean((jax.vmap(model, (None, 0))(params, x) - y) ** 2)

    table = """
        first   hidden, [pixels]
        bias    hidden
        second  width, hidden
        last    width
    """
    return problem(n, loss, table, regression(n))


@case(trap=True, batch=7, pixels=6, hidden=5, width=4)
def gradient_penalty(n):
    """The loss contains the gradient of the model in its input."""

    def critic(params, x):
        h = jax.nn.softplus(dense(params["first"], x))
        h = jax.nn.softplus(dense(params["second"], h))
        return h @ params["last"]

    def loss(params, real, fake):
        between = 0.3 * real + 0.7 * fake
        slopes = jax.vmap(jax.grad(critic, argnums=1), (None, 0))(params, between)
        penalty = jnp.mean((jnp.linalg.norm(slopes, axis=-1) - 1) ** 2)
        return jnp.mean(critic(params, fake) - critic(params, real)) + 10 * penalty

    table = """
        first/w   [pixels], hidden
        first/b   hidden
        second/w  hidden, width
        second/b  width
        last      width
    """
    return problem(n, loss, table, (normal(n.batch, n.pixels), normal(n.batch, n.pixels, seed=1)))


@case(batch=5, pixels=3, hidden=6)
def laplacian(n):
    """A physics-informed loss: second derivatives in the input."""

    def field(params, x):
        return jnp.tanh(dense(params["first"], x)) @ params["last"]

    def loss(params, x, source):
        hessians = jax.vmap(jax.hessian(field, argnums=1), (None, 0))(params, x)
        return jnp.mean((jnp.einsum("bii->b", hessians) - source) ** 2)

    table = """
        first/w  [pixels], hidden
        first/b  hidden
        last     hidden
    """
    return problem(n, loss, table, regression(n))


@case(trap=True, batch=7, pixels=6, hidden=5, classes=3)
def custom_jvp_activation(n):
    @jax.custom_jvp
    def bent(x):
        return jnp.sqrt(x**2 + 1) + x

    @bent.defjvp
    def bent_jvp(primals, tangents):
        (x,), (dx,) = primals, tangents
        return bent(x), (x / jnp.sqrt(x**2 + 1) + 1) * dx

    def loss(params, x, y):
        def inner(p):
            return cross_entropy(bent(dense(p["first"], x)) @ p["last"], y)

        value, slope = jax.value_and_grad(inner)(params)
        return value + 0.1 * jnp.sum(slope["first"]["w"] ** 2) + inner(params)

    table = """
        first/w  [pixels], hidden
        first/b  hidden
        last     hidden, [classes]
    """
    return problem(n, loss, table, classification(n))


@case(trap=True, batch=7, pixels=6, hidden=5, classes=3)
def custom_vjp_straight_through(n):
    """Weights rounded, gradients passed through."""

    @jax.custom_vjp
    def rounded(w):
        return jnp.round(4 * w) / 4

    rounded.defvjp(lambda w: (rounded(w), None), lambda _, g: (g,))

    def loss(params, x, y):
        def inner(p):
            h = jax.nn.relu(x @ rounded(p["first"]) + p["bias"])
            return cross_entropy(h @ rounded(p["last"]), y)

        return inner(params) + sum(jnp.sum(jnp.abs(g)) for g in jax.grad(inner)(params).values())

    table = """
        first  [pixels], hidden
        bias   hidden
        last   hidden, [classes]
    """
    return problem(n, loss, table, classification(n))


@case(trap=True, batch=7, pixels=6, hidden=5, classes=3)
def cond_on_a_flag_of_the_data(n):
    def loss(params, flag, x, y):
        h = dense(params["first"], x)
        h = jax.lax.cond(flag > 0, jax.nn.relu, lambda z: jnp.tanh(z) + params["shift"], h)
        return cross_entropy(h @ params["last"], y)

    table = """
        first/w  [pixels], hidden
        first/b  hidden
        shift    hidden
        last     hidden, [classes]
    """
    return problem(n, loss, table, (np.float32(-1), *classification(n)))


@case(trap=True, batch=7, pixels=6, hidden=5, width=4, classes=3)
def switch_between_activations(n):
    def loss(params, index, x, y):
        kinds = [jax.nn.relu, jnp.tanh, jax.nn.gelu, lambda z: jax.nn.softmax(z)]
        h = jax.lax.switch(index, kinds, x @ params["first"])
        h = jax.lax.switch(index + 1, kinds, h @ params["second"])
        return cross_entropy(h @ params["last"], y)

    table = """
        first   [pixels], hidden
        second  hidden, width
        last    width, [classes]
    """
    return problem(n, loss, table, (np.int32(2), *classification(n)))


@case(batch=7, pixels=6, hidden=5, units=4, fan_in=3, classes=2)
def integer_table(n):
    """Sparse connections: unit u reads inputs ``sources[u, :]``, in any order.

    A permutation moves the entries of an integer parameter, never their values, so the axis that
    the values point into is fixed.
    """

    def loss(params, x, y):
        h = jnp.tanh(x @ params["first"])
        h = jnp.tanh(jnp.sum(h[:, params["sources"]] * params["strengths"], axis=-1))
        return cross_entropy(h @ params["last"], y)

    table = """
        first      [pixels], [hidden]
        sources    units, fan_in
        strengths  units, fan_in
        last       units, [classes]
    """
    shapes = {
        "first": jax.ShapeDtypeStruct((n.pixels, n.hidden), np.float32),
        "sources": labels(n.units, n.fan_in, classes=n.hidden),
        "strengths": jax.ShapeDtypeStruct((n.units, n.fan_in), np.float32),
        "last": jax.ShapeDtypeStruct((n.units, n.classes), np.float32),
    }
    return problem(n, loss, table, classification(n), params=shapes)


@case(trap={"padding": 8}, batch=7, pixels=6, hidden=4, padding=3, classes=2)
def zero_padded_stream(n):
    """The stream grows by zeros, and a residual branch fills them."""

    def loss(params, x, y):
        h = jnp.tanh(x @ params["first"])
        wide = jnp.pad(h, ((0, 0), (0, n.padding))) + jnp.tanh(h @ params["branch"])
        return cross_entropy(wide @ params["last"], y)

    table = """
        first   [pixels], hidden
        branch  hidden, hidden + padding
        last    hidden + padding, [classes]
    """
    return problem(n, loss, table, classification(n))
