"""What the leaves of a tree are called, whatever containers a library puts them into.

Weight spaces are compared by the names and shapes of their leaves, never by tree definitions: two
equal dictionaries, frozen dictionaries, named tuples or dataclasses have different definitions, and
those of a class that holds data without ``__eq__`` differ even from themselves. ``None`` and empty
containers have no leaves, so they do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax

from unf_lopt._types import PyTree
from unf_lopt.symmetry._errors import SpecError

# Under these attributes a box around a single array holds it: ``flax.nnx.Param``,
# ``flax.linen.Partitioned``.
_BOXED = ("value", "raw_value")


def path_string(path: tuple[Any, ...]) -> str:
    """The path of a leaf as a person writes it: ``mlp/~/linear_0/w``.

    Keys of dictionaries, attributes and indices are written alike, and the attribute under which a
    box such as ``flax.nnx.Param`` holds its array is left out. From its path alone a box cannot
    be told from a node of a user's own that has several attributes, one of them called ``value``;
    :func:`leaf_paths` looks at the whole tree and tells them apart.

    Args:
      path: the keys, as ``jax.tree_util.tree_flatten_with_path`` gives them.

    Returns:
      The keys as text, joined by slashes; empty for a tree that is a single leaf.
    """
    return _joined(path[:-1] if path and _is_box(path[-1]) else path)


def leaf_paths(tree: PyTree, is_leaf: Any = None) -> tuple[str, ...]:
    """What a spec calls the leaves of a tree, in the order in which JAX flattens it.

    Args:
      tree: any tree. ``None`` and empty containers have no leaves.
      is_leaf: as ``jax.tree.leaves`` takes it.

    Returns:
      For every leaf its path, as :func:`path_string` writes it; but the last key is left out only
      if the node that has it has no other leaf.

    Raises:
      SpecError: two leaves have the same path, as ``{"a/b": x, "a": {"b": y}}`` has them.
    """
    with_paths, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_leaf)
    plain = [_joined(path) for path, _ in with_paths]
    siblings = _leaves_below([path.rpartition("/")[0] for path in plain], plain)
    paths = tuple(
        path_string(path) if count == 1 else full
        for (path, _), full, count in zip(with_paths, plain, siblings, strict=True)
    )
    if len(set(paths)) < len(paths):
        twice = sorted({path for path in paths if paths.count(path) > 1})
        raise SpecError(f"two leaves of the tree have the same path: {twice}.")
    return paths


def leaf_keys(paths: Sequence[str]) -> list[str]:
    """Names by which leaves are the same, however they are boxed; all different if the paths are.

    Args:
      paths: the paths of all leaves of a tree.

    Returns:
      For every path what is left without the keys of boxes at its end: ``value``, and ``0`` where
      it is the only leaf of its node, for boxes that do not tell the names of their attributes.
    """
    return [_unboxed(path, paths) for path in paths]


def match(expected: Sequence[str], given: Sequence[str]) -> list[int | None]:
    """Which of the given leaves is each of the expected ones.

    Args:
      expected: the paths of one tree.
      given: the paths of another one.

    Returns:
      For every expected path the position of the same leaf in ``given``, or None.
    """
    if expected == given:
        return list(range(len(given)))
    positions = {key: position for position, key in enumerate(leaf_keys(given))}
    return [positions.get(key) for key in leaf_keys(expected)]


def unmatched(
    expected: Sequence[str], given: Sequence[str], places: Sequence[int | None]
) -> tuple[list[str], list[str]]:
    """The expected paths that nothing matches, and the given ones that match nothing."""
    missing = [path for path, place in zip(expected, places, strict=True) if place is None]
    used = set(places)
    return missing, [path for place, path in enumerate(given) if place not in used]


def _joined(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _is_box(key: Any) -> bool:
    return isinstance(key, jax.tree_util.GetAttrKey) and key.name in _BOXED


def _leaves_below(nodes: Sequence[str], paths: Sequence[str]) -> list[int]:
    """How many of the paths lie below each node."""
    counts: dict[str, int] = {}
    for path in paths:
        while path:
            path = path.rpartition("/")[0]
            counts[path] = counts.get(path, 0) + 1
    return [counts.get(node, 0) for node in nodes]


def _unboxed(path: str, paths: Sequence[str]) -> str:
    while path:
        node, _, last = path.rpartition("/")
        lone = last == "0" and sum(p == path or p.startswith(f"{node}/") for p in paths) == 1
        if last not in _BOXED and not (lone and (node or len(paths) == 1)):
            break
        path = node
    return path
