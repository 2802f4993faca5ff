"""The equivariant layer with tied coefficients: one set of parameters for every weight space."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unf_lopt.layers._fixed import POSITION_CHANNELS, position_encoding
from unf_lopt.layers._linear import check_layer_options, input_channels_of
from unf_lopt.layers._stacks import Stack, make_stacks, stack, unstack
from unf_lopt.symmetry import PermutationSpec

# Tensors of more axes than this are one class.
HIGHEST_RANK = 3
RANKS = HIGHEST_RANK + 1
# What a vector along a space is made from: tensors of rank 1, 2, more, and diagonals.
SOURCES = HIGHEST_RANK + 1
DIAGONAL = HIGHEST_RANK


def rank_class(rank: int) -> int:
    """Scalars, vectors, matrices, and all of higher rank."""
    return min(rank, HIGHEST_RANK)


@dataclasses.dataclass(frozen=True)
class TiedLinear:
    """The equivariant layer whose coefficients depend on the kind of a term, not on its tensors.

    With ``m_p`` the mean of a tensor over all axes but ``p``, and means over all tensors that have
    such an axis or rank, an entry of a tensor of rank r becomes the sum of

    - ``self[r]`` of itself,
    - ``own_axis[r]`` of ``m_p`` for each of its axes, and ``own_mean[r]`` of the tensor's mean,
    - ``space[r, k]`` of the mean of ``m_p`` over all axes in the same space, of tensors of rank k,
      for each of its axes, and ``overall[r, k]`` of the mean over all tensors of rank k,
    - for axes that lie in one space: ``swap[r]`` of the entry with the two exchanged, on their
      diagonal ``own_diagonal[r]`` of itself and ``on_diagonal[r, k]`` of the space's mean; means
      over diagonals are a source k as well,
    - with ``cross_terms``: ``pair[r, k]`` of the mean over all tensors of rank k that have the
      same two spaces, for each two of its axes,
    - ``bias[r]``.

    Ranks above 3 count as 3. Each of these is a sum of basis maps of the full layer, so the
    layer is contained in :class:`EquivariantLinear`; :func:`untied` gives its parameters. The
    number of parameters depends on channels alone, and so does the number of operations but for
    the number of different shapes: the same parameters serve any architecture.

    Attributes:
      spec: the weight space.
      output_channels: channels of the output.
      cross_terms: whether tensors with two spaces in common exchange matrices.
      fixed_axes: how fixed spaces are treated, as of :class:`EquivariantLinear`.
      bias: ``"tensor"``: one for each rank; ``"none"``.
      initialization: ``"lecun"`` or ``"pointwise"``, as of :class:`EquivariantLinear`.
    """

    spec: PermutationSpec
    output_channels: int
    cross_terms: bool = False
    fixed_axes: str = "exchangeable"
    bias: str = "tensor"
    initialization: str = "lecun"

    def __post_init__(self) -> None:
        check_layer_options(
            fixed_axes=self.fixed_axes, bias=self.bias, initialization=self.initialization
        )
        if self.fixed_axes == "free":
            raise ValueError(
                "fixed_axes='free' has coefficients for every index of an axis, tied ones are the "
                "same for all; take coefficients='per_pair', or fixed_axes='positional'."
            )
        if self.bias == "full":
            raise ValueError("bias='full' belongs to a tensor; tied coefficients take 'tensor'.")
        if self.output_channels < 1:
            raise ValueError(
                f"TiedLinear(output_channels={self.output_channels}): needs at least one."
            )

    @property
    def stacks(self) -> tuple[Stack, ...]:
        """The tensors that are computed on together."""
        return make_stacks(self._plain)

    @property
    def _plain(self) -> PermutationSpec:
        return self.spec.view.spec

    def parameter_shapes(self, input_channels: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters by name; they do not depend on the spec."""
        kinds = dict(_KINDS)
        if not self.cross_terms:
            del kinds["pair"]
        matrix = (input_channels, self.output_channels)
        shapes = {name: (*kind, *matrix) for name, kind in kinds.items()}
        if self.bias != "none":
            shapes["bias"] = (RANKS, self.output_channels)
        if self.fixed_axes == "positional":
            shapes["positions"] = (RANKS - 1, POSITION_CHANNELS, self.output_channels)
        return shapes

    def init_parameter(
        self, name: str, key: jax.Array, input_channels: int, dtype: Any = None
    ) -> jax.Array:
        """The initial value of one parameter; see ``initialization``."""
        shape = self.parameter_shapes(input_channels)[name]
        dtype = dtype or jnp.result_type(float)
        pointwise = self.initialization == "pointwise"
        if name in ("bias", "positions") or (pointwise and name != "self"):
            return jnp.zeros(shape, dtype)
        kinds = 1 if pointwise else len(_KINDS)
        return jax.random.normal(key, shape, dtype) / math.sqrt(input_channels * kinds)

    def init(self, key: jax.Array, input_channels: int, dtype: Any = None) -> dict[str, jax.Array]:
        """Initial parameters for features of ``input_channels`` channels."""
        names = self.parameter_shapes(input_channels)
        keys = jax.random.split(key, len(names))
        return {
            name: self.init_parameter(name, subkey, input_channels, dtype)
            for name, subkey in zip(names, keys, strict=True)
        }

    def apply(self, params: Mapping[str, jax.Array], features: Any) -> Any:
        """Applies the layer to a tree of the weight space.

        Args:
          params: as ``init`` makes them, for this or any other weight space.
          features: leaves ``[*parameter.shape, input_channels]``.

        Returns:
          A tree like ``features`` with leaves ``[*parameter.shape, output_channels]``.

        Raises:
          SpecError: the tree does not fit the spec, or its leaves differ in channels.
        """
        blocks, unflatten = self.spec.view.flatten(features)
        input_channels_of(self._plain, blocks)
        return unflatten(self.unpack(self.apply_packed(params, self.pack(blocks))))

    def pack(self, blocks: Sequence[jax.Array]) -> list[jax.Array]:
        """Blocks of the spec's view as the arrays that the layer computes on: stacks."""
        return stack(self.stacks, blocks)

    def unpack(self, arrays: Sequence[jax.Array]) -> list[jax.Array]:
        """The inverse of :meth:`pack`."""
        return unstack(self.stacks, arrays)

    def apply_packed(
        self, params: Mapping[str, jax.Array], arrays: Sequence[jax.Array]
    ) -> list[jax.Array]:
        """The same on packed arrays ``[tensors, *shape, input_channels]``."""
        stacks = self.stacks
        means = [_means_along(own, x) for own, x in zip(stacks, arrays, strict=True)]
        diagonals = [_diagonals(own, x) for own, x in zip(stacks, arrays, strict=True)]
        tables = _space_tables(stacks, means, diagonals)
        overall = _overall_means(stacks, means, diagonals, arrays)
        pairs = _pair_tables(stacks, arrays) if self.cross_terms else None
        return [
            self._output(params, own, x, own_means, tables, overall, pairs)
            for own, x, own_means in zip(stacks, arrays, means, strict=True)
        ]

    def _output(
        self,
        params: Mapping[str, jax.Array],
        own: Stack,
        x: jax.Array,
        means: Sequence[jax.Array],
        tables: _Tables,
        overall: Mapping[int, jax.Array],
        pairs: _Tables | None,
    ) -> jax.Array:
        rank = rank_class(own.rank)
        result = x @ params["self"][rank]
        constant = sum(mean @ params["overall"][rank, source] for source, mean in overall.items())
        if self.bias != "none":
            constant = constant + params["bias"][rank]
        if rank == 0:
            return result + constant
        constant = constant + jnp.mean(means[0], axis=1) @ params["own_mean"][rank - 1]
        for axis in range(own.rank):
            vectors = self._vectors(params, "space", rank - 1, tables, own, axis)
            if rank > 1:
                vectors = vectors + means[axis] @ params["own_axis"][rank - 2]
            if axis == 0:
                vectors = vectors + constant[:, None]
            if self.fixed_axes == "positional":
                vectors = vectors + self._positions(params["positions"][rank - 1], own, axis)
            result = result + _spread(vectors, own, (axis,))
        for first, second in _axis_pairs(own) if pairs else ():
            sizes, keys = (own.shape[first], own.shape[second]), _pair_keys(own, first, second)
            matrices = pairs.product(sizes, keys, params["pair"][rank - 2], rank)
            if matrices is not None:
                result = result + _spread(matrices, own, (first, second))
        for pair in own.pairs:
            result = result + self._repeated(params, own, pair, x, tables)
        return result

    def _vectors(
        self,
        params: Mapping[str, jax.Array],
        name: str,
        target: int,
        tables: _Tables,
        own: Stack,
        axis: int,
    ) -> Any:
        """What the means along an axis's spaces give: ``[tensors, size, output channels]``."""
        sizes = (own.shape[axis],)
        return tables.product(sizes, own.spaces[axis], params[name][target], (name, target))

    def _positions(self, coefficients: jax.Array, own: Stack, axis: int) -> jax.Array:
        """What positions add where a tensor's axis is fixed: ``[tensors, size, channels]``."""
        is_fixed = np.array([space in self._plain.fixed for space in own.spaces[axis]])
        encoding = position_encoding(own.shape[axis]) * is_fixed[:, None, None]
        return jnp.asarray(encoding, coefficients.dtype) @ coefficients

    def _repeated(
        self,
        params: Mapping[str, jax.Array],
        own: Stack,
        pair: tuple[int, int],
        x: jax.Array,
        tables: _Tables,
    ) -> jax.Array:
        """The terms of two axes in one space: the transpose, and what is on the diagonal."""
        target = rank_class(own.rank) - 2
        vectors = self._vectors(params, "on_diagonal", target, tables, own, pair[0])
        on_diagonal = x @ params["own_diagonal"][target] + _spread(vectors, own, pair[:1])
        swapped = jnp.swapaxes(x, 1 + pair[0], 1 + pair[1]) @ params["swap"][target]
        return swapped + jnp.where(_diagonal_mask(own, pair), on_diagonal, 0)


# How many coefficient matrices there are of every kind: targets, then sources.
_KINDS: dict[str, tuple[int, ...]] = {
    "self": (RANKS,),
    "own_axis": (RANKS - 2,),
    "own_mean": (RANKS - 1,),
    "space": (RANKS - 1, SOURCES),
    "overall": (RANKS, 1 + SOURCES),
    "swap": (RANKS - 2,),
    "own_diagonal": (RANKS - 2,),
    "on_diagonal": (RANKS - 2, SOURCES),
    "pair": (RANKS - 2, RANKS - 2),
}


def _means_along(own: Stack, x: jax.Array) -> list[jax.Array]:
    """For every axis the mean over all others: ``[tensors, size, channels]``.

    Each is taken from the smallest mean that still has the axis.
    """
    known = {tuple(range(own.rank)): x}
    results = []
    for axis in range(own.rank):
        kept = min((axes for axes in known if axis in axes), key=lambda axes: known[axes].size)
        for dropped in sorted(set(kept) - {axis}, reverse=True):
            array = jnp.mean(known[kept], axis=1 + kept.index(dropped))
            kept = tuple(other for other in kept if other != dropped)
            known[kept] = array
        results.append(known[kept])
    return results


def _diagonals(own: Stack, x: jax.Array) -> list[jax.Array]:
    """For every pair of axes in one space the diagonal, mean over the others."""
    found = []
    for first, second in own.pairs:
        diagonal = jnp.diagonal(x, axis1=1 + first, axis2=1 + second)  # the diagonal comes last
        diagonal = jnp.moveaxis(diagonal, -1, 1)
        found.append(jnp.mean(diagonal, axis=tuple(range(2, diagonal.ndim - 1))))
    return found


def _spread(array: jax.Array, own: Stack, axes: Sequence[int]) -> jax.Array:
    """``[tensors, *sizes of some axes, channels]`` with axes of size 1 for the others."""
    shape = [own.shape[axis] if axis in axes else 1 for axis in range(own.rank)]
    return array.reshape(array.shape[0], *shape, array.shape[-1])


def _diagonal_mask(own: Stack, pair: tuple[int, int]) -> np.ndarray:
    eye = np.eye(own.shape[pair[0]], dtype=bool)
    shape = [own.shape[axis] if axis in pair else 1 for axis in range(own.rank)]
    return eye.reshape(1, *shape, 1)


def _axis_pairs(own: Stack) -> list[tuple[int, int]]:
    return [(first, second) for second in range(own.rank) for first in range(second)]


def _overall_means(
    stacks: Sequence[Stack],
    means: Sequence[Sequence[jax.Array]],
    diagonals: Sequence[Sequence[jax.Array]],
    arrays: Sequence[jax.Array],
) -> dict[int, jax.Array]:
    """For every source that there is, the mean over its tensors: ``[1, channels]``."""
    found: dict[int, list[jax.Array]] = {}
    for own, own_means, own_diagonals, x in zip(stacks, means, diagonals, arrays, strict=True):
        mean = jnp.mean(own_means[0], axis=1) if own.rank else x
        found.setdefault(rank_class(own.rank), []).append(mean)
        found.setdefault(1 + DIAGONAL, []).extend(jnp.mean(d, axis=1) for d in own_diagonals)
    return {
        source: jnp.mean(jnp.concatenate(values), axis=0, keepdims=True)
        for source, values in found.items()
        if values
    }


@dataclasses.dataclass(frozen=True)
class _Part:
    """Arrays ``[tensors, *sizes, channels]`` that are averaged over tensors of equal key."""

    source: int
    keys: tuple[Any, ...]
    array: jax.Array


class _Tables:
    """Means over all tensors that have a key, by source; keys of equal sizes lie on each other.

    Args:
      parts: what is averaged; a key of None is left out.
      shared: whether only keys that occur more than once count; the others give zero.
    """

    def __init__(self, parts: Sequence[_Part], shared: bool = False):
        occurrences = Counter(key for part in parts for key in part.keys)
        counts = Counter((part.source, key) for part in parts for key in part.keys)
        least = 2 if shared else 1
        self._places: dict[tuple[int, ...], dict[Any, int]] = {}
        self._means: dict[tuple[int, ...], dict[int, jax.Array]] = {}
        self._products: dict[Any, jax.Array] = {}
        for part in parts:
            places = self._places.setdefault(part.array.shape[1:-1], {})
            for key in part.keys:
                if key is not None and occurrences[key] >= least:
                    places.setdefault(key, len(places))
        for part in parts:
            sizes = part.array.shape[1:-1]
            places = self._places[sizes]
            weights = np.zeros((len(places), len(part.keys)))
            for tensor, key in enumerate(part.keys):
                if key in places:
                    weights[places[key], tensor] = 1 / counts[part.source, key]
            if weights.any():
                means = self._means.setdefault(sizes, {})
                mean = _weighted(weights, part.array)
                means[part.source] = means[part.source] + mean if part.source in means else mean

    def product(
        self, sizes: tuple[int, ...], keys: Sequence[Any], coefficients: jax.Array, name: Any
    ) -> jax.Array | None:
        """The sum over sources of mean times coefficients, for the tensors of these keys.

        Args:
          sizes: of the keys' axes.
          keys: one for each tensor.
          coefficients: ``[sources, input channels, output channels]``.
          name: of the coefficients; products are computed once for each name.

        Returns:
          ``[tensors, *sizes, output channels]``, or None where no key is in the table.
        """
        places = self._places.get(sizes, {})
        if not any(key in places for key in keys):
            return None
        if (sizes, name) not in self._products:
            self._products[sizes, name] = sum(
                mean @ coefficients[source] for source, mean in self._means[sizes].items()
            )
        table = self._products[sizes, name]
        if all(key in places for key in keys):
            return _take(table, [places[key] for key in keys])
        zero = len(table)
        table = jnp.concatenate([table, jnp.zeros_like(table[:1])])
        return _take(table, [places.get(key, zero) for key in keys])


def _space_tables(
    stacks: Sequence[Stack],
    means: Sequence[Sequence[jax.Array]],
    diagonals: Sequence[Sequence[jax.Array]],
) -> _Tables:
    """Means along every space, of all axes and diagonals that lie in it."""
    parts = [
        _Part(rank_class(own.rank) - 1, own.spaces[axis], mean)
        for own, own_means in zip(stacks, means, strict=True)
        for axis, mean in enumerate(own_means)
    ]
    parts += [
        _Part(DIAGONAL, own.spaces[pair[0]], diagonal)
        for own, own_diagonals in zip(stacks, diagonals, strict=True)
        for pair, diagonal in zip(own.pairs, own_diagonals, strict=True)
    ]
    return _Tables(parts)


def _pair_tables(stacks: Sequence[Stack], arrays: Sequence[jax.Array]) -> _Tables:
    """Means of all tensors that have the same two spaces, where there is more than one.

    A tensor that has them the other way round is transposed.
    """
    parts = []
    for own, x in zip(stacks, arrays, strict=True):
        for first, second in _axis_pairs(own):
            others = tuple(1 + a for a in range(own.rank) if a not in (first, second))
            matrix = jnp.mean(x, axis=others) if others else x
            parts.append(_Part(rank_class(own.rank) - 2, _pair_keys(own, first, second), matrix))
    there = {key for part in parts for key in part.keys}
    for part in tuple(parts):
        turned = [(b, a) if a != b and (b, a) in there else None for a, b in part.keys]
        if any(turned):
            parts.append(_Part(part.source, tuple(turned), jnp.swapaxes(part.array, 1, 2)))
    return _Tables(parts, shared=True)


def _pair_keys(own: Stack, first: int, second: int) -> tuple[tuple[str, str], ...]:
    return tuple(zip(own.spaces[first], own.spaces[second], strict=True))


def _weighted(weights: np.ndarray, array: jax.Array) -> jax.Array:
    """``[targets, tensors] x [tensors, ...] -> [targets, ...]``."""
    if weights.shape[0] == weights.shape[1] and np.array_equal(weights, np.eye(len(weights))):
        return array
    return jnp.einsum("st,t...->s...", jnp.asarray(weights, array.dtype), array)


def _take(table: jax.Array, places: Sequence[int]) -> jax.Array:
    if list(places) == list(range(len(table))):
        return table
    return jnp.take(table, np.array(places), axis=0)
