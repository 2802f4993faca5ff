"""Networks of equivariant layers, and what is invariant of a weight space."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from unf_lopt._options import check_option
from unf_lopt.layers._linear import EquivariantLinear, input_channels_of
from unf_lopt.layers._tied import TiedLinear
from unf_lopt.symmetry import PermutationSpec

COEFFICIENTS = ("per_pair", "tied")
_EPSILON = 1e-6
# Of an array over some of its axes; of none where an array has none, such as a scalar's.
STATISTICS: dict[str, Callable[[jax.Array, tuple[int, ...]], jax.Array]] = {
    "mean": lambda x, axes: jnp.mean(x, axes),
    "rms": lambda x, axes: jnp.sqrt(jnp.mean(jnp.square(x), axes) + _EPSILON**2),
    "max": lambda x, axes: jnp.max(x, axes),
    "min": lambda x, axes: jnp.min(x, axes),
}


def equivariant_linear(
    spec: PermutationSpec, output_channels: int, coefficients: str = "per_pair", **options: Any
) -> EquivariantLinear | TiedLinear:
    """The layer of a kind of coefficients.

    Args:
      spec: the weight space.
      output_channels: channels of the output.
      coefficients: ``"per_pair"``: a coefficient of its own for every pair of tensors and every
        basis map between them (:class:`EquivariantLinear`); ``"tied"``: the same ones for all
        tensors and weight spaces (:class:`TiedLinear`).
      **options: of that layer.

    Raises:
      ValueError: an unknown ``coefficients``, or an option that the layer does not take.
    """
    check_option("coefficients", coefficients, COEFFICIENTS)
    layer = EquivariantLinear if coefficients == "per_pair" else TiedLinear
    known = {field.name for field in dataclasses.fields(layer)}
    unknown = sorted(options.keys() - known)
    if unknown:
        raise ValueError(f"coefficients={coefficients!r} takes no {', '.join(unknown)}.")
    return layer(spec, output_channels, **options)


@dataclasses.dataclass(frozen=True)
class EquivariantNetwork:
    """Equivariant layers with a nonlinearity between them; plain JAX.

    Attributes:
      layers: the layers, of one spec.
      activation: applied to every entry after every layer but the last.
      residual: whether a layer's input is added to its output where both have as many channels.
      normalize: whether every layer's input is divided by the root mean square of its channels,
        entry by entry, and multiplied by a learned scale, so that depth does not change the size
        of activations.
      dropout_rate: the share of channels that are dropped, entry by entry, before every layer but
        the first.
      zero_last: whether the last layer starts at zero.
      remat: whether activations within a layer are computed again for the gradient, which saves
        memory.
    """

    layers: tuple[EquivariantLinear | TiedLinear, ...]
    activation: Callable[[jax.Array], jax.Array] = jax.nn.relu
    residual: bool = False
    normalize: bool = False
    dropout_rate: float = 0.0
    zero_last: bool = False
    remat: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.dropout_rate < 1:
            raise ValueError(f"dropout_rate={self.dropout_rate}: a share, at least 0 and below 1.")

    def parameter_shapes(self, input_channels: int) -> dict[str, dict[str, tuple[int, ...]]]:
        """Shapes of the parameters of every layer, by name."""
        shapes = {}
        for name, layer, channels in self._named_layers(input_channels):
            shapes[name] = layer.parameter_shapes(channels)
            if self.normalize:
                shapes[name]["scale"] = (channels,)
        return shapes

    def init_parameter(
        self, layer_name: str, name: str, key: jax.Array, input_channels: int, dtype: Any = None
    ) -> jax.Array:
        """The initial value of one parameter."""
        named = list(self._named_layers(input_channels))
        ((layer, channels),) = [(own, n) for own_name, own, n in named if own_name == layer_name]
        shape = self.parameter_shapes(input_channels)[layer_name][name]
        if name == "scale":
            return jnp.ones(shape, dtype)
        if self.zero_last and layer_name == named[-1][0]:
            return jnp.zeros(shape, dtype)
        return layer.init_parameter(name, key, channels, dtype)

    def init(
        self, key: jax.Array, input_channels: int, dtype: Any = None
    ) -> dict[str, dict[str, jax.Array]]:
        """Initial parameters for features of ``input_channels`` channels."""
        shapes = self.parameter_shapes(input_channels)
        keys = iter(jax.random.split(key, sum(map(len, shapes.values()))))
        return {
            layer: {
                name: self.init_parameter(layer, name, next(keys), input_channels, dtype)
                for name in own
            }
            for layer, own in shapes.items()
        }

    def apply(
        self,
        params: Mapping[str, Mapping[str, jax.Array]],
        features: Any,
        *,
        key: jax.Array | None = None,
    ) -> Any:
        """Applies the network.

        Args:
          params: as ``init`` makes them.
          features: a tree of the weight space, leaves ``[*parameter.shape, input_channels]``.
          key: for dropout; without one nothing is dropped.

        Returns:
          A tree like ``features`` with the channels of the last layer.

        Raises:
          SpecError: the tree does not fit the spec, or its leaves differ in channels.
        """
        arrays, restored = self.layers[0].packed(features)
        names = [name for name, _, _ in self._named_layers(arrays[0].shape[-1])]
        keys = [None] * len(names) if key is None else jax.random.split(key, len(names))
        for index, (name, own_key) in enumerate(zip(names, keys, strict=True)):
            step = functools.partial(self._step, index)
            if self.remat:
                step = jax.checkpoint(step)
            arrays = step(params[name], arrays, own_key)
        return restored(arrays)

    def _step(
        self,
        index: int,
        params: Mapping[str, jax.Array],
        arrays: Sequence[jax.Array],
        key: jax.Array | None,
    ) -> list[jax.Array]:
        """One layer with what comes before and after it."""
        layer, inputs = self.layers[index], list(arrays)
        if self.normalize:
            arrays = [_normalized(x) * params["scale"] for x in arrays]
        if index > 0 and self.dropout_rate and key is not None:
            arrays = _dropped(arrays, self.dropout_rate, key)
        outputs = layer.apply_packed(params, arrays)
        if index < len(self.layers) - 1:
            outputs = [self.activation(x) for x in outputs]
        if self.residual and inputs[0].shape[-1] == outputs[0].shape[-1]:
            outputs = [x + y for x, y in zip(inputs, outputs, strict=True)]
        return outputs

    def _named_layers(
        self, input_channels: int
    ) -> list[tuple[str, EquivariantLinear | TiedLinear, int]]:
        channels = [input_channels, *(layer.output_channels for layer in self.layers)]
        return [(f"layer_{i}", layer, channels[i]) for i, layer in enumerate(self.layers)]


def invariant_features(
    spec: PermutationSpec,
    features: Any,
    *,
    statistics: Sequence[str] = ("mean",),
    keep_fixed: bool = False,
) -> jax.Array:
    """What no permutation changes: statistics of every tensor over its axes, end to end.

    Args:
      spec: the weight space.
      features: leaves ``[*parameter.shape, channels]``.
      statistics: names in `STATISTICS`: ``"mean"`` (Zhou et al., arXiv 2402.05232, section 3),
        ``"rms"``, the root of the mean square, ``"max"`` and ``"min"``.
      keep_fixed: whether fixed axes are kept, every index with numbers of its own; else statistics
        are over them as well.

    Returns:
      ``[n]``: for every statistic and every block of the spec's view as many numbers as it has
      channels, times the sizes of its fixed axes where they are kept.

    Raises:
      SpecError: the tree does not fit the spec, or its leaves differ in channels.
      ValueError: a statistic that there is not, or none.
    """
    if not statistics or isinstance(statistics, str):
        raise ValueError(f"statistics={statistics!r}: a sequence of names in {list(STATISTICS)}.")
    for name in statistics:
        check_option("statistics", name, tuple(STATISTICS))
    blocks, _ = spec.view.flatten(features)
    input_channels_of(spec.view.spec, blocks)
    kept = spec.fixed if keep_fixed else frozenset()
    axes_of = [
        tuple(i for i, space in enumerate(axes) if space not in kept)
        for axes in spec.view.spec.axes
    ]
    return jnp.concatenate(
        [
            jnp.ravel(STATISTICS[name](x, axes))
            for name in statistics
            for x, axes in zip(blocks, axes_of, strict=True)
        ]
    )


def _normalized(x: jax.Array) -> jax.Array:
    square = jnp.mean(
        jnp.square(x.astype(jnp.promote_types(x.dtype, jnp.float32))), -1, keepdims=True
    )
    return (x * jax.lax.rsqrt(square + _EPSILON)).astype(x.dtype)


def _dropped(arrays: Sequence[jax.Array], rate: float, key: jax.Array) -> list[jax.Array]:
    keys = jax.random.split(key, len(arrays))
    kept = [
        jax.random.bernoulli(own, 1 - rate, x.shape) for own, x in zip(keys, arrays, strict=True)
    ]
    return [jnp.where(keep, x / (1 - rate), 0) for keep, x in zip(kept, arrays, strict=True)]
