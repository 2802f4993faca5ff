"""Programs that tell pairs of nested axes apart by constants, or put them in another order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from unf_lopt import infer_spec

HEADS, WIDTH = 3, 2
SHAPE = (HEADS, WIDTH, HEADS, WIDTH)
EYE = np.broadcast_to(np.eye(WIDTH)[None, :, None, :], SHAPE).copy()
OF_HEADS = np.broadcast_to(np.eye(HEADS)[:, None, :, None], SHAPE).copy()


def _pairs(w):
    return w[:, :, None, None] * w[None, None]


def _eye():
    return jnp.broadcast_to(jnp.eye(WIDTH)[None, :, None, :], SHAPE)


def _total(x):
    return jnp.sum(jnp.tanh(x))


@jax.custom_jvp
def _masked(x):
    return x * jnp.asarray(EYE)


_masked.defjvp(lambda x, dx: (_masked(*x), _masked(*dx)))


def _scanned(start, function):
    return lax.scan(lambda a, x: (function(a, x), None), start, jnp.arange(3.0))[0]


# The mean over heads of what lies at one index of the width: no symmetry if each has its own order.
WRONG = {
    "trace": lambda w: _total(jnp.trace(_pairs(w), axis1=1, axis2=3)),
    "trace of sines": lambda w: _total(jnp.trace(jnp.sin(_pairs(w)), axis1=1, axis2=3)),
    "repeated index": lambda w: _total(jnp.einsum("hkgk->hg", _pairs(w))),
    "where": lambda w: _total(
        jnp.where(jnp.eye(WIDTH, dtype=bool)[None, :, None, :], _pairs(w), 1.0)
    ),
    "other entries": lambda w: _total(
        jnp.where(
            (jnp.arange(WIDTH)[:, None] != jnp.arange(WIDTH))[None, :, None, :], _pairs(w), 0.0
        )
    ),
    "kronecker": lambda w: _total(
        _pairs(w).reshape(HEADS * WIDTH, -1) * jnp.kron(jnp.ones((HEADS, HEADS)), jnp.eye(WIDTH))
    ),
    "broadcast": lambda w: _total(_pairs(w) * _eye()),
    "exponential": lambda w: _total(jnp.einsum("hkgl,hk,gl->hkgl", jnp.exp(_eye()), w, w)),
    "of NumPy": lambda w: _total(_pairs(w) * EYE),
    "hyperbolic": lambda w: _total(_pairs(w) * jnp.tanh(EYE)),
    "passed": lambda w: _total(jax.jit(lambda x, c: x * c)(_pairs(w), EYE)),
    "returned": lambda w: _total(jax.jit(lambda: jnp.asarray(EYE))() * _pairs(w)),
    "checkpoint": lambda w: _total(
        jax.checkpoint(lambda x: jnp.sin(x) * jnp.asarray(EYE))(_pairs(w))
    ),
    "custom derivative": lambda w: _total(_masked(_pairs(w))),
    "in a loop": lambda w: _total(
        _scanned(_pairs(w), lambda a, x: jnp.sin(a) * jnp.asarray(EYE) + x)
    ),
    "carried": lambda w: _total(_scanned(_eye(), lambda a, x: jnp.sin(a) * _pairs(w) + x * a)),
    "of a branch": lambda w: _total(
        lax.cond(w[0, 0] > 9, lambda x: x, lambda x: jnp.asarray(EYE), _pairs(w)) + _pairs(w)
    ),
    "transposing reshape": lambda w: _total(
        lax.reshape(_pairs(w), SHAPE, (0, 3, 2, 1)) * jnp.sin(_pairs(w))
    ),
    "transposing reshape, flat": lambda w: _total(
        lax.reshape(_pairs(w), (HEADS * WIDTH,) * 2, (0, 3, 2, 1))
        * jnp.sin(_pairs(w)).reshape(HEADS * WIDTH, -1)
    ),
    "transposing reshape, product": lambda w: jnp.sum(
        jnp.sin(lax.reshape(_pairs(w), (HEADS * WIDTH,) * 2, (0, 3, 2, 1)))
        @ jnp.tanh(w.reshape(-1))
    ),
}
RIGHT = {
    "all pairs": lambda w: _total(_pairs(w)),
    "pairs of the same head": lambda w: _total(jnp.einsum("hk,hl->hkl", w, w)),
    "a loop": lambda w: _total(_scanned(_pairs(w), lambda a, x: jnp.sin(a) + x)),
    "a call": lambda w: _total(jax.jit(jnp.sin)(_pairs(w))),
    "relu": lambda w: _total(jax.nn.relu(_pairs(w))),
    "ones": lambda w: _total(_pairs(w) * jnp.sin(jnp.ones(SHAPE))),
    "ones of NumPy, passed": lambda w: _total(
        jax.jit(lambda x, c: x + jnp.exp(c))(_pairs(w), np.ones(SHAPE))
    ),
    "pairs of heads told apart": lambda w: _total(_pairs(w) * OF_HEADS),
}


def _spec(loss):
    return infer_spec(loss, jnp.ones((HEADS, WIDTH)), nested=True)


@pytest.mark.parametrize("name", WRONG)
def test_heads_whose_indices_are_compared_share_an_order(name):
    assert ":1" not in _spec(WRONG[name]).nested


@pytest.mark.parametrize("name", RIGHT)
def test_heads_whose_indices_are_not_compared_do_not(name):
    assert len(_spec(RIGHT[name]).nested) == 1


@jax.enable_x64(True)
@pytest.mark.parametrize("name", [*WRONG, *RIGHT])
def test_what_is_found_is_a_symmetry(name):
    loss = (WRONG | RIGHT)[name]
    w = jnp.asarray(np.random.default_rng(0).normal(size=(HEADS, WIDTH)))
    spec = infer_spec(loss, w, nested=True)
    for seed in range(4):
        moved = spec.permute(w, spec.sample(jax.random.key(seed)))
        np.testing.assert_allclose(loss(moved), loss(w), rtol=1e-12)


@pytest.mark.parametrize("value", [lambda: jnp.asarray(EYE), lambda: jnp.sin(jnp.asarray(EYE))])
def test_a_state_that_becomes_a_constant_ties_as_well(value):
    def loss(w, state):
        return _total(_pairs(w) * state["m"]), {"m": value()}

    state = {"m": jnp.ones(SHAPE)}
    spec = infer_spec(loss, jnp.ones((HEADS, WIDTH)), state, state_argnum=0, nested=True)
    assert not spec.nested
