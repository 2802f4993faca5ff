"""A functional that turns the mixed direction of a step, entry by entry."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from unf_lopt._types import PyTree
from unf_lopt.optimizers.directions import SMALLEST_SQUARE, whitened
from unf_lopt.optimizers.features import Features
from unf_lopt.optimizers.functional import SOME_SPEC, Functional, front_functional
from unf_lopt.optimizers.matrices import ROLES, Matrices
from unf_lopt.optimizers.statistics import Statistics
from unf_lopt.symmetry import PermutationSpec

_OF_ENTRIES, _OF_TIME = 8, 2
CHANNELS = _OF_ENTRIES + _OF_TIME + len(ROLES)
# No feature is larger.
_BOUND = 8.0
# A mean square below this counts as zero: derivatives of what is divided by its root are finite.
_SMALLEST = 1e-24


def entry_functional(
    spec: PermutationSpec | None, channels: int, *, pooling: bool = True
) -> Functional:
    """One number for every entry: an equivariant layer in front of pointwise ones.

    See :func:`functional.front_functional`. Coefficients are tied, so theta is the same in number
    and shape for every weight space; the output is zero at first.

    Args:
      spec: the weight space; None where only theta is to be made.
      channels: of the equivariant layer; the pointwise layer after it has twice as many.
      pooling: whether the layer takes means, else entries see themselves in their place.
    """
    return front_functional(
        SOME_SPEC if spec is None else spec,
        channels,
        1,
        1,
        input_channels=CHANNELS,
        coefficients="tied",
        pooling=pooling,
    )


def entry_features(
    matrices: Matrices,
    unflatten: Callable[[Sequence[jax.Array]], PyTree],
    leaves: Sequence[Sequence[jax.Array]],
    found: Statistics,
    time: Sequence[jax.Array],
) -> Features:
    """What the functional sees of every entry: ``CHANNELS`` numbers.

    Gradient, momentum, the root of the second moment, parameters and direction, each over its root
    mean square in the tensor; gradient and momentum over the root of the second moment, and the
    product of these two. For the whole tensor time and role.

    Args:
      matrices: what the parameters are.
      unflatten: from leaves in their order to a tree.
      leaves: gradient, debiased momentum and second moment, parameters, and the direction.
      found: statistics of the first four.
      time: what is known of t and T, two numbers of order one.
    """
    *_, direction = leaves
    own = jnp.stack([jnp.mean(jnp.square(d)) for d in direction])
    squares = jnp.stack([found.gradient, found.first, found.second, found.params, own], -1)
    is_there = squares > _SMALLEST
    scales = jnp.where(is_there, jax.lax.rsqrt(jnp.where(is_there, squares, 1)), 0)
    roles = np.array([[role == own for role in ROLES] for own in matrices.roles], float)
    of_time = jnp.broadcast_to(jnp.stack(time), (len(roles), _OF_TIME))
    known = jnp.concatenate([of_time, jnp.asarray(roles, of_time.dtype)], -1)

    def make(*x: jax.Array) -> jax.Array:
        g, m, v, p, d, scale, of_tensor = x
        relative = jnp.stack([g, m, jnp.sqrt(v + SMALLEST_SQUARE), p, d], -1) * scale
        white = [whitened(own, v) for own in (g, m)]
        entries = jnp.concatenate([relative, jnp.stack([*white, white[0] * white[1]], -1)], -1)
        of_tensor = jnp.broadcast_to(of_tensor, (len(g), of_tensor.shape[-1]))
        return jnp.concatenate([jnp.clip(entries, -_BOUND, _BOUND), of_tensor], -1)

    trees = tuple(unflatten(list(own)) for own in leaves)
    return Features(make, trees, (unflatten(list(scales)), unflatten(list(known))))
