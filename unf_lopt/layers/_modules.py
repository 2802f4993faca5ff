"""The layers as Haiku modules: they fetch parameters and apply the plain functions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from unf_lopt.layers._linear import EquivariantLinear, input_channels_of
from unf_lopt.symmetry import PermutationSpec


class UNFLinear(hk.Module):
    """The linear layer of a universal neural functional; see :class:`EquivariantLinear`.

    Args:
      output_channels: channels of the output.
      spec: the weight space.
      fixed_axes: how fixed spaces are treated; ``"exchangeable"``: as if permutable.
      bias: ``"tensor"``, ``"full"`` or ``"none"``.
      initialization: ``"lecun"`` or ``"pointwise"``.
      name: the module's name.

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
        fixed_axes: str = "exchangeable",
        bias: str = "tensor",
        initialization: str = "lecun",
        name: str | None = None,
    ):
        super().__init__(name=name)
        self._linear = EquivariantLinear(spec, output_channels, fixed_axes, bias, initialization)

    def __call__(self, features: Any) -> Any:
        """``[*shape, input_channels]`` leaves to ``[*shape, output_channels]`` leaves."""
        leaves, _ = self._linear.spec.flatten(features)
        channels = input_channels_of(self._linear.spec, leaves)
        params = {}
        for name, shape in self._linear.parameter_shapes(channels).items():

            def init(_: Any, dtype: Any, name: str = name) -> jax.Array:
                return self._linear.init_parameter(name, hk.next_rng_key(), channels, dtype)

            params[name] = hk.get_parameter(name, shape, leaves[0].dtype, init=init)
        return self._linear.apply(params, features)


class PointwiseMLP(hk.Module):
    """One MLP of the channels, the same at every entry of every tensor.

    Commutes with every permutation of entries. It is the Deep Sets that the paper's parameter
    counts are reached with. The entries of all tensors are laid end to end, so that each layer
    is one matrix product whatever the number of tensors.

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
        leaves, treedef = jax.tree.flatten(features)
        entries = [leaf.reshape(-1, leaf.shape[-1]) for leaf in leaves]
        outputs = self._mlp(jnp.concatenate(entries))
        ends = itertools.accumulate(len(entry) for entry in entries)
        pieces = [
            outputs[end - len(entry) : end].reshape(*leaf.shape[:-1], -1)
            for end, entry, leaf in zip(ends, entries, leaves, strict=True)
        ]
        return jax.tree.unflatten(treedef, pieces)
