"""NumPy or JAX: whose functions an array takes."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np


def namespace(*arrays: Any) -> Any:
    """``numpy`` where all arrays are NumPy's, so that nothing is compiled; else ``jax.numpy``."""
    return np if all(isinstance(array, np.ndarray) for array in arrays) else jnp
