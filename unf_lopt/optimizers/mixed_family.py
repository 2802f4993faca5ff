"""The learned optimizers that mix directions, as users make them."""

from __future__ import annotations

from collections.abc import Sequence

from unf_lopt.optimizers.frozen import Frozen, check_frozen
from unf_lopt.optimizers.learned_optimizer import LearnedOptimizer
from unf_lopt.optimizers.mixed_optimizer import MixedLearnedOptimizer, MixedOptions
from unf_lopt.symmetry import PermutationSpec


def mixed_step(
    spec: PermutationSpec | None = None,
    *,
    directions: Sequence[str] = ("adam", "normalized"),
    newton_schulz_steps: int = 5,
    dense_newton_schulz_steps: int | None = None,
    newton_schulz: str = "quintic",
    orthogonalized_rank: int | None = None,
    heads: bool = True,
    functional: int = 0,
    pooling: bool = True,
    horizon_features: bool = True,
    hypergradient: bool = False,
    extents: bool = False,
    learned_weight_decay: bool = False,
    gradient_clip: float | None = 1.0,
    weight_decay: float = 0.0,
    frozen: Frozen = (),
) -> LearnedOptimizer:
    """Directions mixed and scheduled by fifteen learned scalars (two more a further direction).

    ``W ← W − α·Σᵢ wᵢ·dᵢ``, see :class:`unf_lopt.optimizers.mixed_step.MixedStep`: step
    sizes by the role of a parameter, a schedule over the horizon, a warm-up, decays and a mix. One
    theta is for every architecture. A step needs the number of steps in all.

    Args:
      spec: the weight space that it is bound to; roles and matrices are read from it.
      directions: which: ``"adam"``, ``"factored"``, ``"momentum"``, ``"normalized"`` (rows and
        columns), ``"orthogonalized"`` (which costs matrix products).
      newton_schulz_steps: how exactly matrices are orthogonalized, where they are.
      dense_newton_schulz_steps: how exactly those that are neither windows of convolutions nor
        heads, for which fewer rounds are enough; None for as the others.
      newton_schulz: its coefficients: ``"quintic"``, Muon's, or ``"minimax"``, which are best for
        as many rounds; see :func:`unf_lopt.optimizers.orthogonalization.newton_schulz`.
      orthogonalized_rank: the largest of the subspaces in which matrices of at least 32 rows and
        columns are orthogonalized; None to orthogonalize all wholly. See
        :func:`unf_lopt.optimizers.subspace.in_subspaces`.
      heads: whether the heads of an attention are matrices of their own.
      functional: channels of a functional that turns the direction of every entry and leaves its
        size in the tensor as it is, 0 for none; see
        :func:`unf_lopt.optimizers.entry_functional.entry_functional`.
      pooling: whether the functional's equivariant layer takes means; else entries see themselves
        in their place, with as many parameters.
      horizon_features: whether the step depends on how many steps there will be; else it is not
        scheduled.
      hypergradient: whether every tensor remembers a factor of its step size, which grows while
        its gradients agree and shrinks while they oppose each other; two scalars more. See
        :mod:`unf_lopt.optimizers.hypergradient`.
      extents: whether step sizes are powers of the rows, the columns and the window of matrices
        and of the number of tensors; four scalars more.
      learned_weight_decay: whether the weight decay of matrices is learned, beside
        ``weight_decay``; two scalars more.
      gradient_clip: largest norm of the whole gradient, or None.
      weight_decay: λ in W ← W − α·(d + λ·W).
      frozen: paths (or their beginnings) of parameters that are not trained, or a function of the
        path that says so.

    Raises:
      ValueError: a number is out of its range.
    """
    options = MixedOptions(
        functional=functional,
        pooling=pooling,
        horizon_features=horizon_features,
        hypergradient=hypergradient,
        extents=extents,
        learned_weight_decay=learned_weight_decay,
        directions=tuple(directions),
        newton_schulz_steps=newton_schulz_steps,
        dense_newton_schulz_steps=dense_newton_schulz_steps,
        newton_schulz=newton_schulz,
        orthogonalized_rank=orthogonalized_rank,
        heads=heads,
        gradient_clip=gradient_clip,
        weight_decay=weight_decay,
    )
    return made_mixed("mixed_step", options, frozen, spec)


def unf_controller(
    spec: PermutationSpec | None = None,
    *,
    width: int = 16,
    pooling: bool = True,
    rows_and_columns: bool = False,
    functional: int = 0,
    horizon_features: bool = True,
    hypergradient: bool = False,
    extents: bool = False,
    learned_weight_decay: bool = False,
    directions: Sequence[str] = ("adam", "normalized"),
    newton_schulz_steps: int = 5,
    dense_newton_schulz_steps: int | None = None,
    newton_schulz: str = "quintic",
    orthogonalized_rank: int | None = None,
    heads: bool = True,
    gradient_clip: float | None = 1.0,
    weight_decay: float = 0.0,
    frozen: Frozen = (),
) -> LearnedOptimizer:
    """:func:`mixed_step`, its step sizes and mixes corrected by a functional of pooled statistics.

    The functional sees every tensor's means (of squares of gradient, momentum and parameters, of
    products), the loss and the time, and gives a number a tensor and direction; see
    :class:`unf_lopt.optimizers.controller.Controller`. Its cost hardly depends on the size of the
    parameters. A step needs the loss: ``update(gradient, state, params, value=loss)``.

    Args:
      spec: as of :func:`mixed_step`.
      width: channels of the functional's layers.
      pooling: whether tensors (and rows and columns, and the functional's entries) see means over
        the weight space; else they see themselves in their place, with as many parameters.
      rows_and_columns: whether rows and columns of tensors have step sizes as well.
      functional: as of :func:`mixed_step`.
      horizon_features: as of :func:`mixed_step`.
      hypergradient: as of :func:`mixed_step`; the functional sees and changes these factors.
      extents: as of :func:`mixed_step`; the functional sees them.
      learned_weight_decay: as of :func:`mixed_step`; the functional changes it.
      directions: as of :func:`mixed_step`.
      newton_schulz_steps: as of :func:`mixed_step`.
      dense_newton_schulz_steps: as of :func:`mixed_step`.
      newton_schulz: as of :func:`mixed_step`.
      orthogonalized_rank: as of :func:`mixed_step`.
      heads: as of :func:`mixed_step`.
      gradient_clip: as of :func:`mixed_step`.
      weight_decay: as of :func:`mixed_step`.
      frozen: as of :func:`mixed_step`.

    Raises:
      ValueError: a number is out of its range.
    """
    if isinstance(width, bool) or not isinstance(width, int) or width < 1:
        raise ValueError(f"width={width!r}: must be a whole number, 1 or more.")
    options = MixedOptions(
        controller=width,
        functional=functional,
        rows_and_columns=rows_and_columns,
        pooling=pooling,
        horizon_features=horizon_features,
        hypergradient=hypergradient,
        extents=extents,
        learned_weight_decay=learned_weight_decay,
        directions=tuple(directions),
        newton_schulz_steps=newton_schulz_steps,
        dense_newton_schulz_steps=dense_newton_schulz_steps,
        newton_schulz=newton_schulz,
        orthogonalized_rank=orthogonalized_rank,
        heads=heads,
        gradient_clip=gradient_clip,
        weight_decay=weight_decay,
    )
    return made_mixed("unf_controller", options, frozen, spec)


def made_mixed(
    name: str, options: MixedOptions, frozen: Frozen, spec: PermutationSpec | None = None
) -> LearnedOptimizer:
    """The optimizer of these options, bound to the spec if there is one.

    Args:
      name: what messages, files and gin call it.
      options: how the step is computed.
      frozen: parameters that are not trained.
      spec: the weight space, or None.

    Raises:
      ValueError: ``frozen`` is a single text.
      TypeError: ``frozen`` is neither paths nor a function of a path.
    """
    lopt = MixedLearnedOptimizer(name, options, check_frozen(frozen))
    return lopt if spec is None else lopt.bind(spec)
