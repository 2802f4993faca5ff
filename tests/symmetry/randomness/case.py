"""Losses with two random draws, and what is known of these."""

import jax
import jax.numpy as jnp
import pytest
from jax import random

from unf_lopt.symmetry import PermutationSpec

N = 6
TYPED, RAW = random.key(3), random.PRNGKey(3)
BOTH = (TYPED, RAW)
FREE, TIED, FROZEN = "free", "tied", "frozen"
CASES = []


def case(relation, b=N, provable=True, keys=(TYPED,)):
    """A loss of params and a key with two draws, of N and of b numbers, and how they are related.

    ``provable=False``: were keys not followed, the numbers would not show it, since the relation
    is assumed for safety, or comes from what is done with the draws.
    """

    def register(loss):
        for key in keys:
            name = f"{loss.__name__}-{key.dtype}"
            CASES.append(pytest.param(loss, relation, b, provable, key, id=name))
        return loss

    return register


def params_of(b):
    return {"a": array(N), "b": array(b)}


def array(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def meet(params, u, v):
    """Each draw meets a parameter of its own, entry by entry."""
    return jnp.sum(jnp.sin(params["a"] * u)) + jnp.sum(jnp.cos(params["b"] * v)) ** 2


def expected(relation, b=N):
    a_name, b_name = ("x", "x") if relation == TIED else ("x", "y")
    fixed = (a_name, b_name) if relation == FROZEN else ()
    return PermutationSpec.from_names({"a": (a_name,), "b": (b_name,)}, params_of(b), fixed=fixed)
