"""Which groups have permutations of their own for each head, expert or scanned layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.symmetry.inference.nesting import RNG, arrays, nested_of
from tests.symmetry.zoo.catalogue import CASES
from unf_lopt import infer_spec, verify_spec
from unf_lopt.symmetry import SymmetryError

BUILDERS = {case.name: case.build for case in CASES}
X = RNG.normal(size=(2, 5, 4))
TURN = np.eye(3)[::-1]


# In the zoo: what is nested in what.
FOUND = {
    "attention/packed_then_split": {"out:0.1": ("out:0.0",), "qkv:1.1": ("out:0.0",)},
    "attention/grouped_query": {
        "k:1.1": ("k:1.0",),
        "out:0.1": ("k:1.0",),
        "out:0.2": ("k:1.0",),
    },
    "attention/talking_heads": {"k:1.1": ("before:0",), "out:0.1": ("after:1",)},
    "experts/mixture_of_experts": {"bias:1": ("bias:0",)},
    "training/scanned_layers": {"blocks/down/w:1": ("blocks/down/b:0",)},
    "libraries/haiku_attention": {
        "multi_head_attention/key/b:0.1": ("multi_head_attention/key/b:0.0",),
        "multi_head_attention/linear/w:0.1": ("multi_head_attention/key/b:0.0",),
    },
    # Nothing of a width whose positions count, nor of one that all heads share.
    "attention/rotary": {"out:0.1": ("k:1.0",)},
    "attention/multi_query": {},
}


@pytest.mark.parametrize("name", FOUND)
@pytest.mark.parametrize("size", ["", "/all-8"])
def test_what_is_nested_in_the_zoo(name, size):
    if name + size not in BUILDERS:
        pytest.skip("in one size only")
    problem = BUILDERS[name + size]()
    found = nested_of(problem.loss_fn, problem.params, *problem.args, **problem.loss_options)
    assert found == FOUND[name]


def attend(params, x, mix=lambda logits: logits):
    q, k, v = (jnp.einsum("btd,dhw->bthw", x, params[name]) for name in "qkv")
    weights = jax.nn.softmax(mix(jnp.einsum("bthw,bshw->bhts", q, k)))
    return jnp.einsum("bhts,bshw->bthw", weights, v)


def attention_params(**more):
    each = {name: (4, 3, 2) for name in "qkv"}
    return arrays(**each, out=(3, 2, 4), **more)


def close(params, attended):
    return jnp.sum(jnp.tanh(jnp.einsum("bthw,hwd->btd", attended, params["out"])) ** 2)


BOTH, KEYS, NONE = {"k:2", "out:1"}, {"k:2"}, set()


def mixed(p, x, function):
    return close(p, function(attend(p, x)))


def branched(p, x):
    attended = attend(p, x)
    return jax.lax.cond(
        x[0, 0, 0] > 1e9, lambda: close(p, attended[:, :, ::-1]), lambda: close(p, attended)
    )


@pytest.mark.parametrize(
    "more, loss, expected",
    [
        ({}, lambda p, x: close(p, attend(p, x)), BOTH),
        # One bias or matrix of the width for all heads ties them.
        ({"b": (2,)}, lambda p, x: mixed(p, x, lambda a: a + p["b"]), KEYS),
        ({"b": (3, 2)}, lambda p, x: mixed(p, x, lambda a: a + p["b"]), {"k:2", "b:1"}),
        ({"m": (2, 2)}, lambda p, x: mixed(p, x, lambda a: jnp.tanh(a @ p["m"])), KEYS),
        # So does whatever goes across heads at one index of the width.
        ({}, lambda p, x: mixed(p, x, lambda a: a - a.mean(2, keepdims=True)), KEYS),
        ({}, lambda p, x: mixed(p, x, lambda a: jax.nn.softmax(a, 2)), KEYS),
        ({}, lambda p, x: mixed(p, x, lambda a: jnp.cumsum(a, 2)), KEYS),
        ({}, lambda p, x: mixed(p, x, lambda a: a[:, :, ::-1]), KEYS),
        ({}, lambda p, x: mixed(p, x, lambda a: jnp.sort(a, 2)), KEYS),
        ({}, lambda p, x: mixed(p, x, lambda a: jnp.einsum("bthw,gh->btgw", a, TURN)), KEYS),
        # Heads that are cut apart are no space.
        ({}, lambda p, x: mixed(p, x, lambda a: jnp.roll(a, 1, 2)), NONE),
        # Norms within a head, and over all units, tie nothing.
        ({}, lambda p, x: mixed(p, x, lambda a: jax.nn.standardize(a, -1)), BOTH),
        ({}, lambda p, x: mixed(p, x, lambda a: jax.nn.standardize(a, (-2, -1))), BOTH),
        # A branch that is not taken counts as well.
        ({}, branched, KEYS),
    ],
)
def test_heads_of_an_attention(more, loss, expected):
    assert nested_of(loss, attention_params(**more), X).keys() == expected


def scanned(params, x, body):
    return jnp.sum(jax.lax.scan(body, x, params)[0] ** 2)


def test_heads_within_scanned_layers_are_nested_in_both():
    params = arrays(**{name: (2, 4, 3, 5) for name in "qkv"}, out=(2, 3, 5, 4))

    def body(h, layer):
        return h + jnp.einsum("bthw,hwd->btd", attend(layer, h), layer["out"]), None

    found = nested_of(lambda p, x: scanned(p, x, body), params, X)
    assert found == {
        "k:2": ("k:0",),
        "k:3": ("k:0", "k:2"),
        "out:2": ("k:0", "k:2"),
    }


def test_units_that_layers_carry_on_are_not_nested():
    params = arrays(up=(3, 4, 6), down=(3, 6, 4), recurrent=(3, 6, 6))

    def body(carry, layer):
        h, units = carry
        units = jnp.tanh(h @ layer["up"] + units @ layer["recurrent"])
        return (h + units @ layer["down"], units), None

    def loss(params, x):
        (h, _), _ = jax.lax.scan(body, (x, jnp.ones((2, 5, 6))), params)
        return jnp.sum(h**2)

    assert nested_of(loss, params, X) == {}


def test_units_with_two_axes_in_a_scanned_layer_are_nested():
    params = arrays(up=(3, 4, 6), down=(3, 6, 4), recurrent=(3, 6, 6))

    def body(h, layer):
        units = jnp.tanh(jnp.tanh(h @ layer["up"]) @ (layer["recurrent"] + jnp.eye(6)))
        return h + units @ layer["down"] + jnp.trace(layer["recurrent"]), None

    found = nested_of(lambda p, x: scanned(p, x, body), params, X)
    assert found == {"down:1": ("down:0",)}


def test_channels_of_a_group_norm_are_nested_in_the_groups():
    params = arrays(first=(4, 6), residual=(6, 6), scale=(6,), last=(6, 1))

    def norm(h):
        groups = h.reshape(*h.shape[:-1], 3, 2)
        return jax.nn.standardize(groups, -1).reshape(h.shape)

    def loss(params, x):
        h = x @ params["first"]
        h = h + jnp.tanh(norm(h) * params["scale"]) @ params["residual"]
        return jnp.sum(jnp.tanh(norm(h)) @ params["last"])

    assert nested_of(loss, params, X) == {"first:1.1": ("first:1.0",)}


def test_constants_that_tie_pairs_are_told_apart():
    """A mask that lets units of different heads meet at one width allows one permutation only."""
    params = arrays(first=(4, 6), mixed=(6, 6), last=(6, 1))
    mask = np.einsum("hg,kl->hkgl", np.ones((3, 3)), np.eye(2))

    def loss(params, x):
        mixed = (params["mixed"].reshape(3, 2, 3, 2) * mask).reshape(6, 6)
        return jnp.sum(jnp.tanh(jnp.tanh(x @ params["first"]) @ mixed) @ params["last"])

    nested_of(loss, params, X)


def test_a_wrong_nesting_is_refuted():
    problem = BUILDERS["attention/relative_positions"]()
    spec = infer_spec(problem.loss_fn, problem.params, *problem.args)
    wrong = spec.nest({"k:1.1": "in:1"})
    with pytest.raises(SymmetryError, match=r"permuting group 'k:1\.1' alone"):
        verify_spec(wrong, problem.loss_fn, problem.params, *problem.args, maximality=False)


def test_a_verification_tells_what_it_tested():
    problem = BUILDERS["experts/mixture_of_experts"]()
    spec = infer_spec(problem.loss_fn, problem.params, *problem.args, nested=True)
    found = verify_spec(spec, problem.loss_fn, problem.params, *problem.args)
    assert found.maximal == "maximal"
    assert "nested group 'bias:1'" in found.searched[0] and "bias:0" in found.searched[0]
    with pytest.raises(ValueError, match="only the law for every key"):
        options = {"randomness": "in_distribution"}
        verify_spec(spec, problem.loss_fn, problem.params, *problem.args, **options)
    with pytest.raises(ValueError, match="does not go with within"):
        infer_spec(problem.loss_fn, problem.params, *problem.args, nested=True, within=spec)
