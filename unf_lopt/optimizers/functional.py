"""The networks f of the step: what turns input features into a correction of every entry."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from unf_lopt._types import PyTree
from unf_lopt.layers import PointwiseMLP, UNFLinear, in_blocks, role_codes
from unf_lopt.optimizers.features import INPUT_CHANNELS, Features
from unf_lopt.symmetry import PermutationSpec

# What a functional is initialized on whose parameters are the same for every weight space.
SOME_SPEC = PermutationSpec(("w",), (("units",),), (("units", 1),), frozenset())


@dataclasses.dataclass(frozen=True)
class Functional:
    """A network from the input features to ``[*shape, channels]`` leaves, as two pure functions.

    Attributes:
      init: ``init(key)`` gives its parameters.
      apply: ``apply(parameters, features)`` gives a tree like those of the ``Features``.
    """

    init: Callable[[jax.Array], PyTree]
    apply: Callable[[PyTree, Features], PyTree]


def _functional(
    network: Callable[[Features], PyTree],
    shapes: dict[str, Sequence[int]],
    input_channels: int = INPUT_CHANNELS,
) -> Functional:
    transformed = hk.without_apply_rng(hk.transform(network))

    @jax.jit  # only what makes parameters is compiled, not the network operation by operation
    def init(key: jax.Array) -> PyTree:
        zeros = {path: jnp.zeros(shape) for path, shape in shapes.items()}
        example = Features(lambda x: jnp.zeros((*x.shape, input_channels), x.dtype), (zeros,))
        return transformed.init(key, example)

    return Functional(init, transformed.apply)


def deep_sets_functional(
    hidden_channels: int, hidden_layers: int, output_channels: int
) -> Functional:
    """Pointwise layers with ReLU between, the same at every entry: needs no spec."""
    widths = [hidden_channels] * hidden_layers + [output_channels]

    def network(features: Features) -> PyTree:
        mlp = PointwiseMLP(widths)
        if hk.running_init():  # parameters are made outside of loops
            mlp(jnp.zeros((1, INPUT_CHANNELS)))
        return in_blocks(
            lambda *x: mlp(features.make(*x)), *features.trees, of_tensors=features.of_tensors
        )

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
        :func:`unf_lopt.layers.role_codes`.
      **layer_options: of :class:`unf_lopt.UNFLinear`.
    """

    def network(features: Features) -> PyTree:
        if roles:
            features = _with_roles(spec, features)
        trunk = PointwiseMLP([hidden_channels] * hidden_layers, activate_final=True)
        last = UNFLinear(output_channels, spec, **layer_options)
        return last.in_blocks(
            lambda *x: trunk(features.make(*x)), *features.trees, of_tensors=features.of_tensors
        )

    return _functional(network, dict(zip(spec.paths, spec.shapes, strict=True)))


def front_functional(
    spec: PermutationSpec,
    hidden_channels: int,
    hidden_layers: int,
    output_channels: int,
    *,
    roles: bool = False,
    input_channels: int = INPUT_CHANNELS,
    **layer_options: Any,
) -> Functional:
    """DS-ReLU-X-ReLU, and beside the inputs DS-ReLU-…-DS: the weight space is seen first.

    ``f = g([relu(X(relu(A·x))), x])``: pointwise layers g can use for every entry what the
    equivariant layer X gathered; where X is last its terms are only added. The output layer is
    zero at first.

    Args:
      spec: the weight space.
      hidden_channels: channels before and behind the equivariant layer; g has twice as many.
      hidden_layers: how many layers g has before its last.
      output_channels: of the last layer.
      roles: as of :func:`equivariant_functional`.
      input_channels: of the features.
      **layer_options: of :class:`unf_lopt.UNFLinear`.
    """

    def network(features: Features) -> PyTree:
        if roles:
            features = _with_roles(spec, features)
        front = PointwiseMLP([hidden_channels], activate_final=True, name="front")
        gathered = UNFLinear(hidden_channels, spec, **layer_options).in_blocks(
            lambda *x: front(features.make(*x)), *features.trees, of_tensors=features.of_tensors
        )
        hidden = PointwiseMLP([2 * hidden_channels] * hidden_layers, activate_final=True)
        last = hk.Linear(output_channels, w_init=hk.initializers.Constant(0.0), name="last")

        def of_entries(own: jax.Array, *x: jax.Array) -> jax.Array:
            both = jnp.concatenate([jax.nn.relu(own), features.make(*x)], axis=-1)
            return last(hidden(both) if hidden_layers else both)

        trees, of_tensors = (gathered, *features.trees), features.of_tensors
        if hk.running_init():  # parameters are made outside of loops
            leaves = [jax.tree.leaves(tree)[0] for tree in trees]
            entry = [x.reshape(-1, *x.shape[leaves[1].ndim :])[:1] for x in leaves]
            of_entries(*entry, *(jax.tree.leaves(tree)[0][None] for tree in of_tensors))
        return in_blocks(of_entries, *trees, of_tensors=of_tensors, channel_axes=1)

    return _functional(network, dict(zip(spec.paths, spec.shapes, strict=True)), input_channels)


# Where the layer is that sees the weight space.
ARRANGEMENTS: dict[str, Callable[..., Functional]] = {
    "last": equivariant_functional,
    "front": front_functional,
}


def _with_roles(spec: PermutationSpec, features: Features) -> Features:
    """The features with a channel for each role after their own."""
    _, unflatten = spec.flatten(features.trees[0])
    codes = unflatten([jnp.asarray(code) for code in role_codes(spec)])

    def make(*x: jax.Array) -> jax.Array:
        own = features.make(*x[:-1])
        code = jnp.broadcast_to(x[-1].astype(own.dtype), (*own.shape[:-1], x[-1].shape[-1]))
        return jnp.concatenate([own, code], axis=-1)

    return Features(make, features.trees, (*features.of_tensors, codes))
