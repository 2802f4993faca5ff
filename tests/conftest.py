"""What holds for every test."""

import gc
import os
import pathlib

import gin
import pytest
from absl import flags
from hypothesis import settings
from jaxtyping import install_import_hook

import tests.compiler  # noqa: F401 (before JAX)
from tests import shapes

# TensorFlow only reads data here; its start-up messages tell nothing.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
# The first example of a shape compiles, so a deadline would measure XLA. A run on a machine that
# nobody watches must fail or pass the same way twice.
settings.register_profile("default", deadline=None, max_examples=30, derandomize="CI" in os.environ)
settings.register_profile("thorough", settings.get_profile("default"), max_examples=200)
settings.load_profile("default")

# What tracing makes is mostly no garbage, and is searched for it less often.
gc.set_threshold(20_000, 20, 20)

# Where signatures state shapes, every call of a test is checked against them.
install_import_hook(shapes.modules(), "tests.shapes.checked")

# Above these a process lets go of its compiled programs: Linux bounds the mappings, of which each
# program takes some.
MOST_BYTES, MOST_MAPPINGS = 3 * 2**30, 20_000


@pytest.fixture(autouse=True)
def no_configuration_is_left_behind():
    """gin's configuration and absl's flags are global: the next test must not see them."""
    yield
    gin.clear_config()
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()


@pytest.fixture(scope="module", autouse=True)
def _bounded_memory():
    """Small compiled programs serve many files; but they take memory, and are thousands."""
    yield
    if _is_full():
        import jax  # after the settings above

        jax.clear_caches()


def _is_full():
    """Whether this process holds much; so where the system does not tell."""
    own = pathlib.Path("/proc/self")
    try:
        pages = int((own / "statm").read_text().split()[1])
        mappings = (own / "maps").read_text().count("\n")
    except OSError:
        return True
    return pages * os.sysconf("SC_PAGE_SIZE") > MOST_BYTES or mappings > MOST_MAPPINGS
