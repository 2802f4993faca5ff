"""The specification of a weight space: which axes of which parameters are permuted together."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from unf_lopt._types import PyTree
from unf_lopt.symmetry import _axes, _nesting, _text
from unf_lopt.symmetry._arrays import namespace
from unf_lopt.symmetry._axes import Axis, Product, Sum
from unf_lopt.symmetry._errors import SpecError
from unf_lopt.symmetry._names import (
    check_shape,
    checked_names,
    names_of_leaves,
    places_of,
    shape_of,
    sizes_of_spaces,
)
from unf_lopt.symmetry._provenance import Provenance
from unf_lopt.symmetry._trees import leaf_paths, path_string
from unf_lopt.symmetry._views import View, block_axes
from unf_lopt.symmetry.drawing import Picture, draw

__all__ = ["PermutationSpec", "path_string"]

Permutation = Mapping[str, jax.Array]


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class PermutationSpec:
    """Every axis of every parameter lies in named *spaces*; axes of one space move together.

    A space is permutable (a *group*: permuting it leaves the loss as it is) or fixed (pixels,
    classes: the axes index the same thing, but the loss is not invariant). The group acts by
    ``permuted[i] = original[index[i]]`` on each axis, the same index for every axis of a space
    (Zhou et al., "Universal Neural Functionals", arXiv 2402.05232, section 2).

    Most axes lie in one space. One that a reshape joined from several (heads and head width) is
    a :class:`Product` of them, one that a concatenation joined (the gates of an LSTM) a
    :class:`Sum`; :attr:`view` has every axis in one space.

    A spec is immutable, hashable, comparable, picklable and a static node of a pytree, so it can
    be a static argument of ``jax.jit``. :func:`unf_lopt.infer_spec` finds the one of a loss;
    :meth:`from_names` builds one by hand.

    Attributes:
      paths: the parameters' paths, in the order in which JAX flattens the tree.
      axes: for each parameter, what each of its axes is made of: the name of a space, a
        :class:`Product` or a :class:`Sum`.
      sizes: ``(space, size)`` of every space, in order of first appearance.
      fixed: the spaces that are not permutable.
      nesting: ``(group, the spaces that it is nested in)``, in the spec's order of spaces; mostly
        empty. See :attr:`nested`.
      provenance: where an inferred spec comes from; no part of its identity.
    """

    paths: tuple[str, ...]
    axes: tuple[tuple[Axis, ...], ...]
    sizes: tuple[tuple[str, int], ...]
    fixed: frozenset[str]
    nesting: tuple[tuple[str, tuple[str, ...]], ...] = ()
    provenance: Provenance | None = dataclasses.field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.nesting:
            object.__setattr__(self, "nesting", _nesting.checked_nesting(self))

    @classmethod
    def from_names(
        cls,
        names: PyTree,
        params: PyTree,
        fixed: Collection[str] = (),
        sizes: Mapping[str, int] | None = None,
        nested: Mapping[str, str | Collection[str]] | None = None,
    ) -> PermutationSpec:
        """Builds a spec by hand: what every axis is made of, by name.

        Args:
          names: a tree like ``params`` whose leaves are tuples of strings, one an axis; ``()``
            for a scalar. A string is the name of a space, or products and sums of them, as in
            ``"heads*width"`` (row-major: heads outside) and ``"x + hidden"``; ``"1"`` is an
            axis of size 1.
          params: the parameters, as arrays or ``jax.ShapeDtypeStruct``.
          fixed: the names of the spaces that must not be permuted.
          sizes: sizes of spaces that the shapes do not tell, as for two factors of one axis.
          nested: groups with permutations of their own for every index of other spaces:
            ``{"width": "heads"}``.

        Returns:
          The spec.

        Raises:
          SpecError: names and params do not have the same leaves, a parameter has another number
            of axes than names, an axis cannot be read, two axes of one space differ in size, a
            size cannot be told, ``fixed`` names a space that no axis lies in, or ``nested`` is what
            :meth:`nest` refuses.

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
        paths = leaf_paths(params)
        shapes = dict(zip(paths, map(shape_of, paths, jax.tree.leaves(params)), strict=True))
        given = names_of_leaves(names, paths)
        axes = {path: checked_names(path, given[path], shape) for path, shape in shapes.items()}
        found = sizes_of_spaces(axes, shapes, sizes or {})
        unused = sorted(set(fixed) - set(found))
        if unused:
            raise SpecError(
                f"from_names(fixed=...): no axis lies in {unused}; the spaces are {list(found)}."
            )
        spec = cls(tuple(axes), tuple(axes.values()), tuple(found.items()), frozenset(fixed))
        return spec.nest(nested) if nested else spec

    @functools.cached_property
    def spaces(self) -> dict[str, int]:
        """Every space and its size, permutable and fixed."""
        return dict(self.sizes)

    @property
    def groups(self) -> dict[str, int]:
        """The permutable spaces and their sizes."""
        return {name: size for name, size in self.sizes if name not in self.fixed}

    @functools.cached_property
    def nested(self) -> dict[str, tuple[str, ...]]:
        """The groups that are nested in other spaces, and these."""
        return dict(self.nesting)

    @functools.cached_property
    def index_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every group's index array: ``[size]``, nested ``[*outer sizes, size]``."""
        return {
            name: (*(self.spaces[outer] for outer in self.nested.get(name, ())), size)
            for name, size in self.groups.items()
        }

    def nest(self, nested: Mapping[str, str | Collection[str]]) -> PermutationSpec:
        """The same spec with other groups nested; ``{}`` for none.

        Args:
          nested: for every nested group the space, or the spaces, that it is nested in.

        Raises:
          SpecError: a space is unknown, fixed or nested in itself, an outer space is nested in one
            in which the inner one is not, or a parameter has an axis of a nested group and none of
            its outer space.
        """
        nesting = (
            (inner, (outers,) if isinstance(outers, str) else tuple(outers))
            for inner, outers in nested.items()
        )
        return dataclasses.replace(self, nesting=tuple(nesting))

    @functools.cached_property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shape of every parameter, without channels."""
        return tuple(tuple(_axes.size_of(axis, self.spaces) for axis in axes) for axes in self.axes)

    @functools.cached_property
    def view(self) -> View:
        """The same weight space with every axis in one space: what layers compute on."""
        paths, plain = [], []
        for path, axes in zip(self.paths, self.axes, strict=True):
            blocks = list(block_axes(axes))
            paths += [path] if len(blocks) == 1 else [f"{path}[{i}]" for i in range(len(blocks))]
            plain += blocks
        if tuple(plain) == self.axes:
            return View(self, self)
        used = {space for axes in plain for space in axes}
        sizes = tuple(item for item in self.sizes if item[0] in used)
        nesting = tuple(item for item in self.nesting if item[0] in used)
        fixed = self.fixed & used
        return View(self, PermutationSpec(tuple(paths), tuple(plain), sizes, fixed, nesting))

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
        leaves, treedef = jax.tree_util.tree_flatten(tree)
        places = places_of(self.paths, leaf_paths(tree))
        ordered = [leaves[place] for place in places]
        for path, shape, leaf in zip(self.paths, self.shapes, ordered, strict=True):
            check_shape(path, shape, leaf)

        def unflatten(values: Sequence[Any]) -> PyTree:
            by_place = dict(zip(places, values, strict=True))
            return jax.tree_util.tree_unflatten(treedef, [by_place[i] for i in range(len(places))])

        return ordered, unflatten

    def aligned(self, paths: Sequence[str]) -> PermutationSpec:
        """The same spec for a tree that spells its paths otherwise, or has them in another order.

        Args:
          paths: the paths of that tree, as :func:`leaf_paths` gives them.

        Returns:
          The spec whose parameters have these paths, in this order.

        Raises:
          SpecError: these are other leaves.
        """
        paths = tuple(paths)
        if paths == self.paths:
            return self
        places = places_of(paths, self.paths, "params", "the spec")
        axes = tuple(self.axes[place] for place in places)
        return PermutationSpec(paths, axes, self.sizes, self.fixed, self.nesting)

    def sample(self, key: jax.Array) -> dict[str, jax.Array]:
        """A uniformly random element of the symmetry group: one index array a group."""
        keys = jax.random.split(key, max(len(self.groups), 1))

        def draw(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
            if len(shape) == 1:
                return jax.random.permutation(key, shape[0])
            rows = jnp.broadcast_to(jnp.arange(shape[-1]), shape)
            return jax.random.permutation(key, rows, axis=-1, independent=True)

        return {
            name: draw(subkey, shape)
            for subkey, (name, shape) in zip(keys, self.index_shapes.items(), strict=False)
        }

    def permute(self, tree: PyTree, permutation: Permutation) -> PyTree:
        """Applies a group element: ``permuted[i] = original[index[i]]`` on every axis of a group.

        On the axis k of a nested group, with the indices h of its outer axes in the result,
        ``index[h, k]`` takes the place of ``index[k]``.

        Args:
          tree: any tree shaped like the parameters; trailing channel axes pass through. For a
            population, whose axis comes first, use
            ``jax.vmap(spec.permute, in_axes=(0, None))(tree, permutation)``.
          permutation: ``{group: index array}``, of shapes ``index_shapes``; groups left out stay as
            they are.

        Returns:
          The permuted tree. NumPy arrays stay so where the permutation is of such, and nothing
          is compiled for them.

        Raises:
          SpecError: the tree does not fit, or the permutation names something else than a group,
            has another length than the group, or has a number twice.
        """
        self._check_permutation(permutation)
        leaves, unflatten = self.flatten(tree)
        permuted = []
        for leaf, axes in zip(leaves, self.axes, strict=True):
            if self._moves_nested(axes, permutation):
                arguments = (axes, self.spaces, permutation, self.nested)
                permuted.append(_nesting.permuted_parameter(leaf, *arguments))
                continue
            for position, axis in enumerate(axes):
                if not permutation.keys().isdisjoint(_axes.spaces_of(axis)):
                    xp = namespace(leaf, *permutation.values())
                    index = _axes.index_of(axis, permutation, self.spaces, xp)
                    leaf = xp.take(leaf, index, axis=position)
            permuted.append(leaf)
        return unflatten(permuted)

    def compose(self, first: Permutation, second: Permutation) -> dict[str, jax.Array]:
        """The group element that does ``first`` and then ``second``.

        ``permute(permute(tree, first), second) == permute(tree, compose(first, second))``; its
        index is ``first[second[i]]``, of a nested group ``first[o, second[h, k]]`` with o the
        indices to which ``second`` sends its outer ones h.

        Args:
          first: ``{group: index array}``; groups left out stay as they are.
          second: the same.

        Returns:
          ``{group: index array}`` of the groups in either.

        Raises:
          SpecError: one of them names something else than a group, or has another length.
        """
        self._check_permutation(first, "compose")
        self._check_permutation(second, "compose")
        return _nesting.composed(first, second, self.nested)

    def inverse(self, permutation: Permutation) -> dict[str, jax.Array]:
        """The group element that undoes another one.

        Args:
          permutation: ``{group: index array}``.

        Returns:
          The same groups with the index arrays of the inverse permutations.

        Raises:
          SpecError: it names something else than a group, or has another length.
        """
        self._check_permutation(permutation, "inverse")
        return _nesting.inverted(permutation, self.nested)

    def to_json(self) -> str:
        """The spec as JSON text; :meth:`from_json` reads it back."""
        axes = [[_axes.to_record(axis) for axis in own] for own in self.axes]
        record: dict[str, Any] = {
            "axes": dict(zip(self.paths, axes, strict=True)),
            "sizes": dict(self.sizes),
            "fixed": sorted(self.fixed),
        }
        if self.nesting:
            record["nested"] = self.nested
        return json.dumps(record)

    @classmethod
    def from_json(cls, text: str) -> PermutationSpec:
        """Reads what :meth:`to_json` wrote.

        Raises:
          SpecError: it wrote something else.
        """
        try:
            record = json.loads(text)
            axes = tuple(tuple(map(_axes.from_record, own)) for own in record["axes"].values())
            sizes = tuple((name, int(size)) for name, size in record["sizes"].items())
            paths, fixed = tuple(record["axes"]), frozenset(record["fixed"])
            spaces = {space for own in axes for axis in own for space in _axes.spaces_of(axis)}
            known = dict(sizes)
            if spaces - known.keys() or fixed - known.keys() or min(known.values(), default=1) < 1:
                raise ValueError("a space without a size of at least 1")
            nested = record.get("nested", {}).items()
            nesting = tuple((inner, tuple(outers)) for inner, outers in nested)
            return cls(paths, axes, sizes, fixed, nesting)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise SpecError(f"from_json: this is no spec that to_json wrote: {error!r}.") from error

    def explain(self, path: str, axis: int) -> str:
        """Why an axis lies where it does: what tied it to others, and what froze it.

        Args:
          path: the parameter's path, as ``paths`` has it.
          axis: the position of the axis.

        Returns:
          Text for a person: the operations, each with its place in the user's source.

        Raises:
          SpecError: there is no such parameter or axis.
        """
        if path not in self.paths:
            raise SpecError(
                f"explain({path!r}, {axis}): no such parameter; there are {self.paths}."
            )
        axes = self.axes[self.paths.index(path)]
        if not isinstance(axis, int) or not 0 <= axis < len(axes):
            raise SpecError(f"explain({path!r}, {axis!r}): '{path}' has {len(axes)} axes.")
        shown = _text.shown(axes[axis], self.fixed)
        if self.provenance is None:
            return f"{path} axis {axis} is {shown}: written by hand."
        return f"{path} axis {axis} is {shown}\n{self.provenance.explain(path, axis)}"

    def distinguished(self, spaces: Collection[str]) -> PermutationSpec:
        """The same spec with every index of some fixed spaces told apart from the others.

        A layer treats the indices of a fixed space alike, though no permutation moves them: the
        gates of a GRU, or classes. Here each becomes an axis of size 1 of its own, for which a
        layer has coefficients of its own; a tensor with a space of size n counts as n tensors.

        Args:
          spaces: names of fixed spaces.

        Returns:
          A spec of the same trees.

        Raises:
          SpecError: a name is not one of a fixed space, or a group is nested in it.
        """
        outer = sorted({o for outers in self.nested.values() for o in outers} & set(spaces))
        if outer:
            raise SpecError(
                f"distinguished(...): groups are nested in {outer}, whose indices cannot be told "
                "apart then; take the spec with nest({}), or fixed_axes='positional' in a layer."
            )
        unknown = sorted(set(spaces) - self.fixed)
        if unknown or isinstance(spaces, str):
            raise SpecError(
                f"distinguished({spaces!r}): pass a collection of fixed spaces, of which there are "
                f"{sorted(self.fixed)}."
            )
        return self.replaced({name: Sum((Product(()),) * self.spaces[name]) for name in spaces})

    def replaced(self, axes: Mapping[str, Axis]) -> PermutationSpec:
        """The spec with some spaces replaced by axes of the same length without new spaces."""
        new = tuple(
            tuple(_axes.rename(axis, lambda name: axes.get(name, name)) for axis in own)
            for own in self.axes
        )
        sizes = tuple(item for item in self.sizes if item[0] not in axes)
        fixed = self.fixed.difference(axes)
        return PermutationSpec(self.paths, new, sizes, fixed, self.nesting)

    def renamed(self, names: Callable[[str], str]) -> PermutationSpec:
        """The same spec with other names of spaces; ``names`` must keep different ones apart."""
        axes = tuple(tuple(_axes.rename(axis, names) for axis in own) for own in self.axes)
        sizes = tuple((names(space), size) for space, size in self.sizes)
        nesting = tuple((names(inner), tuple(map(names, own))) for inner, own in self.nesting)
        fixed = frozenset(map(names, self.fixed))
        return PermutationSpec(self.paths, axes, sizes, fixed, nesting, self.provenance)

    def canonical(self) -> PermutationSpec:
        """The spec with spaces numbered by first appearance: equal for equal symmetries."""
        return self._canonical

    @functools.cached_property
    def _canonical(self) -> PermutationSpec:
        order = [space for own in self.axes for axis in own for space in _axes.spaces_of(axis)]
        numbers = {space: str(number) for number, space in enumerate(dict.fromkeys(order))}
        renamed = self.renamed(numbers.__getitem__)
        sizes = tuple(sorted(renamed.sizes, key=lambda item: int(item[0])))
        return dataclasses.replace(renamed, sizes=sizes)

    def difference(self, other: PermutationSpec) -> str:
        """What distinguishes two specs, one line a difference; empty if they are equal."""
        return _text.difference(self, other)

    def draw(self, title: str = "") -> Picture:
        """A picture of the symmetry, as SVG.

        Every parameter is a box with its path, its shape and its axes; every group has a colour, a
        letter, and an entry in the legend. Fixed axes are grey.

        Args:
          title: the heading, by default "Permutation symmetry".

        Returns:
          The picture. A notebook shows it, ``.save(path)`` writes it; the same spec has the same.
        """
        return draw(self, title)

    def __str__(self) -> str:
        """A table a person can read; fixed spaces in square brackets."""
        return _text.table(self)

    def _moves_nested(self, axes: Sequence[Axis], permutation: Permutation) -> bool:
        """Whether a group element moves a nested group that one of the axes lies in."""
        own = {space for axis in axes for space in _axes.spaces_of(axis)}
        return not own.isdisjoint(self.nested.keys() & permutation.keys())

    def _check_permutation(self, permutation: Permutation, method: str = "permute") -> None:
        if not isinstance(permutation, Mapping):
            raise SpecError(
                f"{method}(...): a permutation is a dictionary, {{group: index array}}, not a "
                f"{type(permutation).__name__}."
            )
        for name, index in permutation.items():
            if name not in self.groups:
                raise SpecError(
                    f"{method}(...): '{name}' is not a group of this spec; the groups are "
                    f"{list(self.groups)} and the fixed spaces {sorted(self.fixed)}."
                )
            shape = self.index_shapes[name]
            if tuple(np.shape(index)) != shape:
                needed = f"has size {self.groups[name]}"
                if name in self.nested:
                    needed = f"is nested in {self.nested[name]} and needs {shape}"
                raise SpecError(
                    f"{method}(...): the index of '{name}' has shape {np.shape(index)}; the group "
                    f"{needed}."
                )
            is_known = not isinstance(index, jax.core.Tracer)
            if is_known and (np.sort(index, axis=-1) != np.arange(shape[-1])).any():
                raise SpecError(
                    f"{method}(...): the index of '{name}' is no permutation: every number from 0 "
                    f"to {self.groups[name] - 1} must be in it once."
                )
