"""Mixtures of experts."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from tests.symmetry.zoo.case import case, problem
from tests.symmetry.zoo.data import (
    cross_entropy,
    labels,
    normal,
)

EXPERTS = dict(batch=6, features=5, stream=4, experts=3, hidden=7, classes=2)


def _experts(n, weights_of, **options):
    def loss(params, x, y):
        h = jnp.tanh(x @ params["in"])
        inner = jax.nn.relu(jnp.einsum("bd,edh->beh", h, params["up"]) + params["bias"])
        out = jnp.einsum("beh,ehd->bed", inner, params["down"])
        h = h + jnp.einsum("be,bed->bd", weights_of(h @ params["router"]), out)
        return cross_entropy(h @ params["last"], y)

    table = """
        in      [features], stream
        router  stream, experts
        up      experts, stream, hidden
        bias    experts, hidden
        down    experts, hidden, stream
        last    stream, [classes]
    """
    args = normal(n.batch, n.features), labels(n.batch, classes=n.classes)
    return problem(n, loss, table, args, **options)


@case(trap=True, **EXPERTS)
def mixture_of_experts(n):
    """Every expert takes part; their hidden units share one permutation."""
    return _experts(n, jax.nn.softmax)


def _routed_to(logits, count):
    _, chosen = jax.lax.top_k(logits, count)
    mask = jnp.sum(jax.nn.one_hot(chosen, logits.shape[-1]), axis=-2)
    return jax.nn.softmax(jnp.where(mask > 0, logits, -1e9))


@case(trap=True, **EXPERTS)
def routed_experts(n):
    """The best two, by their indices, whose one-hot vectors move with the experts."""
    why = "top_k counts positions, and fixes the axis in which it does"
    return _experts(n, functools.partial(_routed_to, count=2), not_found=why)


@case(trap=True, **EXPERTS)
def thresholded_experts(n):
    """The best two, by comparing with the second best value, which knows no order."""

    def weights_of(logits):
        second = jax.lax.top_k(logits, 2)[0][..., -1:]
        return jax.nn.softmax(jnp.where(logits >= second, logits, -1e9))

    return _experts(n, weights_of)
