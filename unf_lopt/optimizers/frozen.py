"""Parameters that are not trained: left out of what the optimizer sees, keeps and changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

import jax
import jax.numpy as jnp

from unf_lopt._types import PyTree
from unf_lopt.symmetry import PermutationSpec, leaf_paths, spaces_of

Frozen = Collection[str] | Callable[[str], bool]


def is_frozen(frozen: Frozen, path: str) -> bool:
    """Whether the parameter of a path is frozen.

    Args:
      frozen: paths or the beginnings of paths, each whole parts of one (``"encoder"`` freezes
        ``encoder/w`` and not ``encoder_2/w``), or a function of the path.
      path: such as ``mlp/~/linear_0/w``.
    """
    if callable(frozen):
        return bool(frozen(path))
    return any(f"{path}/".startswith(f"{prefix.rstrip('/')}/") for prefix in frozen)


def trainable(tree: PyTree, frozen: Frozen) -> PyTree:
    """A tree with nothing (None, which JAX takes for an empty subtree) where it is not trained.

    Neither frozen parameters are trained nor those without entries.
    """
    leaves, treedef = jax.tree.flatten(tree)
    kept = [
        None if math.prod(jnp.shape(leaf)) == 0 or is_frozen(frozen, path) else leaf
        for path, leaf in zip(leaf_paths(tree), leaves, strict=True)
    ]
    return jax.tree.unflatten(treedef, kept)


def with_frozen(updated: PyTree, params: PyTree) -> PyTree:
    """The updated parameters, and those given where a tree of :func:`trainable` has none."""
    return jax.tree.map(
        lambda new, old: old if new is None else new, updated, params, is_leaf=lambda x: x is None
    )


def trainable_spec(spec: PermutationSpec, frozen: Frozen) -> PermutationSpec:
    """The weight space of the trainable parameters alone, with the spaces that they have.

    Raises:
      ValueError: all parameters are frozen, or a path freezes none.
    """
    check_paths(spec.paths, frozen)
    kept = [path for path in spec.paths if not is_frozen(frozen, path)]
    if not kept:
        raise ValueError(f"frozen={frozen!r} freezes all parameters: {list(spec.paths)}.")
    return present_spec(spec, kept)


def present_spec(spec: PermutationSpec, paths: Collection[str]) -> PermutationSpec:
    """The weight space of some of the parameters, with the spaces that they have."""
    kept = {path: axes for path, axes in zip(spec.paths, spec.axes, strict=True) if path in paths}
    if len(kept) == len(spec.paths):
        return spec
    used = {space for axes in kept.values() for axis in axes for space in spaces_of(axis)}
    sizes = tuple(item for item in spec.sizes if item[0] in used)
    nesting = tuple(item for item in spec.nesting if item[0] in used)
    return PermutationSpec(tuple(kept), tuple(kept.values()), sizes, spec.fixed & used, nesting)


def frozen_paths(frozen: Frozen, paths: Collection[str]) -> tuple[str, ...]:
    """What is frozen as paths: a function is asked about every parameter."""
    if callable(frozen):
        return tuple(path for path in paths if is_frozen(frozen, path))
    return tuple(frozen)


def tree_paths(tree: PyTree) -> frozenset[str]:
    """The paths of a tree's leaves."""
    return frozenset(leaf_paths(tree))


def check_frozen(frozen: Frozen) -> Frozen:
    """Refuses what is neither paths nor a function of a path; a list becomes a tuple.

    Raises:
      ValueError: it is a single text, which would be taken letter by letter.
      TypeError: it is something else.
    """
    if isinstance(frozen, str):
        raise ValueError(f"frozen={frozen!r}: pass a tuple of paths, ({frozen!r},).")
    if callable(frozen):
        return frozen
    if not isinstance(frozen, Collection) or not all(isinstance(path, str) for path in frozen):
        raise TypeError(f"frozen={frozen!r}: pass a tuple of paths, or a function of a path.")
    return tuple(frozen)


def check_real(trained: PyTree, name: str) -> None:
    """Refuses complex parameters, whose squares and products would be taken for others.

    Raises:
      ValueError: naming the first and the optimizer.
    """
    for path, leaf in zip(leaf_paths(trained), jax.tree.leaves(trained), strict=True):
        if jnp.issubdtype(jnp.result_type(leaf), jnp.complexfloating):
            raise ValueError(
                f"{name}: parameter '{path}' is complex; give its real and imaginary parts as two "
                f"arrays, or leave it out by frozen=({path!r},)."
            )


def check_paths(paths: Collection[str], frozen: Frozen) -> None:
    """Refuses a path that freezes nothing.

    Raises:
      ValueError: naming it and the parameters.
    """
    for prefix in () if callable(frozen) else frozen:
        if not any(is_frozen((prefix,), path) for path in paths):
            raise ValueError(
                f"frozen: {prefix!r} is no parameter and the beginning of none; there are "
                f"{sorted(paths)}."
            )
