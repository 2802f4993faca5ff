"""The specification of a weight space: which axes of which parameters are permuted together."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unf_lopt.symmetry._errors import SpecError

PyTree = Any
Permutation = Mapping[str, jax.Array]


def path_string(path: tuple[Any, ...]) -> str:
    """The path of a leaf as a person writes it: ``mlp/~/linear_0/w``."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _is_axis_names(node: Any) -> bool:
    return isinstance(node, (tuple, list)) and all(isinstance(name, str) for name in node)


def _named_leaves(tree: PyTree, is_leaf: Any = None) -> tuple[dict[str, Any], Any]:
    """Leaves by path, in flattening order, and the tree definition."""
    with_paths, treedef = jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_leaf)
    leaves = {path_string(path): leaf for path, leaf in with_paths}
    if len(leaves) < len(with_paths):
        raise SpecError(f"two leaves of the tree have the same path among {list(leaves)}.")
    return leaves, treedef


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class PermutationSpec:
    """Every axis of every parameter lies in one named *space*; axes of one space move together.

    A space is permutable (a *group*: permuting it leaves the loss as it is) or fixed (pixels,
    classes: the axes index the same thing, but the loss is not invariant). The group acts by
    ``permuted[i] = original[index[i]]`` on each axis, the same index for every axis of a space
    (Zhou et al., "Universal Neural Functionals", arXiv 2402.05232, section 2).

    A spec is immutable, hashable, comparable, picklable and a static node of a pytree, so it can
    be a static argument of ``jax.jit``. Build one with :meth:`from_names`.

    Attributes:
      paths: the parameters' paths, in the order in which JAX flattens the tree.
      axes: for each parameter, the space of each of its axes.
      sizes: ``(space, size)`` of every space, in order of first appearance.
      fixed: the spaces that are not permutable.
    """

    paths: tuple[str, ...]
    axes: tuple[tuple[str, ...], ...]
    sizes: tuple[tuple[str, int], ...]
    fixed: frozenset[str]

    @classmethod
    def from_names(
        cls, names: PyTree, params: PyTree, fixed: Collection[str] = ()
    ) -> PermutationSpec:
        """Builds a spec by hand: one space an axis, by name.

        Args:
          names: a tree like ``params`` whose leaves are tuples of space names, one an axis;
            ``()`` for a scalar.
          params: the parameters, as arrays or ``jax.ShapeDtypeStruct``.
          fixed: the names of the spaces that must not be permuted.

        Returns:
          The spec.

        Raises:
          SpecError: names and params do not have the same leaves, a parameter has another number
            of axes than names, two axes of one space differ in size, or ``fixed`` names a space
            that no axis lies in.

        Example:
          >>> params = {"w": jnp.zeros((4, 3)), "b": jnp.zeros(3)}
          >>> names = {"w": ("pixels", "hidden"), "b": ("hidden",)}
          >>> PermutationSpec.from_names(names, params, fixed={"pixels"}).groups
          {'hidden': 3}
        """
        if isinstance(fixed, str):
            raise SpecError(
                f"from_names(fixed={fixed!r}): fixed is a collection of names; pass {{{fixed!r}}}."
            )
        shapes = {path: tuple(np.shape(leaf)) for path, leaf in _named_leaves(params)[0].items()}
        given, _ = _named_leaves(names, is_leaf=_is_axis_names)
        _check_same_paths(given, shapes)
        axes = {path: _checked_names(path, given[path], shape) for path, shape in shapes.items()}
        sizes = _sizes_of_spaces(axes, shapes)
        unused = sorted(set(fixed) - set(sizes))
        if unused:
            raise SpecError(
                f"from_names(fixed=...): no axis lies in {unused}; the spaces are {list(sizes)}."
            )
        return cls(tuple(axes), tuple(axes.values()), tuple(sizes.items()), frozenset(fixed))

    @functools.cached_property
    def spaces(self) -> dict[str, int]:
        """Every space and its size, permutable and fixed."""
        return dict(self.sizes)

    @property
    def groups(self) -> dict[str, int]:
        """The permutable spaces and their sizes."""
        return {name: size for name, size in self.sizes if name not in self.fixed}

    @functools.cached_property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shape of every parameter, without channels."""
        return tuple(tuple(self.spaces[name] for name in names) for names in self.axes)

    def flatten(self, tree: PyTree) -> tuple[list[Any], Callable[[Sequence[Any]], PyTree]]:
        """Flattens a tree of this weight space, checking that it is one.

        Args:
          tree: leaves of shape ``[*parameter.shape, ...]``; trailing axes are channels.

        Returns:
          The leaves in the order of ``paths``, and the function that makes such a list a tree
          like the given one again.

        Raises:
          SpecError: the tree has other leaves, or a leaf another shape.
        """
        leaves, treedef = _named_leaves(tree)
        _check_same_paths(self.paths, leaves, what="the tree")
        for path, shape in zip(self.paths, self.shapes, strict=True):
            found = tuple(np.shape(leaves[path]))
            if found[: len(shape)] != shape:
                raise SpecError(
                    f"the tree does not fit the spec: '{path}' has shape {found}, which does not "
                    f"begin with {shape}."
                )

        def unflatten(values: Sequence[Any]) -> PyTree:
            by_path = dict(zip(self.paths, values, strict=True))
            return jax.tree_util.tree_unflatten(treedef, [by_path[path] for path in leaves])

        return [leaves[path] for path in self.paths], unflatten

    def sample(self, key: jax.Array) -> dict[str, jax.Array]:
        """A uniformly random element of the symmetry group: one index array a group."""
        keys = jax.random.split(key, max(len(self.groups), 1))
        return {
            name: jax.random.permutation(subkey, size)
            for subkey, (name, size) in zip(keys, self.groups.items(), strict=False)
        }

    def permute(self, tree: PyTree, permutation: Permutation) -> PyTree:
        """Applies a group element: ``permuted[i] = original[index[i]]`` on every axis of a group.

        Args:
          tree: any tree shaped like the parameters; trailing channel axes pass through.
          permutation: ``{group: index array}``; groups left out stay as they are.

        Returns:
          The permuted tree.

        Raises:
          SpecError: the tree does not fit, or the permutation names something else than a group
            or has another length than the group.
        """
        self._check_permutation(permutation)
        leaves, unflatten = self.flatten(tree)
        permuted = []
        for leaf, names in zip(leaves, self.axes, strict=True):
            for axis, name in enumerate(names):
                if name in permutation:
                    leaf = jnp.take(leaf, permutation[name], axis=axis)
            permuted.append(leaf)
        return unflatten(permuted)

    def to_json(self) -> str:
        """The spec as JSON text; :meth:`from_json` reads it back."""
        record = {
            "axes": dict(zip(self.paths, self.axes, strict=True)),
            "sizes": dict(self.sizes),
            "fixed": sorted(self.fixed),
        }
        return json.dumps(record)

    @classmethod
    def from_json(cls, text: str) -> PermutationSpec:
        """Reads what :meth:`to_json` wrote."""
        record = json.loads(text)
        axes = tuple(tuple(names) for names in record["axes"].values())
        sizes = tuple((name, int(size)) for name, size in record["sizes"].items())
        return cls(tuple(record["axes"]), axes, sizes, frozenset(record["fixed"]))

    def difference(self, other: PermutationSpec) -> str:
        """What distinguishes two specs, one line a difference; empty if they are equal."""
        lines = []
        mine, theirs = (dict(zip(s.paths, s.axes, strict=True)) for s in (self, other))
        for path in sorted(mine.keys() | theirs.keys()):
            if mine.get(path) != theirs.get(path):
                lines.append(f"'{path}': {mine.get(path)} against {theirs.get(path)}")
        for space in sorted(self.spaces.keys() | other.spaces.keys()):
            if self.spaces.get(space) != other.spaces.get(space):
                sizes = f"{self.spaces.get(space)} against {other.spaces.get(space)}"
                lines.append(f"size of '{space}': {sizes}")
        if self.fixed != other.fixed:
            lines.append(f"fixed: {sorted(self.fixed)} against {sorted(other.fixed)}")
        return "\n".join(lines)

    def __str__(self) -> str:
        """A table a person can read; fixed spaces in square brackets."""
        rows = [("parameter", "shape", "axes")]
        for path, shape, names in zip(self.paths, self.shapes, self.axes, strict=True):
            shown = ", ".join(f"[{name}]" if name in self.fixed else name for name in names)
            rows.append((path, "×".join(map(str, shape)) or "scalar", shown))
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        groups = ", ".join(f"{name} ({size})" for name, size in self.groups.items())
        return "\n".join([*lines, f"groups: {groups or 'none'}"])

    def _check_permutation(self, permutation: Permutation) -> None:
        for name, index in permutation.items():
            if name not in self.groups:
                raise SpecError(
                    f"permute(...): '{name}' is not a group of this spec; the groups are "
                    f"{list(self.groups)} and the fixed spaces {sorted(self.fixed)}."
                )
            if tuple(np.shape(index)) != (self.groups[name],):
                raise SpecError(
                    f"permute(...): the index of '{name}' has shape {np.shape(index)}; the group "
                    f"has size {self.groups[name]}."
                )


def _check_same_paths(
    given: Collection[str], expected: Collection[str], what: str = "params"
) -> None:
    missing = [path for path in expected if path not in given]
    extra = [path for path in given if path not in expected]
    if missing or extra:
        raise SpecError(
            f"spec and {what} do not have the same leaves: "
            f"only in {what}: {missing or 'none'}; only in the spec: {extra or 'none'}."
        )
    if not expected:
        raise SpecError(f"{what} has no leaves: there is nothing to permute.")


def _checked_names(path: str, names: Any, shape: Sequence[int]) -> tuple[str, ...]:
    if not _is_axis_names(names):
        raise SpecError(
            f"'{path}': expected a tuple of names, one an axis, such as ('in', 'out'); got "
            f"{names!r}."
        )
    if len(names) != len(shape):
        raise SpecError(
            f"'{path}' has shape {tuple(shape)}, so {len(shape)} axes, but {len(names)} names: "
            f"{tuple(names)}."
        )
    if 0 in shape:
        raise SpecError(f"'{path}' has shape {tuple(shape)}: an empty parameter has no means.")
    return tuple(names)


def _sizes_of_spaces(
    axes: Mapping[str, tuple[str, ...]], shapes: Mapping[str, Sequence[int]]
) -> dict[str, int]:
    first_seen: dict[str, tuple[int, str]] = {}
    for path, names in axes.items():
        for axis, (name, size) in enumerate(zip(names, shapes[path], strict=True)):
            place = f"'{path}' axis {axis}"
            known_size, known_place = first_seen.setdefault(name, (size, place))
            if known_size != size:
                raise SpecError(
                    f"space '{name}' has size {known_size} at {known_place} but {size} at "
                    f"{place}: axes of one space have one size. Give one of them another name."
                )
    return {name: size for name, (size, _) in first_seen.items()}
