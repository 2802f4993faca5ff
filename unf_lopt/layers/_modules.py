"""The layers as Haiku modules: they fetch parameters and apply the plain functions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from unf_lopt._types import PyTree
from unf_lopt.layers._blocks import EntryFunction, in_blocks
from unf_lopt.layers._fixed_axes import plain_spec
from unf_lopt.layers._linear import input_channels_of
from unf_lopt.layers._network import EquivariantNetwork, equivariant_linear, invariant_features
from unf_lopt.layers._pooling import lazy_features, whole_features
from unf_lopt.layers._unpooled import apply_unpooled
from unf_lopt.symmetry import PermutationSpec


class UNFLinear(hk.Module):
    """The linear layer of a universal neural functional; see :class:`EquivariantLinear`.

    Args:
      output_channels: channels of the output.
      spec: the weight space.
      coefficients: ``"per_pair"`` (:class:`EquivariantLinear`) or ``"tied"``
        (:class:`TiedLinear`): the same parameters for every weight space.
      fixed_axes: how fixed spaces are treated, see :class:`EquivariantLinear`.
      bias: ``"tensor"``, ``"full"`` or ``"none"``.
      initialization: ``"lecun"`` or ``"pointwise"``.
      pooling: whether means are taken; else an entry sees itself in the place of every mean: a
        pointwise layer with as many parameters, the control of an experiment.
      name: the module's name.
      **options: further ones of the layer.

    Raises:
      ValueError: an option that is not one of these.

    Example:
      >>> spec = PermutationSpec.from_names({"w": ("a", "b")}, {"w": jnp.zeros((3, 4))})
      >>> layer = hk.transform(lambda x: UNFLinear(8, spec)(x))
      >>> features = {"w": jnp.ones((3, 4, 2))}
      >>> layer.apply(layer.init(key, features), None, features)["w"].shape
      (3, 4, 8)
    """

    def __init__(
        self,
        output_channels: int,
        spec: PermutationSpec,
        *,
        coefficients: str = "per_pair",
        fixed_axes: str = "exchangeable",
        bias: str = "tensor",
        initialization: str = "lecun",
        pooling: bool = True,
        name: str | None = None,
        **options: Any,
    ):
        super().__init__(name=name)
        if not pooling and fixed_axes == "free":
            raise ValueError(
                "UNFLinear(pooling=False, fixed_axes='free'): single indices are of no use "
                "where every entry sees itself; take fixed_axes='exchangeable'."
            )
        self._pooling = pooling
        self._linear = equivariant_linear(
            spec,
            output_channels,
            coefficients,
            fixed_axes=fixed_axes,
            bias=bias,
            initialization=initialization,
            **options,
        )

    def __call__(
        self, features: Any, trunk: Callable[[list[jax.Array]], list[jax.Array]] | None = None
    ) -> Any:
        """``[*shape, input_channels]`` leaves to ``[*shape, output_channels]`` leaves.

        Args:
          features: a tree of the weight space.
          trunk: applied first, such as a :class:`PointwiseMLP`: the same function of the channels
            at every entry. It gets the arrays that the layer computes on, which for tied
            coefficients are few whatever the number of tensors.
        """
        if not self._pooling:
            blocks, unflatten = self._linear.spec.view.flatten(features)
            blocks = blocks if trunk is None else trunk(blocks)
            return unflatten(apply_unpooled(self._linear, self._parameters(blocks[0]), blocks))
        arrays, restored = self._linear.packed(features)
        if trunk is not None:
            arrays = trunk(arrays)
        return restored(self._linear.apply_packed(self._parameters(arrays[0]), arrays))

    def in_blocks(
        self, function: EntryFunction, *trees: PyTree, of_tensors: Sequence[PyTree] = ()
    ) -> PyTree:
        """The layer on ``in_blocks(function, *trees, of_tensors=of_tensors)``, never there whole.

        A large tensor's features are made block by block, multiplied and averaged: with few output
        channels, as an optimizer's last layer has, memory for them is bounded. Where the layer has
        more of them, or cross terms, features are there whole.

        Args:
          function: as :func:`in_blocks` takes it, giving one array ``[entries, channels]``; it may
            call modules, such as a :class:`PointwiseMLP`.
          *trees: of the weight space, leaves ``[*parameter.shape, *channels]``.
          of_tensors: leaves ``[*channels]``: one value for a tensor.

        Returns:
          A tree like the first, leaves ``[*parameter.shape, output_channels]``.

        Raises:
          SpecError: a tree does not fit the spec.
        """
        spec = plain_spec(self._linear.spec, self._linear.fixed_axes)[0]
        features = lazy_features(spec, function, trees, of_tensors)
        params = self._parameters(features[0].probe())
        leaves, unflatten = spec.flatten(trees[0])
        del leaves
        if self._pooling:
            results = self._linear.apply_lazily(params, features)
        else:
            results = apply_unpooled(self._linear, params, whole_features(features))
        return unflatten(spec.view.join(results))

    def _parameters(self, example: jax.Array) -> dict[str, jax.Array]:
        """The parameters for features like an example, ``[..., channels]``."""
        channels, init = example.shape[-1], self._linear.init_parameter
        return {
            name: _parameter(name, shape, example.dtype, functools.partial(init, name), channels)
            for name, shape in self._linear.parameter_shapes(channels).items()
        }


class UNF(hk.Module):
    """A universal neural functional: equivariant layers with a nonlinearity between them.

    Args:
      channels: of every layer; the last is the output.
      spec: the weight space.
      coefficients: ``"per_pair"`` or ``"tied"``, as of :class:`UNFLinear`.
      activation: applied after every layer but the last.
      residual: whether a layer's input is added to its output where channels allow.
      normalize: whether every layer's input is normalized, see :class:`EquivariantNetwork`.
      dropout_rate: the share of channels dropped before every layer but the first.
      zero_last: whether the last layer starts at zero.
      remat: whether activations are computed again for the gradient.
      name: the module's name.
      **layer_options: of :class:`UNFLinear`.

    Raises:
      ValueError: no channels, or an option that is not one of these.
    """

    def __init__(
        self,
        channels: Sequence[int],
        spec: PermutationSpec,
        *,
        coefficients: str = "per_pair",
        activation: Callable[[jax.Array], jax.Array] = jax.nn.relu,
        residual: bool = False,
        normalize: bool = False,
        dropout_rate: float = 0.0,
        zero_last: bool = False,
        remat: bool = False,
        name: str | None = None,
        **layer_options: Any,
    ):
        super().__init__(name=name)
        if not channels:
            raise ValueError("UNF(channels=[]): the channels of at least one layer are needed.")
        self._network = EquivariantNetwork(
            tuple(equivariant_linear(spec, n, coefficients, **layer_options) for n in channels),
            activation,
            residual,
            normalize,
            dropout_rate,
            zero_last,
            remat,
        )
        self._spec = spec

    def __call__(self, features: Any, is_training: bool = False) -> Any:
        """``[*shape, input_channels]`` leaves to ``[*shape, channels[-1]]`` leaves.

        Args:
          features: a tree of the weight space.
          is_training: whether to drop channels, which takes a key of Haiku's.
        """
        channels, dtype = _channels_and_dtype(self._spec, features)
        params = {
            layer: {
                name: _parameter(
                    f"{layer}.{name}",
                    shape,
                    dtype,
                    functools.partial(self._network.init_parameter, layer, name),
                    channels,
                )
                for name, shape in shapes.items()
            }
            for layer, shapes in self._network.parameter_shapes(channels).items()
        }
        drop = is_training and self._network.dropout_rate > 0
        return self._network.apply(params, features, key=hk.next_rng_key() if drop else None)


class InvariantPool(hk.Module):
    """What no permutation changes: a tree to one vector; see :func:`invariant_features`.

    Args:
      spec: the weight space.
      statistics: ``"mean"``, ``"rms"``, ``"max"``, ``"min"``: what is taken of every tensor.
      keep_fixed: whether fixed axes are kept, or statistics taken over them too.
      name: the module's name.
    """

    def __init__(
        self,
        spec: PermutationSpec,
        *,
        statistics: Sequence[str] = ("mean",),
        keep_fixed: bool = False,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self._spec, self._statistics, self._keep_fixed = spec, tuple(statistics), keep_fixed

    def __call__(self, features: Any) -> jax.Array:
        """``[*shape, channels]`` leaves to a vector."""
        return invariant_features(
            self._spec, features, statistics=self._statistics, keep_fixed=self._keep_fixed
        )


class PointwiseMLP(hk.Module):
    """One MLP of the channels, the same at every entry of every tensor.

    Commutes with every permutation of entries. It is the Deep Sets that the paper's parameter
    counts are reached with. Computed in blocks of entries, see :func:`in_blocks`; a function that
    makes a block's features may call it on an array ``[entries, input_channels]``.

    Args:
      widths: channels of the layers; the last is the output.
      activate_final: whether ReLU follows the last layer too.
      name: the module's name.
    """

    def __init__(
        self, widths: Sequence[int], *, activate_final: bool = False, name: str | None = None
    ):
        super().__init__(name=name)
        self._mlp = hk.nets.MLP(widths, activate_final=activate_final, name="mlp")

    def __call__(self, features: Any) -> Any:
        """``[*shape, input_channels]`` leaves to ``[*shape, widths[-1]]`` leaves."""
        if not jax.tree.leaves(features):
            return features
        if hk.running_init():  # parameters are made outside of loops
            example = jax.tree.leaves(features)[0]
            self._mlp(jnp.zeros((1, example.shape[-1]), example.dtype))
        return in_blocks(self._mlp, features, channel_axes=1)


def _channels_and_dtype(spec: PermutationSpec, features: Any) -> tuple[int, Any]:
    leaves, _ = spec.flatten(features)
    return input_channels_of(spec, leaves), leaves[0].dtype


def _parameter(
    name: str, shape: Sequence[int], dtype: Any, init: Callable[..., jax.Array], channels: int
) -> jax.Array:
    """A parameter of the module that is called, initialized as its plain layer says."""
    return hk.get_parameter(
        name, shape, dtype, init=lambda _, dtype: init(hk.next_rng_key(), channels, dtype)
    )
