"""What is done with weights and features: forms, orders, masks, sets."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from tests.symmetry.zoo.case import case, problem
from tests.symmetry.zoo.data import (
    classification,
    cross_entropy,
    dense,
    normal,
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


def _changed(n, change, table, **options):
    """Dense layers, of which the middle one is changed before it is used."""

    def loss(params, x, y):
        h = jnp.tanh(x @ params["first"])
        h = jnp.tanh(h @ change(params["middle"]))
        return cross_entropy(h @ params["last"], y)

    return problem(n, loss, table, classification(n), **options)


def _told_apart(n, change):
    """What is made of the middle layer tells its rows and its columns apart."""
    table = """
        first   [pixels], [hidden]
        middle  [hidden], [hidden2]
        last    [hidden2], [classes]
    """
    return _changed(n, change, table, check_fixed_ties=False)


def _kept_together(n, change):
    """What is made of the middle layer has rows and columns of one space."""
    table = """
        first   [pixels], hidden
        middle  hidden, hidden
        last    hidden, [classes]
    """
    return _changed(n, change, table)


@case(trap=True, batch=7, pixels=6, hidden=5, classes=3)
def masked_weights(n):
    """A triangular mask tells the rows and the columns of the middle layer apart."""
    return _told_apart(n, jnp.tril)


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
    return problem(n, loss, table, classification(n))


@case(trap=True, batch=7, pixels=6, hidden=5, classes=3)
def identity_beside_weights(n):
    """``h (W + 1)``: a residual connection, written as a matrix that a loss closes over."""
    identity = np.eye(n.hidden, dtype=np.float32)
    return _kept_together(n, lambda middle: middle + identity)


@case(trap=True, batch=7, pixels=6, hidden=5, rank=4, classes=3)
def no_weight_of_a_unit_to_itself(n):
    """A product of two matrices without its diagonal."""

    def loss(params, x, y):
        h = jnp.tanh(x @ params["first"])
        product = params["into"] @ params["out_of"] * (1.0 - jnp.eye(n.hidden))
        return cross_entropy(jnp.tanh(h @ product) @ params["last"], y)

    table = """
        first   [pixels], hidden
        into    hidden, rank
        out_of  rank, hidden
        last    hidden, [classes]
    """
    return problem(n, loss, table, classification(n))


@case(trap=True, batch=7, pixels=6, hidden=5, classes=3)
def diagonal_of_decays(n):
    """A matrix with a number of its own for each unit on its diagonal: the units differ."""
    decays = np.diag(1.0 + np.arange(n.hidden, dtype=np.float32))
    return _told_apart(n, lambda middle: middle + decays)


@case(trap=True, batch=7, pixels=6, slow=3, fast=4, classes=3)
def time_constants_in_blocks(n):
    """Units of two kinds, each with the constant of its kind, used in two layers."""
    scales = np.repeat(np.float32([0.2, 0.9]), [n.slow, n.fast])

    def loss(params, x, y):
        h = jnp.tanh(x @ params["first"]) * scales
        h = (1.0 - scales) * jnp.tanh(h @ params["middle"])
        return cross_entropy(h @ params["last"], y)

    table = """
        first   [pixels], slow + fast
        middle  slow + fast, slow2 + fast2
        last    slow2 + fast2, [classes]
    """
    return problem(n, loss, table, classification(n))


@case(trap=True, batch=7, pixels=6, blocks=3, width=2, classes=3)
def blocks_of_counters(n):
    """``arange // width`` numbers blocks of units, and each is scaled by its number."""

    def loss(params, x, y):
        block = jnp.arange(n.blocks * n.width) // n.width
        h = jnp.tanh(x @ params["first"]) * (1 + block)
        h = jnp.tanh(h @ params["middle"])
        return cross_entropy(h @ params["last"], y)

    size = {f"in{i}": n.width for i in range(n.blocks)}
    own = " + ".join(size)
    table = f"""
        first   [pixels], {own}
        middle  {own}, hidden
        last    hidden, [classes]
    """
    vars(n).update(size, hidden=n.width)
    return problem(n, loss, table, classification(n))


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


@case(trap=True, batch=9, pixels=6, hidden=5, classes=3)
def last_layer_by_least_squares(n):
    """The last layer is solved for: normal equations, whose factors know an order."""

    def loss(params, x, y):
        h = jnp.tanh(x @ params["first"] + params["bias"])
        targets = jax.nn.one_hot(y, n.classes)
        last = jnp.linalg.solve(h.T @ h + 0.1 * jnp.eye(n.hidden), h.T @ targets)
        return jnp.mean((h @ last - targets) ** 2)

    table = """
        first  [pixels], hidden
        bias   hidden
    """
    return problem(n, loss, table, classification(n))


@case(trap=True, batch=7, pixels=6, hidden=5, more=4, classes=3)
def singular_values_penalized(n):
    """A spectral and a nuclear norm: singular values know no order, their vectors do."""

    def loss(params, x, y):
        h = jnp.tanh(jnp.tanh(x @ params["first"]) @ params["second"])
        penalty = jnp.linalg.norm(params["first"], 2) + jnp.linalg.norm(params["second"], "nuc")
        return cross_entropy(h @ params["last"], y) + 0.1 * penalty

    table = """
        first   [pixels], hidden
        second  hidden, more
        last    more, [classes]
    """
    return problem(n, loss, table, classification(n))


@case(trap=True, batch=7, pixels=6, latents=8)
def sparse_autoencoder(n):
    """The largest latents of every example alone, by comparing with the least of them."""

    def loss(params, x):
        h = jax.nn.relu(x @ params["encoder"] + params["bias"])
        least = jax.lax.top_k(h, 3)[0][:, -1:]
        return jnp.mean((jnp.where(h >= least, h, 0.0) @ params["decoder"] - x) ** 2)

    table = """
        encoder  [pixels], latents
        bias     latents
        decoder  latents, [pixels]
    """
    return problem(n, loss, table, (normal(n.batch, n.pixels),))


@case(trap=True, batch=9, pixels=6, hidden=5, embedding=4)
def redundancy_reduction(n):
    """Barlow twins: the diagonal of a correlation, read by `jnp.diag`, and the rest of it."""

    def loss(params, x, y):
        a, b = (jnp.tanh(view @ params["first"]) @ params["last"] for view in (x, y))
        a, b = ((z - z.mean(0)) / (z.std(0) + 0.1) for z in (a, b))
        correlation = a.T @ b / n.batch
        diagonal = jnp.diag(correlation)
        rest = jnp.sum(correlation**2) - jnp.sum(diagonal**2)
        return jnp.sum((diagonal - 1) ** 2) + 0.1 * rest

    table = """
        first  [pixels], hidden
        last   hidden, embedding
    """
    return problem(n, loss, table, (normal(n.batch, n.pixels), normal(n.batch, n.pixels)))


@case(trap=True, batch=7, pixels=6, hidden=5, classes=3)
def no_unit_sees_itself(n):
    """The diagonal of the middle layer, written by its indices."""
    units = np.arange(n.hidden)
    return _kept_together(n, lambda middle: middle.at[units, units].set(0.0))
