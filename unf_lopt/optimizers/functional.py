"""The networks f of the step: what turns input features into a correction of every entry."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from unf_lopt.layers import PointwiseMLP, UNFLinear
from unf_lopt.optimizers.features import INPUT_CHANNELS
from unf_lopt.symmetry import PermutationSpec

PyTree = Any


@dataclasses.dataclass(frozen=True)
class Functional:
    """A network from ``[*shape, 19]`` to ``[*shape, 1]`` leaves, as two pure functions.

    Attributes:
      init: ``init(key)`` gives its parameters.
      apply: ``apply(parameters, features)`` gives a tree like ``features``.
    """

    init: Callable[[jax.Array], PyTree]
    apply: Callable[[PyTree, PyTree], PyTree]


def _functional(network: Callable[[PyTree], PyTree], example: PyTree) -> Functional:
    transformed = hk.without_apply_rng(hk.transform(network))
    return Functional(lambda key: transformed.init(key, example), transformed.apply)


def deep_sets_functional(hidden_channels: int, hidden_layers: int) -> Functional:
    """Pointwise layers with ReLU between, the same at every entry: needs no spec."""
    widths = [hidden_channels] * hidden_layers + [1]
    example = {"entry": jnp.zeros((1, INPUT_CHANNELS))}
    return _functional(lambda features: PointwiseMLP(widths)(features), example)


def unf_functional(
    spec: PermutationSpec, hidden_channels: int, hidden_layers: int, **layer_options: Any
) -> Functional:
    """DS-ReLU-…-DS-ReLU-UNF[1]: pointwise layers, then one that sees the whole weight space.

    Zhou et al., arXiv 2402.05232, appendix C.2.

    Args:
      spec: the weight space.
      hidden_channels: channels of the pointwise layers.
      hidden_layers: how many there are.
      **layer_options: of :class:`unf_lopt.UNFLinear`.
    """

    def network(features: PyTree) -> PyTree:
        trunk = PointwiseMLP([hidden_channels] * hidden_layers, activate_final=True)
        return UNFLinear(1, spec, **layer_options)(trunk(features))

    example = {
        path: jnp.zeros((*shape, INPUT_CHANNELS))
        for path, shape in zip(spec.paths, spec.shapes, strict=True)
    }
    return _functional(network, example)
