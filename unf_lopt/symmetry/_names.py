"""Reading the names of axes that people write, and matching trees with them."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from unf_lopt._types import PyTree
from unf_lopt.symmetry import _axes
from unf_lopt.symmetry._axes import Axis
from unf_lopt.symmetry._errors import SpecError
from unf_lopt.symmetry._trees import leaf_paths, match, unmatched


def names_of_leaves(names: PyTree, paths: Sequence[str]) -> dict[str, Any]:
    """The names of the axes of every parameter; ``()`` in an empty container's place is none."""
    if not paths:
        raise SpecError("params has no leaves: there is nothing to permute.")
    given = leaf_paths(names, is_leaf=_is_axis_names)
    leaves = jax.tree.leaves(names, is_leaf=_is_axis_names)
    known = match(given, paths)
    kept = [i for i, leaf in enumerate(leaves) if known[i] is not None or leaf != ()]
    places = places_of(paths, [given[i] for i in kept], "params", "the spec")
    return {path: leaves[kept[place]] for path, place in zip(paths, places, strict=True)}


def _is_axis_names(node: Any) -> bool:
    return isinstance(node, (tuple, list)) and all(isinstance(name, str) for name in node)


def places_of(
    expected: Sequence[str],
    given: Sequence[str],
    owner: str = "the spec",
    other: str = "the tree",
) -> list[int]:
    """Where each expected leaf is among the given ones, or an error that names the difference."""
    places = match(expected, given)
    missing, extra = unmatched(expected, given, places)
    if missing or extra:
        hint = ""
        if missing and not extra and other == "the tree":
            hint = (
                " A tree without them may hold None or placeholders for masked parameters: the "
                "leaves of a spec are all there or it is another spec; infer the one of the "
                "parameters that are trained, with the others closed over in the loss."
            )
        raise SpecError(
            f"{owner} and {other} do not have the same leaves: only in {owner}: "
            f"{missing or 'none'}; only in {other}: {extra or 'none'}.{hint}"
        )
    return [place for place in places if place is not None]


def shape_of(path: str, leaf: Any) -> tuple[int, ...]:
    """The shape of a leaf that is an array, a number, or has a shape."""
    if isinstance(leaf, numbers.Number):
        return ()
    if not hasattr(leaf, "shape"):
        raise SpecError(
            f"'{path}' is a {type(leaf).__name__}, not an array: a spec acts on arrays, not on "
            "what holds their place."
        )
    return tuple(np.shape(leaf))


def check_shape(path: str, shape: tuple[int, ...], leaf: Any) -> None:
    """Whether a leaf has the axes of its parameter first; trailing ones are channels."""
    found = shape_of(path, leaf)
    if found[: len(shape)] == shape:
        return
    hint = ""
    if len(found) > len(shape) and found[-len(shape) :] == shape:
        hint = (
            " Axes before it, such as that of a population, are mapped over: "
            "jax.vmap(spec.permute, in_axes=(0, None))(tree, permutation)."
        )
    raise SpecError(
        f"the tree does not fit the spec: '{path}' has shape {found}, which does not begin with "
        f"{shape}.{hint}"
    )


def checked_names(path: str, names: Any, shape: Sequence[int]) -> tuple[Axis, ...]:
    """The axes that a parameter's names say, if there is one for each of its axes."""
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
    return tuple(map(_axes.parse, names))


def sizes_of_spaces(
    axes: Mapping[str, tuple[Axis, ...]],
    shapes: Mapping[str, Sequence[int]],
    given: Mapping[str, int],
) -> dict[str, int]:
    """The size of every space: told by a whole axis, given, or the one left in an axis."""
    order = dict.fromkeys(s for own in axes.values() for axis in own for s in _axes.spaces_of(axis))
    told = {name: (size, "sizes=") for name, size in given.items()}
    pending = [
        (axis, size, f"'{path}' axis {position}")
        for path, own in axes.items()
        for position, (axis, size) in enumerate(zip(own, shapes[path], strict=True))
    ]
    while pending:
        unsolved = [item for item in pending if not _tell_size(*item, told)]
        if len(unsolved) == len(pending):
            axis, size, place = pending[0]
            unknown = [space for space in _axes.spaces_of(axis) if space not in told]
            raise SpecError(
                f"{place} is {_axes.show(axis)} of length {size}: the sizes of {unknown} cannot "
                "be told from the shapes; pass them with sizes={...}."
            )
        pending = unsolved
    return {space: told[space][0] for space in order}


def _tell_size(axis: Axis, length: int, place: str, told: dict[str, tuple[int, str]]) -> bool:
    """Adds the size that the length of one axis tells, if all others in it are known."""
    unknown = {space for space in _axes.spaces_of(axis) if space not in told}
    if len(unknown) > 1:
        return False
    sizes = {space: size for space, (size, _) in told.items()}
    if unknown:  # the length grows linearly with one unknown size
        (space,) = unknown
        at_zero, at_one = (_axes.size_of(axis, {**sizes, space: n}) for n in (0, 1))
        told[space] = ((length - at_zero) // (at_one - at_zero), place)
        sizes[space] = told[space][0]
    found = _axes.size_of(axis, sizes)
    if found == length and 0 not in sizes.values():
        return True
    if isinstance(axis, str):
        known_size, known_place = told[axis]
        raise SpecError(
            f"space '{axis}' has size {known_size} at {known_place} but {length} at {place}: "
            "axes of one space have one size. Give one of them another name."
        )
    used = {space: sizes[space] for space in _axes.spaces_of(axis)}
    raise SpecError(f"{place} has length {length}, but {_axes.show(axis)} has {found} with {used}.")
