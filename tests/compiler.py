"""Settings with which JAX compiles fast, for what runs many small programs a few times each.

To be imported before JAX.
"""

import importlib.metadata
import os
import pathlib

FLAGS = [
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_parallel_codegen_split_count=1",
]
# XLA's older emitter of loops, in one module, takes a fifteenth of the newer one's time for large
# programs. Later versions have it no more, and end at a flag that they do not know.
if tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2])) < (0, 11):
    FLAGS.append("--xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("XLA_FLAGS", " ".join(FLAGS))

# Where in the source an operation comes from, for each a walk through the stack, nobody reads here.
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")

# What one process has compiled, the next need not, nor the next file of the same process: most
# programs are small ones that many tests share.
CACHE = pathlib.Path(__file__).parent.parent / ".jax_cache"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
