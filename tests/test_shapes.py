"""The tests check the shapes that signatures state: see tests/conftest.py."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from tests import shapes
from unf_lopt.evaluation.speed import to_target
from unf_lopt.optimizers.hypergradient import initial_scalars, next_log_factors

TIME = jnp.zeros(()), jnp.zeros(())


def test_an_array_of_another_shape_is_refused():
    """It could be broadcast, and nobody would notice."""

    def following(agreement):
        return next_log_factors(jnp.zeros(3), agreement, initial_scalars(), TIME)

    for function in (following, jax.jit(following)):
        assert function(jnp.ones(3)).shape == (3,)
        with pytest.raises(TypeCheckError, match="'agreement'"):
            function(jnp.ones(1))


def test_so_is_one_of_numpys():
    steps, losses = np.array([0, 5, 10]), np.array([[3.0, 2, 1], [3, 2, 0]])
    assert to_target(steps, losses, losses) is not None
    with pytest.raises(TypeCheckError, match="'theirs'"):
        to_target(steps, losses, losses[:1])


def test_all_that_states_shapes_is_checked():
    """A module that is imported before the hook is there would be left out in silence."""
    stating = shapes.modules()
    assert len(stating) > 20
    loaders = {name: importlib.import_module(name).__spec__.loader for name in stating}
    unchecked = [name for name, own in loaders.items() if "jaxtyping" not in type(own).__module__]
    assert not unchecked
