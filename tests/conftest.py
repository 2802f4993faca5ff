"""What holds for every test."""

import os
import pathlib

import gin
import pytest
from absl import flags
from hypothesis import settings

# TensorFlow only reads data here; its start-up messages tell nothing.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
# The suite compiles many small programs and runs each a few times: compiling is what takes time.
# XLA's older emitter of loops, in one module, takes a fifteenth of the newer one's time for large
# programs.
COMPILES_FAST = (
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=1",
)
os.environ.setdefault("XLA_FLAGS", " ".join(COMPILES_FAST))

# What one process has compiled, the next need not, nor the next file of the same process: most
# programs are small ones that many tests share.
CACHE = pathlib.Path(__file__).parent.parent / ".jax_cache"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

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
    import jax  # after the flags above

    jax.clear_caches()
