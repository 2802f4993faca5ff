"""The law that every layer and optimizer obeys, as a check on numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unf_lopt.symmetry._errors import SymmetryError
from unf_lopt.symmetry._spec import PermutationSpec


def random_features(
    spec: PermutationSpec, key: jax.Array, channels: int, dtype: Any = None
) -> dict[str, jax.Array]:
    """Standard normal features of a weight space: ``{path: [*parameter.shape, channels]}``."""
    keys = jax.random.split(key, len(spec.paths))
    return {
        path: jax.random.normal(subkey, (*shape, channels), dtype or jnp.result_type(float))
        for subkey, path, shape in zip(keys, spec.paths, spec.shapes, strict=True)
    }


def assert_equivariant(
    fn: Callable[[Any], Any],
    spec: PermutationSpec,
    key: jax.Array,
    *,
    features: Any = None,
    channels: int = 1,
    tolerance: float | None = None,
) -> None:
    """Checks ``fn(permute(x)) == permute(fn(x))`` for a random group element.

    Args:
      fn: a map from a tree of this weight space to another one of it.
      spec: the symmetry.
      key: a JAX random key, for the permutation and, where none are given, the features.
      features: a tree with leaves ``[*parameter.shape, channels]``; by default standard normal,
        keyed by the spec's paths.
      channels: how many channels the default features have.
      tolerance: largest admissible ratio of deviation to the largest output of a tensor; by
        default 1e-12 in float64 and 1e-5 in float32.

    Raises:
      SymmetryError: naming the tensor with the largest deviation, and its size.
    """
    features_key, permutation_key = jax.random.split(key)
    if features is None:
        features = random_features(spec, features_key, channels)
    permutation = jax.device_get(spec.sample(permutation_key))

    def permuted(tree: Any) -> Any:
        return jax.tree.map(jnp.asarray, spec.permute(jax.device_get(tree), permutation))

    # Compared by NumPy, which compiles nothing for the shapes of every weight space.
    expected, _ = spec.flatten(jax.device_get(permuted(fn(features))))
    found, _ = spec.flatten(jax.device_get(fn(permuted(features))))
    worst_ratio, worst_path = -1.0, ""
    for path, a, b in zip(spec.paths, expected, found, strict=True):
        scale = float(np.max(np.abs(a))) or 1.0
        ratio = float(np.max(np.abs(a - b))) / scale
        if not ratio <= worst_ratio:  # also catches NaN
            worst_ratio, worst_path = ratio, path
    if tolerance is None:
        tolerance = 1e-12 if np.dtype(expected[0].dtype).itemsize >= 8 else 1e-5
    if not worst_ratio <= tolerance:
        raise SymmetryError(
            f"not equivariant: permuting input and output differ at '{worst_path}' by "
            f"{worst_ratio:.1e} of its largest entry (tolerance {tolerance:.0e})."
        )
