"""Roles of parameters: what they are told by, and that they are features like others."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.layers.random_arrays import random_params, random_tree
from tests.strategies import from_axes
from unf_lopt import assert_equivariant
from unf_lopt.layers import ROLES, TiedLinear, role_features, roles_of

SPEC = from_axes(
    {
        "embed/embeddings": ("words", "h"),
        "conv/w": ("row", "row", "pixels", "c"),
        "conv_1/w": ("row", "row", "c", "h"),
        "linear/w": ("pixels", "h"),
        "linear/b": ("h",),
        "norm/scale": ("h",),
        "inner/w": ("h", "c"),
        "head/w": ("h", "classes"),
        "head/b": ("classes",),
        "temperature": (),
    },
    fixed={"words", "row", "pixels", "classes"},
    sizes={"words": 5, "h": 4, "row": 3, "pixels": 2, "c": 3, "classes": 2},
)


def test_roles_by_axes_and_names():
    assert roles_of(SPEC) == {
        "embed/embeddings": ("embedding",),
        "conv/w": ("kernel", "first"),
        "conv_1/w": ("kernel",),
        "linear/w": ("weight", "first"),
        "linear/b": ("bias",),
        "norm/scale": ("scale",),
        "inner/w": ("weight",),
        "head/w": ("weight", "last"),
        "head/b": ("bias", "last"),
        "temperature": ("scalar",),
    }


def test_they_are_channels_that_permutations_leave_alone():
    with jax.enable_x64(True):
        layer = TiedLinear(SPEC, 2)
        params = random_params(layer, 0, 1 + len(ROLES))
        apply = jax.jit(lambda x: layer.apply(params, role_features(SPEC, x)))
        features = random_tree(SPEC, 2, 1)
        assert_equivariant(apply, SPEC, jax.random.key(1), features=features)
        codes = role_features(SPEC, features)["head/w"][..., 1:]
        expected = [role in ("weight", "last") for role in ROLES]
        np.testing.assert_array_equal(codes, jnp.broadcast_to(jnp.array(expected), codes.shape))
