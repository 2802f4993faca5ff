"""Matrices with their singular values set to one: Muon's direction, and what it is made of."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from unf_lopt._options import check_option
from unf_lopt._types import PyTree
from unf_lopt.optimizers.batches import in_batches, widened
from unf_lopt.optimizers.directions import (
    AverageState,
    average,
    momentum,
    or_one,
    unit_rms,
    wide,
)
from unf_lopt.optimizers.matrices import Block, Matrices
from unf_lopt.optimizers.minimax import minimax_coefficients
from unf_lopt.optimizers.subspace import Bases, in_subspaces, start_basis
from unf_lopt.optimizers.transformation import transformation

# Coefficients of every round of Newton-Schulz: Jordan et al. (2024).
_QUINTIC = (3.4445, -4.7750, 2.0315)
POLYNOMIALS = ("quintic", "minimax")
# A subspace has at most the shorter side of a matrix over _PART as its rank; matrices whose side
# leaves less than _SMALLEST_RANK have none, Newton-Schulz costs little there.
_PART, _SMALLEST_RANK = 4, 8


@dataclasses.dataclass(frozen=True)
class Orthogonalization:
    """How exactly matrices are orthogonalized.

    Attributes:
      steps: rounds of Newton-Schulz.
      dense_steps: for matrices that are neither windows of convolutions nor heads; None for as many
        as the others.
      polynomials: ``"quintic"`` or ``"minimax"``, see :func:`newton_schulz`.
      rank: the largest of the subspaces in which wide matrices are orthogonalized, see
        :func:`subspace.in_subspaces`; None for none, all are then orthogonalized wholly. A matrix
        is wide from 32 rows and columns on, or four times the rank where that is less; the rank
        is at most a quarter of its shorter side.

    Raises:
      ValueError: at construction, for other polynomials.
    """

    steps: int = 5
    dense_steps: int | None = None
    polynomials: str = "quintic"
    rank: int | None = None

    def __post_init__(self) -> None:
        check_option("polynomials", self.polynomials, POLYNOMIALS)

    def rank_of(self, block: Block) -> int:
        """The rank of a block's subspace; 0 for one that is orthogonalized wholly."""
        own = min(block.matrices[1:]) // _PART
        if self.rank is None or own < min(self.rank, _SMALLEST_RANK):
            return 0
        return min(self.rank, own)

    def steps_of(self, block: Block) -> int:
        """Rounds of Newton-Schulz for a block."""
        return self.dense_steps if block.is_dense and self.dense_steps else self.steps

    def start(self, matrices: Matrices, dtype: Any = jnp.float32) -> Bases:
        """What is remembered of wide matrices, before the first step."""
        return tuple(
            start_basis(block.matrices, rank, dtype)
            for own in matrices.blocks
            for block in own
            if (rank := self.rank_of(block))
        )


def orthogonalized(
    matrices: Matrices, decay: Any = 0.95, *, nesterov: bool = True, steps: int = 5
) -> optax.GradientTransformation:
    """The momentum of every matrix, its singular values set to one and its RMS to one.

    Muon (Jordan et al., 2024) scaled as Liu et al. (arXiv 2502.16982) do: by shape alone, so that
    one step size is for all shapes, and for Adam as well. Vectors get Adam's direction without the
    average of squares, ``m / rms(m)``.

    Args:
      matrices: what the parameters are.
      decay: μ of the momentum.
      nesterov: whether ``μ·m + (1 − μ)·∇`` is orthogonalized instead of m.
      steps: of Newton-Schulz.
    """
    inner, way = momentum(decay), Orthogonalization(steps)

    def update(grad: PyTree, state: AverageState, params: PyTree = None) -> tuple[PyTree, Any]:
        direction, new_state = inner.update(grad, state)
        if nesterov:
            direction = average(direction, wide(grad), decay)
        leaves, unflatten = matrices.flatten(direction)
        unit, _ = orthogonalize(matrices, leaves, way)
        for i, role in enumerate(matrices.roles):
            if role == "vector":
                unit[i] = unit_rms(leaves[i])
        return unflatten(unit), new_state

    return transformation(inner.init, update)


def orthogonalize(
    matrices: Matrices,
    leaves: Sequence[jax.Array],
    way: Orthogonalization,
    bases: Bases = (),
) -> tuple[list[jax.Array], Bases]:
    """The matrices with singular values near one, every block scaled to root mean square 1.

    Args:
      matrices: what the parameters are.
      leaves: in the order of ``matrices.paths``; vectors stay as they are.
      way: how exactly.
      bases: of the wide matrices, of the last step.

    Returns:
      Leaves like the given ones, zero where a matrix is zero; and the bases for the next step.
    """
    blocks = [block for own in matrices.blocks for block in own]
    ranks = [way.rank_of(block) for block in blocks]
    new_bases = []

    def of_blocks(batches: list[jax.Array]) -> list[jax.Array]:
        results = list(batches)
        within = np.flatnonzero(ranks)
        flat, turned_back = widened([batches[i] for i in within])
        units, new = in_subspaces(flat, bases)
        for i, unit in zip(within, turned_back(units), strict=True):
            results[i] = unit
        new_bases.extend(new)
        whole = [i for i in range(len(blocks)) if not ranks[i]]
        for steps in sorted({way.steps_of(blocks[i]) for i in whole}):
            own = [i for i in whole if way.steps_of(blocks[i]) == steps]
            unit = functools.partial(_unit, steps=steps, polynomials=way.polynomials)
            for i, result in zip(own, in_batches(unit, [batches[i] for i in own]), strict=True):
                results[i] = result
        return results

    return matrices.map(of_blocks, leaves), tuple(new_bases)


def _unit(x: jax.Array, steps: int, polynomials: str) -> jax.Array:
    return unit_rms(newton_schulz(x, steps, polynomials), (-2, -1))


def newton_schulz(
    x: Float[Array, "*copies rows columns"], steps: int = 5, polynomials: str = "quintic"
) -> Float[Array, "*copies rows columns"]:
    """``U Vᵀ`` of ``x = U S Vᵀ``, roughly.

    ``X ← a·X + (b·X Xᵀ + c·(X Xᵀ)²) X``, with

    - ``"quintic"``: the same coefficients in every round, from x with Frobenius norm 1: singular
      values between about 0.7 and 1.2 (Jordan et al., "Muon: an optimizer for hidden layers in
      neural networks", 2024);
    - ``"minimax"``: in every round those that leave singular values nearest to 1
      (:func:`minimax_coefficients`), from x over its Schatten-4 norm, which is nearer to the
      largest singular value and costs nothing, since the first round has ``X Xᵀ`` anyway.

    Multiplying x by a positive number changes nothing; permutations and other rotations of rows
    and of columns pass through.

    Args:
      x: matrices; fewest products where rows ≤ columns.
      steps: how often.
      polynomials: one of `POLYNOMIALS`.

    Returns:
      As x; zero where a matrix is zero.
    """
    x = unit_rms(x, (-2, -1)) / np.sqrt(x.shape[-2] * x.shape[-1])
    is_minimax = polynomials == "minimax"
    rounds = minimax_coefficients(steps) if is_minimax else (_QUINTIC,) * steps
    for i, (a, b, c) in enumerate(rounds):
        gram = x @ jnp.swapaxes(x, -1, -2)
        if is_minimax and i == 0:
            norm = or_one(jnp.sqrt(jnp.sum(jnp.square(gram), (-2, -1), keepdims=True)))
            x, gram = x * jax.lax.rsqrt(norm), gram / norm
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x
