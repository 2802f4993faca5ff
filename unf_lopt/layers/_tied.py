"""The equivariant layer with tied coefficients: one set of parameters for every weight space."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unf_lopt.layers._diagonals import write_diagonal
from unf_lopt.layers._fixed_axes import POSITION_CHANNELS, position_encoding
from unf_lopt.layers._linear import Restored, check_layer_options, input_channels_of
from unf_lopt.layers._pooling import LazyFeatures, whole_features
from unf_lopt.layers._stacks import Stack, make_stacks, spread, stack, unstack
from unf_lopt.layers._tied_means import (
    RANKS,
    SOURCES,
    Part,
    StackReading,
    TensorMeans,
    diagonal_blocks,
    rank_class,
    read_lazy_stack,
    read_stack,
    rows_at,
    space_groups,
    space_means,
    tensor_means,
    vectors_of,
)
from unf_lopt.layers._tied_pairs import with_pairs
from unf_lopt.layers._xla_hints import computed_once
from unf_lopt.symmetry import PermutationSpec


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

    Along a space that is nested in others there are no means by themselves, nor is there a diagonal
    that joins other outer indices: such terms would tie units of different heads. Ranks above 3
    count as 3. Each of these is a sum of basis maps of the full layer, so the
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
      balanced: as of :class:`EquivariantLinear`; all coefficients but ``self`` are divided by the
        square root of the number of matrices for each rank.
    """

    spec: PermutationSpec
    output_channels: int
    cross_terms: bool = False
    fixed_axes: str = "exchangeable"
    bias: str = "tensor"
    initialization: str = "lecun"
    balanced: bool = False

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
        """Shapes of the parameters by name; they do not depend on the spec.

        All coefficients are one array, ``[kinds, input_channels, output_channels]``, kind after
        kind of the list above; see :meth:`tables`.
        """
        shapes: dict[str, tuple[int, ...]] = {
            "coefficients": (self._matrices, input_channels, self.output_channels)
        }
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
        if name in ("bias", "positions"):
            return jnp.zeros(shape, dtype)
        normal = jax.random.normal(key, shape, dtype) / math.sqrt(input_channels)
        if self.initialization == "pointwise":
            (own,) = _KINDS["self"]  # the first ones
            return normal.at[own:].set(0)
        normal = normal / math.sqrt(len(_KINDS))
        return normal / self._balance(dtype) if self.balanced else normal

    def init(self, key: jax.Array, input_channels: int, dtype: Any = None) -> dict[str, jax.Array]:
        """Initial parameters for features of ``input_channels`` channels."""
        names = self.parameter_shapes(input_channels)
        keys = jax.random.split(key, len(names))
        return {
            name: self.init_parameter(name, subkey, input_channels, dtype)
            for name, subkey in zip(names, keys, strict=True)
        }

    @property
    def _kinds(self) -> dict[str, tuple[int, ...]]:
        return {name: kind for name, kind in _KINDS.items() if self.cross_terms or name != "pair"}

    @property
    def _matrices(self) -> int:
        """How many coefficient matrices there are."""
        return sum(map(math.prod, self._kinds.values()))

    def _balance(self, dtype: Any) -> jax.Array:
        """What the parameters of a balanced layer are multiplied by, ``[kinds, 1, 1]``."""
        (own,) = _KINDS["self"]  # the first ones
        others = math.sqrt(RANKS / self._matrices)
        return jnp.full((self._matrices, 1, 1), others, dtype).at[:own].set(1)

    def tables(self, params: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """Parameters with the coefficients by name, ``[*kinds, input_channels, output_channels]``.

        Ranks, and the ranks that means are taken from, are counted from the lowest that a kind is
        there for.
        """
        coefficients, start = params["coefficients"], 0
        if self.balanced:
            coefficients = coefficients * self._balance(coefficients.dtype)
        tables = {name: value for name, value in params.items() if name != "coefficients"}
        for name, kind in self._kinds.items():
            stop = start + math.prod(kind)
            tables[name] = coefficients[start:stop].reshape(*kind, *coefficients.shape[1:])
            start = stop
        return tables

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
        arrays, restored = self.packed(features)
        return restored(self.apply_packed(params, arrays))

    def packed(self, features: Any) -> tuple[list[jax.Array], Restored]:
        """The arrays that the layer computes on, and what makes a tree of such arrays again.

        Here tensors of equal shape on top of each other, ``[tensors, *shape, channels]``.

        Raises:
          SpecError: the tree does not fit the spec, or its leaves differ in channels.
        """
        blocks, unflatten = self.spec.view.flatten(features)
        input_channels_of(self._plain, blocks)
        return stack(self.stacks, blocks), lambda arrays: unflatten(unstack(self.stacks, arrays))

    def apply_packed(
        self, params: Mapping[str, jax.Array], arrays: Sequence[jax.Array]
    ) -> list[jax.Array]:
        """The same on the arrays of :meth:`packed`."""
        tables = self.tables(params)
        arrays = [computed_once(x) for x in arrays]
        readings = [
            read_stack(own, x, *self._matrices_of_entries(tables, own))
            for own, x in zip(self.stacks, arrays, strict=True)
        ]
        results = self._apply_to_readings(tables, readings)
        return (
            with_pairs(self.stacks, tables["pair"], arrays, results)
            if self.cross_terms
            else results
        )

    def apply_lazily(
        self, params: Mapping[str, jax.Array], features: Sequence[LazyFeatures]
    ) -> list[jax.Array]:
        """The same on features of the view's blocks that are not there whole.

        Those of large tensors never are, but for cross terms.

        Returns:
          The blocks of the spec's view, ``[*shape, output channels]``.
        """
        large = set() if self.cross_terms else {n for n, x in enumerate(features) if x.is_large}
        small = [n for n in range(len(features)) if n not in large]
        arrays = dict(zip(small, whole_features([features[n] for n in small]), strict=True))
        if self.cross_terms:
            results = self.apply_packed(params, stack(self.stacks, [arrays[n] for n in small]))
            return unstack(self.stacks, results)
        tables, readings = self.tables(params), []
        for own in self.stacks:
            matrices = self._matrices_of_entries(tables, own)
            if own.tensors[0] in large:
                lazy = [features[n] for n in own.tensors]
                readings.append(read_lazy_stack(own, lazy, *matrices))
            else:
                x = jnp.stack([computed_once(arrays[n]) for n in own.tensors])
                readings.append(read_stack(own, x, *matrices))
        return unstack(self.stacks, self._apply_to_readings(tables, readings))

    def _matrices_of_entries(
        self, tables: Mapping[str, jax.Array], own: Stack
    ) -> tuple[jax.Array, jax.Array | None]:
        """Coefficients of an entry itself, and of its transpose where there is one."""
        rank = rank_class(own.rank)
        return tables["self"][rank], tables["swap"][rank - 2] if own.pairs else None

    def _apply_to_readings(
        self, tables: Mapping[str, jax.Array], readings: Sequence[StackReading]
    ) -> list[jax.Array]:
        """The layer, but for cross terms: ``[tensors, *shape, output channels]`` by stack."""
        stacks = self.stacks
        vectors = vectors_of(stacks, readings)
        constants = self._constants(tables, tensor_means(stacks, readings))
        along = self._along_axes(tables, vectors)
        results = []
        for number, (own, reading) in enumerate(zip(stacks, readings, strict=True)):
            result = self._of_entries(tables, number, reading, along)
            constant = constants[number]
            for axis in own.free:
                vector = along[number, (axis,)]
                vector = vector + constant[:, None] if axis == own.free[0] else vector
                result = result + spread(vector, own, (axis,))
            results.append(result if own.rank else result + constant)
        return results

    def _of_entries(
        self,
        tables: Mapping[str, jax.Array],
        number: int,
        reading: StackReading,
        along: Mapping[Part, jax.Array],
    ) -> jax.Array:
        """What an entry gives itself, its transposes and the diagonals that it is on."""
        own = self.stacks[number]
        result = reading.itself
        for pair in own.pairs:
            if reading.swapped is not None:
                result = result + jnp.swapaxes(reading.swapped, 1 + pair[0], 1 + pair[1])
            coefficients = tables["own_diagonal"][rank_class(own.rank) - 2]
            diagonal = reading.diagonals[pair] @ coefficients
            if pair[0] in own.free:
                vector = along[number, pair]
                shape = [-1 if axis == pair[0] else 1 for axis in range(own.rank - 1)]
                diagonal = diagonal + vector.reshape(len(vector), *shape, self.output_channels)
            result = result + jax.vmap(
                lambda d, pair=pair, own=own: write_diagonal(
                    d, diagonal_blocks(own.rank, pair), own.shape
                )
            )(diagonal)
        return result

    def _constants(self, params: Mapping[str, jax.Array], means: TensorMeans) -> list[jax.Array]:
        """What all entries of a tensor get, by stack: ``[tensors, output channels]``."""
        overall = params["overall"][:, np.array(means.sources)]
        constant = jnp.einsum("kc,rkco->ro", means.overall, overall)
        if self.bias != "none":
            constant = constant + params["bias"]
        own_mean = jnp.einsum("tc,rco->rto", means.tensors, params["own_mean"])
        results, start = [], 0
        for own in self.stacks:
            rank, stop = rank_class(own.rank), start + len(own.tensors)
            result = constant[rank]
            if own.rank:
                result = result + own_mean[rank - 1, start:stop]
            results.append(jnp.broadcast_to(result, (len(own.tensors), self.output_channels)))
            start = stop
        return results

    def _along_axes(
        self, params: Mapping[str, jax.Array], vectors: Mapping[Part, jax.Array]
    ) -> dict[Part, jax.Array]:
        """What is the same for all entries with an index: ``[tensors, size, output channels]``.

        For an axis of a stack from the means along its space, its own and its positions; for a
        pair of axes in one space, on their diagonal, from the means along the space.
        """
        if not vectors:
            return {}
        groups, sources = space_groups(self.stacks)
        means = [space_means(group, vectors) for group in groups]
        rows = jnp.concatenate([x.reshape(-1, x.shape[-1]) for x in means])
        products = {"space": rows @ _joined(params["space"], sources)}
        if any(own.pairs for own in self.stacks):
            products["on_diagonal"] = rows @ _joined(params["on_diagonal"], sources)
        found = self._own_along_axes(params, vectors)
        start = 0
        for group, x in zip(groups, means, strict=True):
            stop = start + len(group.places) * group.size
            for part in group.parts:
                own, axes = self.stacks[part[0]], part[1]
                name = "space" if len(axes) == 1 else "on_diagonal"
                target = rank_class(own.rank) - len(axes)
                columns = slice(target * self.output_channels, (target + 1) * self.output_channels)
                table = products[name][start:stop, columns].reshape(*x.shape[:2], -1)
                vector = rows_at(table, [group.places[s] for s in own.spaces[axes[0]]])
                found[part] = found[part] + vector if part in found else vector
            start = stop
        return found

    def _own_along_axes(
        self, params: Mapping[str, jax.Array], vectors: Mapping[Part, jax.Array]
    ) -> dict[Part, jax.Array]:
        """The share of a tensor's own means and of positions."""
        found: dict[Part, jax.Array] = {}
        for target in range(RANKS - 2):
            parts = [
                part
                for part in vectors
                if len(part[1]) == 1 and rank_class(self.stacks[part[0]].rank) == target + 2
            ]
            if parts:
                rows = [vectors[part].reshape(-1, vectors[part].shape[-1]) for part in parts]
                product = jnp.concatenate(rows) @ params["own_axis"][target]
                starts = np.cumsum([len(own) for own in rows])[:-1]
                for part, own in zip(parts, jnp.split(product, starts), strict=True):
                    found[part] = own.reshape(*vectors[part].shape[:2], -1)
        if self.fixed_axes == "positional":
            for number, axes in vectors:
                if len(axes) == 1:
                    own = self.stacks[number]
                    coefficients = params["positions"][rank_class(own.rank) - 1]
                    positions = self._positions(coefficients, own, axes[0])
                    found[number, axes] = found.get((number, axes), 0) + positions
        return found

    def _positions(self, coefficients: jax.Array, own: Stack, axis: int) -> jax.Array:
        """What positions add where a tensor's axis is fixed: ``[tensors, size, channels]``."""
        is_fixed = np.array([space in self._plain.fixed for space in own.spaces[axis]])
        encoding = position_encoding(own.shape[axis]) * is_fixed[:, None, None]
        return jnp.asarray(encoding, coefficients.dtype) @ coefficients


# How many coefficient matrices there are of every kind, in the order in which they are kept:
# targets, then sources.
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


def _joined(coefficients: jax.Array, sources: Sequence[int]) -> jax.Array:
    """``[targets, sources, C, O] -> [sources * C, targets * O]``, of the sources that there are."""
    chosen = coefficients[:, np.array(sources)]
    targets, count, inputs, outputs = chosen.shape
    return jnp.transpose(chosen, (1, 2, 0, 3)).reshape(count * inputs, targets * outputs)
