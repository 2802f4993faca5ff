"""The control of an experiment: a layer whose entries see themselves in the place of means."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from unf_lopt._types import PyTree
from unf_lopt.layers._linear import EquivariantLinear
from unf_lopt.layers._tied import TiedLinear


def apply_unpooled(
    layer: EquivariantLinear | TiedLinear,
    params: Mapping[str, jax.Array],
    blocks: Sequence[jax.Array],
) -> list[jax.Array]:
    """The layer with its parameters, but pointwise.

    Every mean over axes, spaces and tensors, and every entry on a diagonal, is replaced by the
    entry itself: the sum of all coefficients that lead to a tensor is one matrix, applied to each
    of its entries.

    Args:
      layer: with exchangeable or positional fixed axes; positions then are all the first one.
      params: as of the layer.
      blocks: of the spec's view, ``[*shape, input_channels]``.

    Returns:
      The same blocks, ``[*shape, output_channels]``.
    """
    channels, dtype = blocks[0].shape[-1], blocks[0].dtype
    spec = layer.spec
    # Where every space has one index a mean is that entry, whichever axes it is over.
    one = dataclasses.replace(spec, sizes=tuple((name, 1) for name, _ in spec.sizes))
    layer = dataclasses.replace(layer, spec=one)

    def of_constant(x: jax.Array) -> list[jax.Array]:
        features: PyTree = {
            path: jnp.broadcast_to(x, (*shape, channels))
            for path, shape in zip(one.paths, one.shapes, strict=True)
        }
        found, _ = one.view.flatten(layer.apply(params, features))
        return [own.reshape(-1) for own in found]

    biases = of_constant(jnp.zeros(channels, dtype))
    rows = jax.vmap(of_constant)(jnp.eye(channels, dtype=dtype))
    return [x @ (own - bias) + bias for x, own, bias in zip(blocks, rows, biases, strict=True)]
