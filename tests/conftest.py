"""What holds for every test."""

import os

import gin
import pytest
from absl import flags
from hypothesis import settings

import tests.compiler  # noqa: F401 (before JAX)

# TensorFlow only reads data here; its start-up messages tell nothing.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
# The first example of a shape compiles, so a deadline would measure XLA. A run on a machine that
# nobody watches must fail or pass the same way twice.
settings.register_profile("default", deadline=None, max_examples=30, derandomize="CI" in os.environ)
settings.load_profile("default")


@pytest.fixture(autouse=True)
def no_configuration_is_left_behind():
    """gin's configuration and absl's flags are global: the next test must not see them."""
    yield
    gin.clear_config()
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()


@pytest.fixture(scope="module", autouse=True)
def _bounded_memory():
    """Compiled programs of one file are of no use to the next, and there are thousands."""
    yield
    import jax  # after the settings above

    jax.clear_caches()
