"""The equivariant linear layer: features, one matrix product a bucket, slots."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unf_lopt._options import check_option
from unf_lopt.layers._coefficient_arrays import Layout
from unf_lopt.layers._diagonals import write_diagonal
from unf_lopt.layers._fixed_axes import (
    FIXED_AXES,
    MAPS_LIMIT,
    POSITION_CHANNELS,
    check_count,
    plain_spec,
    position_encoding,
)
from unf_lopt.layers._partitions import Partition
from unf_lopt.layers._plan import Bucket, Plan, Slot, Term, make_plan
from unf_lopt.layers._pooling import LazyFeatures
from unf_lopt.layers._products import bucket_products, lazy_means, whole_means
from unf_lopt.layers._xla_hints import computed_once
from unf_lopt.symmetry import PermutationSpec, SpecError

Restored = Callable[[Sequence[jax.Array]], Any]
BIASES = ("tensor", "full", "none")
INITIALIZATIONS = ("lecun", "pointwise")


def check_layer_options(*, fixed_axes: str, bias: str, initialization: str) -> None:
    """Raises ValueError, naming the choices, for an option that no layer has."""
    check_option("fixed_axes", fixed_axes, FIXED_AXES)
    check_option("bias", bias, BIASES)
    check_option("initialization", initialization, INITIALIZATIONS)


@dataclasses.dataclass(frozen=True)
class EquivariantLinear:
    """Every linear map of a weight space that commutes with its permutations, and its biases.

    For each pair of tensors and each valid partition of the axes of both, one map with a
    coefficient matrix ``[input_channels, output_channels]``: read the input on the diagonal that
    the partition describes, average over the axes that only the input has, repeat along those
    that only the output has, write on the output's diagonal (Zhou et al., "Universal Neural
    Functionals", arXiv 2402.05232, section 3; averages in place of sums keep the scale
    independent of width). Plain JAX: ``init`` gives parameters, ``apply`` uses them.

    Attributes:
      spec: the weight space.
      output_channels: channels of the output.
      fixed_axes: how fixed spaces are treated. ``"exchangeable"``: as if permutable.
        ``"positional"``: the same, and every tensor adds to its output what it makes of the
        position along each of its fixed axes. ``"free"``: coefficients of their own for every
        index (Navon et al., arXiv 2301.12780).
      bias: ``"tensor"``: one a tensor and channel; ``"full"``: one for each valid partition of
        a tensor's own axes; ``"none"``.
      initialization: ``"lecun"``: normal, variance one over input channels times number of maps
        into the tensor; ``"pointwise"``: the maps from an entry to itself normal with variance
        one over input channels and all others zero, so that the layer starts as a pointwise one.
      balanced: whether a coefficient is its parameter divided by the square root of the number of
        maps into the tensor, but for maps from an entry to itself. A change of all parameters by
        a given size, as evolution strategies and Adam make them, then changes the output about
        as much as that of a pointwise layer, however many tensors there are.

    Raises:
      ValueError: at construction, for an option that is not one of these.
    """

    spec: PermutationSpec
    output_channels: int
    fixed_axes: str = "exchangeable"
    bias: str = "tensor"
    initialization: str = "lecun"
    balanced: bool = False
    maps_limit: int = MAPS_LIMIT

    def __post_init__(self) -> None:
        check_layer_options(
            fixed_axes=self.fixed_axes, bias=self.bias, initialization=self.initialization
        )
        if self.output_channels < 1:
            raise ValueError(
                f"EquivariantLinear(output_channels={self.output_channels}): needs at least one."
            )
        check_count(self.spec, self.fixed_axes, self.maps_limit)

    @property
    def plan(self) -> Plan:
        """Features and slots of every bucket, between the plain blocks of the spec's view.

        Spaces are numbered there, so that parameters are called the same whatever the spec's
        spaces are.
        """
        return make_plan(plain_spec(self.spec, self.fixed_axes)[1])

    def layout(self, input_channels: int) -> Layout:
        """How the coefficients are kept."""
        return Layout(self.plan, input_channels, self.output_channels)

    def parameter_shapes(self, input_channels: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters by name.

        Coefficients as :class:`Layout` says; biases ``[number of biases, output_channels]``.
        """
        shapes = self.layout(input_channels).shapes()
        if self.bias != "none":
            shapes["bias"] = (len(self._biased_slots()), self.output_channels)
        if self.fixed_axes == "positional" and self._fixed_places():
            places = len(self._fixed_places())
            shapes["positions"] = (places, POSITION_CHANNELS, self.output_channels)
        return shapes

    def init_parameter(
        self, name: str, key: jax.Array, input_channels: int, dtype: Any = None
    ) -> jax.Array:
        """The initial value of one parameter; see ``initialization``."""
        shape = self.parameter_shapes(input_channels)[name]
        dtype = dtype or jnp.result_type(float)
        if name in ("bias", "positions"):
            return jnp.zeros(shape, dtype)
        tables = _init_scales(self.plan.spec, self.initialization)
        scale = self.layout(input_channels).params(tables)[name]
        if self.balanced:
            scale = scale / self._balance(input_channels)[name]
        normal = jax.random.normal(key, shape, dtype)
        return normal * jnp.asarray(scale, dtype) / math.sqrt(input_channels)

    def coefficients(
        self, params: Mapping[str, jax.Array], input_channels: int
    ) -> dict[str, jax.Array]:
        """The parameters of the same layer that is not ``balanced``."""
        balance = self._balance(input_channels) if self.balanced else {}
        return {
            name: value * jnp.asarray(balance[name], value.dtype) if name in balance else value
            for name, value in params.items()
        }

    def _balance(self, input_channels: int) -> dict[str, np.ndarray]:
        """What parameters are multiplied by, by their names."""
        return self.layout(input_channels).params(_balance(self.plan.spec))

    def init(self, key: jax.Array, input_channels: int, dtype: Any = None) -> dict[str, jax.Array]:
        """Initial parameters for features of ``input_channels`` channels."""
        names = self.parameter_shapes(input_channels)
        keys = jax.random.split(key, len(names))
        return {
            name: self.init_parameter(name, subkey, input_channels, dtype)
            for name, subkey in zip(names, keys, strict=True)
        }

    def apply(self, params: Mapping[str, jax.Array], features: Any) -> Any:
        """Applies the layer.

        Args:
          params: as ``init`` makes them.
          features: a tree of the weight space, leaves ``[*parameter.shape, input_channels]``.

        Returns:
          A tree like ``features`` with leaves ``[*parameter.shape, output_channels]``.

        Raises:
          SpecError: the tree does not fit the spec, or its leaves differ in channels.
        """
        arrays, restored = self.packed(features)
        return restored(self.apply_packed(params, arrays))

    def packed(self, features: Any) -> tuple[list[jax.Array], Restored]:
        """The arrays that the layer computes on, and what makes a tree of such arrays again.

        Here the blocks of the spec's view, ``[*shape, channels]``.

        Raises:
          SpecError: the tree does not fit the spec, or its leaves differ in channels.
        """
        blocks, unflatten = plain_spec(self.spec, self.fixed_axes)[0].view.flatten(features)
        input_channels_of(self.plan.spec, blocks)
        return list(blocks), unflatten

    def apply_packed(
        self, params: Mapping[str, jax.Array], leaves: Sequence[jax.Array]
    ) -> list[jax.Array]:
        """The same on the arrays of :meth:`packed`."""
        leaves = [computed_once(leaf) for leaf in leaves]
        tables = self._tables(params, leaves[0].shape[-1])
        products = bucket_products(self.plan, tables, whole_means(self.plan, leaves))
        return self._from_products(params, products)

    def apply_lazily(
        self, params: Mapping[str, jax.Array], features: Sequence[LazyFeatures]
    ) -> list[jax.Array]:
        """The same on features of the blocks of :meth:`packed` that are not there whole.

        Those of large tensors never are, if the layer has few enough output channels.
        """
        tables = self._tables(params, features[0].probe().shape[-1])
        means, multiplied = lazy_means(self.plan, tables, features)
        products = bucket_products(self.plan, tables, means, multiplied)
        return self._from_products(params, products)

    def _tables(
        self, params: Mapping[str, jax.Array], input_channels: int
    ) -> dict[Bucket, jax.Array]:
        return self.layout(input_channels).tables(self.coefficients(params, input_channels))

    def _from_products(
        self, params: Mapping[str, jax.Array], bucket_products: Mapping[Bucket, jax.Array]
    ) -> list[jax.Array]:
        """What the slots receive, written where it belongs: ``[*shape, output_channels]``."""
        pieces: dict[tuple[int, Partition], list[jax.Array]] = {}
        for bucket, products in bucket_products.items():
            slots, order = self.plan.buckets[bucket][1], self.plan.axis_orders[bucket]
            if not bucket and self.bias != "none":
                rows = [slots.index(slot) for slot in self._biased_slots()]
                products = products.at[np.array(rows)].add(params["bias"])
            for index, slot in enumerate(slots):
                received = [slot.received[axis] for axis in order]
                piece = _align(products[..., index, :], slot, received)
                pieces.setdefault((slot.tensor, slot.blocks), []).append(piece)
        shapes = self.plan.spec.shapes
        outputs = [
            sum(
                write_diagonal(_add_small_first(pieces[tensor, blocks]), blocks, shape)
                for blocks in partitions
            )
            for tensor, (shape, partitions) in enumerate(
                zip(shapes, self.plan.diagonals, strict=True)
            )
        ]
        for (tensor, axis), encoded in self._positions(params):
            outputs[tensor] = outputs[tensor] + encoded.reshape(
                [-1 if other == axis else 1 for other in range(len(shapes[tensor]))]
                + [self.output_channels]
            )
        return [
            jnp.broadcast_to(output, (*shape, self.output_channels))
            for output, shape in zip(outputs, shapes, strict=True)
        ]

    def _fixed_places(self) -> list[tuple[int, int]]:
        """Tensor and axis of every fixed axis."""
        spec = self.plan.spec
        return [
            (tensor, axis)
            for tensor, names in enumerate(spec.axes)
            for axis, name in enumerate(names)
            if name in spec.fixed
        ]

    def _positions(
        self, params: Mapping[str, jax.Array]
    ) -> Iterator[tuple[tuple[int, int], jax.Array]]:
        """For every fixed axis what its positions add: ``[size, output_channels]``."""
        if self.fixed_axes == "positional":
            for number, (tensor, axis) in enumerate(self._fixed_places()):
                coefficients = params["positions"][number]
                encoding = position_encoding(self.plan.spec.shapes[tensor][axis])
                yield (tensor, axis), jnp.asarray(encoding, coefficients.dtype) @ coefficients

    def _biased_slots(self) -> list[Slot]:
        partitions = self.plan.diagonals
        if self.bias == "tensor":  # the discrete partition, first in the plan: no diagonal
            partitions = tuple(own[:1] for own in partitions)
        return [Slot(tensor, blocks, ()) for tensor, own in enumerate(partitions) for blocks in own]


def input_channels_of(spec: PermutationSpec, leaves: Sequence[Any]) -> int:
    """The number of channels that all leaves of a flattened feature tree have.

    Raises:
      SpecError: a leaf has no channel axis or more than one, or another number of channels.
    """
    channels = set()
    for path, shape, leaf in zip(spec.paths, spec.shapes, leaves, strict=True):
        if leaf.ndim != len(shape) + 1:
            raise SpecError(
                f"features of '{path}' must have shape {(*shape, 'channels')}; got {leaf.shape}."
            )
        channels.add(leaf.shape[-1])
    if len(channels) > 1:
        raise SpecError(f"features must have equally many channels everywhere; got {channels}.")
    return channels.pop()


@functools.lru_cache(maxsize=256)
def _init_scales(spec: PermutationSpec, initialization: str) -> dict[Bucket, np.ndarray]:
    """Standard deviation of each map's coefficients, before the one for channels, by bucket."""
    if initialization == "pointwise":
        return _by_map(spec, others=lambda maps: 0.0)
    return _by_map(spec, others=lambda maps: maps**-0.5, identity=lambda maps: maps**-0.5)


@functools.lru_cache(maxsize=256)
def _balance(spec: PermutationSpec) -> dict[Bucket, np.ndarray]:
    """What the parameters of a balanced layer are multiplied by, by bucket."""
    return _by_map(spec, others=lambda maps: maps**-0.5)


def _by_map(
    spec: PermutationSpec,
    others: Callable[[int], float],
    identity: Callable[[int], float] = lambda maps: 1.0,
) -> dict[Bucket, np.ndarray]:
    """A number for every map, ``[features, 1, slots, 1]``, from that of maps into its tensor."""
    plan = make_plan(spec)
    maps_into: Counter[int] = Counter()
    for features, slots in plan.buckets.values():
        for slot in slots:
            maps_into[slot.tensor] += len(features)
    tables = {}
    for bucket, (features, slots) in plan.buckets.items():
        tables[bucket] = np.empty((len(features), 1, len(slots), 1))
        tables[bucket][..., 0] = [others(maps_into[slot.tensor]) for slot in slots]
    for tensor, axes in enumerate(spec.axes):
        itself = tuple((axis, axis + len(axes)) for axis in range(len(axes)))
        bucket, feature, slot = plan.locate(Term(tensor, tensor, itself))
        tables[bucket][feature, :, slot] = identity(maps_into[tensor])
    return tables


def _align(product: jax.Array, slot: Slot, received: Sequence[int]) -> jax.Array:
    """Axes of a product in the order of the slot's blocks, of size 1 where none is received."""
    ascending = sorted(received)
    order = [received.index(block) for block in ascending]
    product = jnp.transpose(product, (*order, product.ndim - 1))
    sizes = iter(product.shape)
    shape = [next(sizes) if block in ascending else 1 for block in range(len(slot.blocks))]
    return product.reshape(*shape, product.shape[-1])


def _add_small_first(pieces: Sequence[jax.Array]) -> jax.Array:
    return functools.reduce(jnp.add, sorted(pieces, key=lambda piece: piece.size))
