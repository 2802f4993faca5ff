"""The networks f of the step: what turns input features into a correction of every entry."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from unf_lopt.layers import PointwiseMLP, UNFLinear, role_features
from unf_lopt.optimizers.features import INPUT_CHANNELS
from unf_lopt.symmetry import PermutationSpec

PyTree = Any

# What a functional is initialized on whose parameters are the same for every weight space.
SOME_SPEC = PermutationSpec(("w",), (("units",),), (("units", 1),), frozenset())


@dataclasses.dataclass(frozen=True)
class Functional:
    """A network from ``[*shape, 19]`` to ``[*shape, channels]`` leaves, as two pure functions.

    Attributes:
      init: ``init(key)`` gives its parameters.
      apply: ``apply(parameters, features)`` gives a tree like ``features``.
    """

    init: Callable[[jax.Array], PyTree]
    apply: Callable[[PyTree, PyTree], PyTree]


def _functional(
    network: Callable[[PyTree], PyTree], shapes: dict[str, Sequence[int]]
) -> Functional:
    transformed = hk.without_apply_rng(hk.transform(network))

    @jax.jit  # only what makes parameters is compiled, not the network operation by operation
    def init(key: jax.Array) -> PyTree:
        example = {path: jnp.zeros((*shape, INPUT_CHANNELS)) for path, shape in shapes.items()}
        return transformed.init(key, example)

    return Functional(init, transformed.apply)


def deep_sets_functional(
    hidden_channels: int, hidden_layers: int, output_channels: int
) -> Functional:
    """Pointwise layers with ReLU between, the same at every entry: needs no spec."""
    widths = [hidden_channels] * hidden_layers + [output_channels]

    def network(features: PyTree) -> PyTree:
        return PointwiseMLP(widths)(features) if jax.tree.leaves(features) else features

    return _functional(network, {"entry": (1,)})


def equivariant_functional(
    spec: PermutationSpec,
    hidden_channels: int,
    hidden_layers: int,
    output_channels: int,
    *,
    roles: bool = False,
    **layer_options: Any,
) -> Functional:
    """DS-ReLU-…-DS-ReLU-X: pointwise layers, then one that sees the whole weight space.

    Zhou et al., arXiv 2402.05232, appendix C.2.

    Args:
      spec: the weight space.
      hidden_channels: channels of the pointwise layers.
      hidden_layers: how many there are.
      output_channels: of the last layer.
      roles: whether the pointwise layers are told what every parameter is for, see
        :func:`unf_lopt.layers.role_features`.
      **layer_options: of :class:`unf_lopt.UNFLinear`.
    """

    def network(features: PyTree) -> PyTree:
        if roles:
            features = role_features(spec, features)
        trunk = PointwiseMLP([hidden_channels] * hidden_layers, activate_final=True)
        return UNFLinear(output_channels, spec, **layer_options)(features, trunk)

    return _functional(network, dict(zip(spec.paths, spec.shapes, strict=True)))
