"""What a parameter is for, as channels: tied coefficients treat all tensors of a rank alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from unf_lopt.symmetry import Axis, PermutationSpec, spaces_of

ROLES = ("scalar", "bias", "scale", "weight", "kernel", "embedding", "first", "last")
_SCALE_NAMES = ("scale", "gamma", "gain")
_EMBEDDING_NAMES = ("embed", "embedding", "embeddings", "embeddings_table")


def roles_of(spec: PermutationSpec) -> dict[str, tuple[str, ...]]:
    """The roles of every parameter, by its path.

    By its axes: none of them longer than 1 makes a scalar; one a bias, or a scale where the name
    says so; two or more a weight, or a kernel where two of four or more are fixed (space
    before channels). A weight that begins with a fixed axis is a first one, one that ends with it a
    last one, as is its bias; an embedding is one by its name.
    """
    return {
        path: tuple(_roles(path, axes, spec.fixed))
        for path, axes in zip(spec.paths, spec.axes, strict=True)
    }


def role_features(spec: PermutationSpec, features: Any) -> Any:
    """Features with a channel for each of ``ROLES``, 1 where a parameter has it, after their own.

    Args:
      spec: the weight space.
      features: a tree of it, leaves ``[*parameter.shape, channels]``.

    Returns:
      A tree of leaves ``[*parameter.shape, channels + len(ROLES)]``. Permutations leave the new
      channels as they are.

    Raises:
      SpecError: the tree does not fit the spec.
    """
    leaves, unflatten = spec.flatten(features)
    extended = []
    for leaf, code in zip(leaves, role_codes(spec), strict=True):
        code = code.astype(leaf.dtype)
        shape = (*leaf.shape[:-1], len(ROLES))
        extended.append(jnp.concatenate([leaf, jnp.broadcast_to(code, shape)], axis=-1))
    return unflatten(extended)


def role_codes(spec: PermutationSpec) -> list[Float32[np.ndarray, " roles"]]:
    """For every parameter, as ``spec.paths`` has them: 1 for each of ``ROLES`` it has, else 0."""
    return [
        np.array([role in roles for role in ROLES], np.float32) for roles in roles_of(spec).values()
    ]


def _roles(path: str, axes: Sequence[Axis], fixed: frozenset[str]) -> list[str]:
    spaces = [set(spaces_of(axis)) for axis in axes]
    is_fixed = [own <= fixed for own in spaces if own]  # an axis of size 1 has no space
    name = path.rpartition("/")[2].lower()
    if not is_fixed:
        return ["scalar"]
    if len(is_fixed) == 1:
        found = "scale" if name in _SCALE_NAMES else "bias"
        return [found, "last"] if is_fixed[0] else [found]
    if name in _EMBEDDING_NAMES:
        return ["embedding"]
    is_kernel = len(is_fixed) >= 4 and sum(is_fixed) >= 2
    roles = ["kernel" if is_kernel else "weight"]
    first, last = is_fixed[-2 if is_kernel else 0], is_fixed[-1]
    if first and not last:
        roles.append("first")
    if last and not first:
        roles.append("last")
    return roles
