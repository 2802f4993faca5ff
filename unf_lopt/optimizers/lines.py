"""The rows and columns of all tensors, and the spaces that they are indices of."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from unf_lopt.optimizers.matrices import Matrices
from unf_lopt.symmetry import Axis, Product, SpecError, Sum, companions, size_of, spaces_of

Nested = Mapping[str, tuple[str, ...]]

# What is known of a line beside means: whether it is a slice of the last axis, and of a fixed one.
KINDS = 2


@dataclasses.dataclass(frozen=True)
class Lines:
    """The slices of every tensor along each of its axes longer than 1, laid end to end.

    Of a matrix its rows and its columns, of a vector its entries, of a kernel four kinds of slices.
    An axis of a nested space has none, for its slices would join units of different heads, unless
    it is a product with the outer spaces.

    Attributes:
      tensors: of every such axis the number of its tensor.
      places: its place among the tensor's axes.
      axes: which spaces it is made of.
      sizes: of the spaces.
      kinds: ``[axes, KINDS]``.
      nesting: of the spec.
    """

    tensors: tuple[int, ...]
    places: tuple[int, ...]
    axes: tuple[Axis, ...]
    sizes: tuple[tuple[str, int], ...]
    kinds: tuple[tuple[bool, ...], ...]
    nesting: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @functools.cached_property
    def lengths(self) -> tuple[int, ...]:
        """How many slices every axis has."""
        return tuple(size_of(axis, dict(self.sizes)) for axis in self.axes)

    def means(self, leaves: Sequence[jax.Array]) -> Float[Array, " lines"]:
        """The mean of every slice of the tensors."""
        found = []
        for tensor, place in zip(self.tensors, self.places, strict=True):
            x = leaves[tensor]
            found.append(jnp.mean(x, tuple(axis for axis in range(x.ndim) if axis != place)))
        return jnp.concatenate(found)

    def repeated(self, x: Float[Array, " tensors *channels"]) -> Float[Array, " lines *channels"]:
        """For every line what its tensor has."""
        parts = [
            jnp.broadcast_to(x[tensor], (length, *x.shape[1:]))
            for tensor, length in zip(self.tensors, self.lengths, strict=True)
        ]
        return jnp.concatenate(parts)

    def repeated_kinds(self) -> Float[np.ndarray, "lines kinds"]:
        """What is known of every line, 1 or 0."""
        return np.repeat(np.array(self.kinds, float), self.lengths, axis=0)

    def spread(
        self, x: Float[Array, " lines"], shapes: Sequence[tuple[int, ...]]
    ) -> list[jax.Array | None]:
        """The product over an entry's lines, to be broadcast to it; None where there is no line.

        Args:
          x: a number for every line.
          shapes: of the tensors.
        """
        found: list[jax.Array | None] = [None] * len(shapes)
        parts = self.split(x)
        for tensor, place, own in zip(self.tensors, self.places, parts, strict=True):
            other = found[tensor]
            own = own.reshape([-1 if a == place else 1 for a in range(len(shapes[tensor]))])
            found[tensor] = own if other is None else other * own
        return found

    def split(self, x: Float[Array, "lines ..."]) -> list[jax.Array]:
        """The lines of each axis."""
        stops = np.cumsum(self.lengths)
        starts = stops - np.array(self.lengths)
        return [x[start:stop] for start, stop in zip(starts, stops, strict=True)]

    def pooled(self, x: Float[Array, "lines channels"]) -> Float[Array, "lines channels"]:
        """For every line the mean of what lies at its index of its space, in all tensors.

        The incoming weights of a unit, its bias and its outgoing weights are lines at one index of
        one space. For an axis that is a product of spaces (heads and channels) it is the average
        over its factors; a nested factor has an index for each of its outer spaces' as well.
        """
        found: dict[str, list[jax.Array]] = {}
        nested = dict(self.nesting)
        for axis, own in zip(self.axes, self.split(x), strict=True):
            _collect(axis, own, dict(self.sizes), found, nested)
        means = {name: sum(own[1:], own[0]) / len(own) for name, own in found.items()}
        return jnp.concatenate([_restored(axis, means, x.shape[1], nested) for axis in self.axes])


@functools.lru_cache(maxsize=64)
def lines_of(matrices: Matrices) -> Lines:
    """The lines of a weight space; without a spec no two axes lie in one space."""
    tensors, places, axes, kinds = [], [], [], []
    sizes = dict(matrices.spec.sizes) if matrices.spec is not None else {}
    nested = matrices.spec.nested if matrices.spec is not None else {}
    for tensor, shape in enumerate(matrices.shapes):
        long = [place for place, length in enumerate(shape) if length > 1]
        for place in long:
            axis: Axis = f"{tensor}.{place}"
            if matrices.spec is None:
                sizes[axis] = shape[place]
            else:
                axis = matrices.spec.axes[tensor][place]
            if not _has_lines(axis, nested):
                continue
            is_fixed = matrices.spec is not None and matrices.spec.fixed.issuperset(spaces_of(axis))
            tensors.append(tensor)
            places.append(place)
            axes.append(axis)
            kinds.append((place == long[-1], is_fixed))
    found = tuple(tensors), tuple(places), tuple(axes), tuple(sizes.items()), tuple(kinds)
    return Lines(*found, nesting=tuple(nested.items()))


def _has_lines(axis: Axis, nested: Nested) -> bool:
    """Whether the outer spaces of all nested ones are beside them in the axis."""
    if isinstance(axis, str):
        return axis not in nested
    if isinstance(axis, Sum):
        return all(_has_lines(term, nested) for term in axis.terms)
    try:
        _beside(axis, nested)
    except SpecError:
        return False
    return all(isinstance(own, str) or _has_lines(own, nested) for own in axis.factors)


def _beside(axis: Product, nested: Nested) -> tuple[tuple[int, ...], ...]:
    """For every factor the places of its outer ones."""
    return companions([own if isinstance(own, str) else "" for own in axis.factors], nested)


def _collect(
    axis: Axis,
    x: Float[Array, "*outer length channels"],
    sizes: Mapping[str, int],
    found: dict[str, list[jax.Array]],
    nested: Nested,
) -> None:
    """Adds what an array along an axis says of each space."""
    if isinstance(axis, Sum):
        stops = np.cumsum([size_of(term, sizes) for term in axis.terms])[:-1]
        for term, own in zip(axis.terms, jnp.split(x, stops), strict=True):
            _collect(term, own, sizes, found, nested)
    elif isinstance(axis, Product):
        lengths = [size_of(factor, sizes) for factor in axis.factors]
        x = x.reshape(*lengths, x.shape[-1])
        for place, (factor, outer) in enumerate(
            zip(axis.factors, _beside(axis, nested), strict=True)
        ):
            kept = (*outer, place)
            others = tuple(other for other in range(len(lengths)) if other not in kept)
            mean = jnp.moveaxis(jnp.mean(x, others), sorted(kept).index(place), len(outer))
            _collect(factor, mean, sizes, found, nested)
    else:
        found.setdefault(axis, []).append(x)


def _restored(
    axis: Axis, means: Mapping[str, jax.Array], channels: int, nested: Nested
) -> Float[Array, "*outer length channels"]:
    """What the spaces of an axis have at each of its indices; outer ones first of a nested one."""
    if isinstance(axis, Sum):
        return jnp.concatenate([_restored(term, means, channels, nested) for term in axis.terms])
    if isinstance(axis, Product):
        factors = [_restored(factor, means, channels, nested) for factor in axis.factors]
        if not factors:  # an index by itself
            return jnp.zeros((1, channels))
        lengths = [own.shape[-2] for own in factors]
        spread = [
            _spread(own, (*outer, place), lengths)
            for place, (own, outer) in enumerate(zip(factors, _beside(axis, nested), strict=True))
        ]
        mean = functools.reduce(jnp.add, spread) / len(spread)
        return mean.reshape(math.prod(lengths), -1)
    return means[axis]


def _spread(x: jax.Array, places: Sequence[int], lengths: Sequence[int]) -> jax.Array:
    """An array over some factors, outer ones first, as one over all."""
    order = sorted(range(len(places)), key=places.__getitem__)
    x = jnp.transpose(x, (*order, x.ndim - 1))
    return x.reshape(*(n if place in places else 1 for place, n in enumerate(lengths)), -1)
