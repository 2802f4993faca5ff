"""Functions of wide matrices, on many matrices of any shape."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np


def widened(
    matrices: Sequence[jax.Array],
) -> tuple[list[jax.Array], Callable[[Sequence[jax.Array]], list[jax.Array]]]:
    """Tall matrices transposed, so that rows ≤ columns, and the function that turns them back.

    Args:
      matrices: each ``[copies, rows, columns]``.

    Returns:
      As many matrices, and a function of as many others of these shapes.
    """
    is_tall = [x.shape[-2] > x.shape[-1] for x in matrices]

    def turned(xs: Sequence[jax.Array]) -> list[jax.Array]:
        return [jnp.swapaxes(x, -1, -2) if t else x for x, t in zip(xs, is_tall, strict=True)]

    return turned(matrices), turned


def in_batches(
    function: Callable[[jax.Array], jax.Array], matrices: Sequence[jax.Array]
) -> list[jax.Array]:
    """Applies a function of wide matrices to equal shapes together, tall ones transposed.

    Args:
      function: from ``[copies, rows, columns]``, rows ≤ columns, to the same shape.
      matrices: each ``[copies, rows, columns]``.

    Returns:
      What it gives for each, transposed back.
    """
    flat, turned_back = widened(matrices)
    together = defaultdict(list)
    for i, x in enumerate(flat):
        together[x.shape[1:], x.dtype].append(i)
    for members in together.values():
        batch = function(jnp.concatenate([flat[i] for i in members]))
        ends = np.cumsum([len(flat[i]) for i in members])[:-1]
        for i, result in zip(members, jnp.split(batch, ends), strict=True):
            flat[i] = result
    return turned_back(flat)
