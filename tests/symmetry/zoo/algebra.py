"""What is done with weights and features: forms, orders, masks, sets."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from tests.symmetry.zoo.case import case, problem
from tests.symmetry.zoo.data import (
    classification,
    cross_entropy,
    dense,
    regression,
)


@case(trap=True, batch=7, pixels=6, hidden=5)
def bilinear_form(n):
    """``h A h``: both axes of A are contracted with the same vector."""

    def loss(params, x, y):
        h = jnp.tanh(x @ params["first"])
        return jnp.mean((jnp.einsum("bi,ij,bj->b", h, params["form"], h) - y) ** 2)

    table = """
        first  [pixels], hidden
        form   hidden, hidden
    """
    return problem(n, loss, table, regression(n))


@case(trap=True, batch=7, pixels=6, left=5, right=4)
def bilinear_form_of_two(n):
    def loss(params, x, y):
        a, b = jnp.tanh(x @ params["first"]), jnp.sin(x @ params["second"])
        return jnp.mean((jnp.sum(a @ params["form"] * b, -1) - y) ** 2)

    table = """
        first   [pixels], left
        second  [pixels], right
        form    left, right
    """
    return problem(n, loss, table, regression(n))


@case(trap=True, batch=7, pixels=6, hidden=5, classes=3)
def symmetrized_weights(n):
    """``W + W^T`` makes both axes of W one space."""

    def loss(params, x, y):
        h = jnp.tanh(x @ params["first"])
        coupling = params["coupling"] + params["coupling"].T
        return cross_entropy(jnp.tanh(h @ coupling) @ params["last"], y)

    table = """
        first     [pixels], hidden
        coupling  hidden, hidden
        last      hidden, [classes]
    """
    return problem(n, loss, table, classification(n))


@case(trap=True, rows=4, columns=3)
def trace_of_a_product(n):
    """No data at all: every axis is free."""

    def loss(params):
        product = jnp.einsum("ij,ji->", params["a"], params["b"])
        return product**2 + jnp.sum(jnp.exp(params["a"]))

    table = """
        a  rows, columns
        b  columns, rows
    """
    return problem(n, loss, table)


@case(trap=True, batch=7, pixels=6, hidden=5, classes=3)
def masked_weights(n):
    """A triangular mask tells the rows and the columns of the middle layer apart."""

    def loss(params, x, y):
        h = jnp.tanh(x @ params["first"])
        h = jnp.tanh(h @ jnp.tril(params["middle"]))
        return cross_entropy(h @ params["last"], y)

    table = """
        first   [pixels], [hidden]
        middle  [hidden], [hidden2]
        last    [hidden2], [classes]
    """
    return problem(n, loss, table, classification(n), check_fixed_ties=False)


@case(trap=True, batch=7, pixels=6, hidden=5, width=4, classes=3)
def ordered_features(n):
    """A cumulative sum gives features an order.

    A shift by one only renames them, but no axis of a spec is another one renamed.
    """

    def loss(params, x, y):
        h = jnp.cumsum(jnp.tanh(x @ params["first"]), axis=-1)
        h = jnp.roll(jnp.tanh(h @ params["second"]), 1, axis=-1)
        return cross_entropy(h[:, ::-1] @ params["last"], y)

    table = """
        first   [pixels], [hidden]
        second  [hidden2], [width]
        last    [width2], [classes]
    """
    return problem(n, loss, table, classification(n), check_fixed_ties=False)


@case(trap=True, batch=7, pixels=6, hidden=5, classes=3)
def sorted_features(n):
    """Sorting forgets the order of what it sorts, and fixes that of its result."""

    def loss(params, x, y):
        h = jnp.sort(dense(params["first"], x), axis=-1)
        return cross_entropy(dense(params["last"], h), y)

    table = """
        first/w  [pixels], hidden
        first/b  hidden
        last/w   [ranks], [classes]
        last/b   [classes]
    """
    n.ranks = n.hidden
    return problem(n, loss, table, classification(n))


@case(trap=True, batch=7, pixels=6, hidden=5, classes=3)
def orthogonality_penalty(n):
    """``|W^T W - 1|``: the identity is the same after permuting both its axes together."""

    def loss(params, x, y):
        gram = params["first"].T @ params["first"] - jnp.eye(n.hidden)
        h = jnp.tanh(x @ params["first"])
        return cross_entropy(h @ params["last"], y) + jnp.sum(gram**2)

    table = """
        first  [pixels], hidden
        last   hidden, [classes]
    """
    why = "a constant that varies along an axis fixes it, and the identity matrix does"
    return problem(n, loss, table, classification(n), not_found=why)


@case(trap=True, batch=7, pixels=6, points=4, features=3, hidden=5)
def deep_sets_of_parameters(n):
    """The parameters are a set of points; everything that reads them is symmetric."""

    def loss(params, x, y):
        points = params["points"]
        h = jnp.tanh(points @ params["own"] + jnp.mean(points, 0) @ params["others"])
        weights = jax.nn.softmax(h @ params["score"])
        out = (weights @ h) @ params["out"]
        return jnp.mean((x @ out - y) ** 2)

    table = """
        points  points, features
        own     features, hidden
        others  features, hidden
        score   hidden
        out     hidden, [pixels]
    """
    return problem(n, loss, table, regression(n))


@case(batch=7, pixels=6, prototypes=4, classes=3)
def radial_basis_functions(n):
    def loss(params, x, y):
        gaps = x[:, None, :] - params["centres"][None]
        h = jnp.exp(-jnp.sum(gaps**2, -1) * jax.nn.softplus(params["widths"]))
        return cross_entropy(h @ params["last"], y)

    table = """
        centres  prototypes, [pixels]
        widths   prototypes
        last     prototypes, [classes]
    """
    return problem(n, loss, table, classification(n))
