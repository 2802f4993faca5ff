"""Members and groups of convolutions, pools and lookups have channels in an order of their own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.symmetry.inference.nesting import RNG, arrays, nested_of
from unf_lopt import infer_spec

IMAGES = RNG.normal(size=(2, 5, 5, 3))
TOKENS = np.array([[0, 2, 1], [3, 3, 0]])
NHWC = ("NHWC", "HWIO", "NHWC")


def convolve(x, w, groups=1):
    return lax.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=NHWC, feature_group_count=groups
    )


def pooled(x, reduce=lax.max, start=-jnp.inf):
    return lax.reduce_window(x, start, reduce, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def member(params, x, pool=lambda x: x.mean((1, 2))):
    hidden = jnp.tanh(convolve(x, params["first"]))
    return jnp.tanh(pool(jnp.tanh(convolve(hidden, params["second"])))) @ params["out"]


def ensemble(params, x, **options):
    logits = jax.vmap(lambda own: member(own, x, **options))(params)
    return jnp.sum(jnp.tanh(logits.mean(0)) ** 2)


def members(count=3):
    return arrays(first=(count, 3, 3, 3, 4), second=(count, 2, 2, 4, 5), out=(count, 5, 6))


@pytest.mark.parametrize(
    "pool",
    [
        lambda x: x.mean((1, 2)),
        lambda x: pooled(x).max((1, 2)),
        lambda x: pooled(x, lax.add, 0.0).reshape(2, -1, x.shape[-1]).sum(1),
    ],
)
def test_channels_of_an_ensemble_are_nested_in_its_members(pool):
    found = nested_of(lambda p, x: ensemble(p, x, pool=pool), members(), IMAGES)
    (outer,) = {space for outers in found.values() for space in outers}
    assert len(found) == 2 and outer.endswith(":0")


def test_so_they_are_where_members_are_no_group_having_images_of_their_own():
    images = RNG.normal(size=(3, *IMAGES.shape))

    def loss(params, x):
        return jnp.sum(jnp.tanh(jax.vmap(member)(params, x).mean(0)) ** 2)

    assert nested_of(loss, members(), images) == {"first:4": ("first:0",), "out:1": ("first:0",)}
    assert "first:0" not in infer_spec(loss, members(), images).groups


def grouped(params, x, mix=lambda x: x):
    """Groups of a hidden layer's channels, each convolved alone."""
    hidden = jnp.tanh(jnp.einsum("nhwc,cgk->nhwgk", x, params["first"]))
    hidden = mix(hidden).reshape(*x.shape[:-1], -1)
    hidden = jnp.tanh(convolve(hidden, params["second"].reshape(2, 2, 4, -1), groups=3))
    out = hidden.mean((1, 2)).reshape(len(x), 3, 5)
    return jnp.sum(jnp.tanh(jnp.einsum("ngk,gko->no", out, params["out"])) ** 2)


def groups():
    return arrays(first=(3, 3, 4), second=(2, 2, 4, 3, 5), out=(3, 5, 6))


@pytest.mark.parametrize(
    "mix, count",
    [
        (lambda x: x, 2),
        (lambda x: jax.nn.standardize(x, -1), 2),
        # What all groups share ties the channels before it, and those after it not.
        (lambda x: x + jnp.arange(4.0), 1),
        (lambda x: x - x.mean(-2, keepdims=True), 1),
        (lambda x: x @ TURN, 1),
    ],
)
def test_channels_of_a_grouped_convolution_are_nested_in_the_groups(mix, count):
    assert len(nested_of(lambda p, x: grouped(p, x, mix), groups(), IMAGES)) == count


TURN = RNG.normal(size=(4, 4))


def test_channels_that_all_groups_see_are_not_nested():
    def loss(params, x):
        hidden = jnp.tanh(jnp.einsum("nhwc,cgk->nhwgk", x, params["first"]))
        kernel = params["second"]  # one for all groups
        each = jax.vmap(lambda own: convolve(own, kernel), 3, 3)(hidden)
        return jnp.sum(jnp.tanh(jnp.einsum("nhwgk,gko->no", each, params["out"])) ** 2)

    params = arrays(first=(3, 3, 4), second=(2, 2, 4, 5), out=(3, 5, 6))
    assert not nested_of(loss, params, IMAGES)


def lookup(params, tokens, table=lambda table, tokens: table[tokens]):
    """Heads that embed tokens each in an order of its own."""
    hidden = jnp.tanh(table(params["table"], tokens))
    out = jnp.einsum("bthk,hko->bo", hidden, params["out"])
    return jnp.sum(jnp.tanh(out) ** 2)


@pytest.mark.parametrize(
    "table",
    [
        lambda table, tokens: table[tokens],
        lambda table, tokens: jnp.take(table, tokens, axis=0, mode="clip"),
        lambda table, tokens: lax.dynamic_slice(table, (tokens[0, 0], 0, 0), (2, 3, 4))[None],
        lambda table, tokens: lax.dynamic_update_slice(table, table[:2], (3, 0, 0))[tokens],
    ],
)
def test_units_that_are_looked_up_are_nested_in_their_heads(table):
    params = arrays(table=(6, 3, 4), out=(3, 4, 2))
    found = nested_of(lambda p, tokens: lookup(p, tokens, table), params, TOKENS)
    assert len(found) == 1


@pytest.mark.parametrize(
    "read",
    [
        lambda x: jnp.diagonal(x, axis1=-2, axis2=-1),
        lambda x: x[..., jnp.arange(3), jnp.arange(3)],
    ],
)
def test_a_diagonal_ties_the_order_of_all_heads(read):
    def loss(params):
        return jnp.sum(jnp.tanh(jnp.tanh(read(params["w"])) @ params["out"]) ** 2)

    assert not nested_of(loss, arrays(w=(3, 3), out=(3, 2)))
