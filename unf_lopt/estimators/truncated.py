"""Truncations of inner runs, which go on from one outer step to the next."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from unf_lopt._types import PyTree
from unf_lopt.estimators.horizons import Horizons
from unf_lopt.estimators.inner_run import InnerRun, Losses, RunState, added, no_losses


def advance(
    inner: InnerRun, theta: PyTree, run: RunState, steps: int, *, checkpointed: bool = False
) -> tuple[RunState, Losses]:
    """Takes some steps of a run, at most up to its horizon.

    Steps beyond the horizon change nothing and count for nothing, so that a truncation belongs to
    one run.

    Args:
      inner: the inner training.
      theta: the meta-parameters.
      run: the run.
      steps: how many.
      checkpointed: whether steps are computed again for the derivative.

    Returns:
      The run after them, and the losses.
    """
    places = inner.places(run, steps)
    split = inner.objective.split
    valid = None if split == "train" else inner.places(run, steps, split)

    def step(
        carry: tuple[RunState, Losses], number: jax.Array
    ) -> tuple[tuple[RunState, Losses], None]:
        before, losses = carry
        own = None if valid is None else valid[number]
        after, found = inner.step(theta, before, places[number], own)
        goes_on = before.step < before.horizon
        found = jax.tree.map(lambda x: jnp.where(goes_on, x, 0.0), found)
        return (where(goes_on, after, before), added(losses, found)), None

    body = jax.checkpoint(step) if checkpointed else step
    return jax.lax.scan(body, (run, no_losses()), jnp.arange(steps))[0]


def is_over(run: RunState) -> jax.Array:
    """Whether a run has reached its horizon."""
    return run.step >= run.horizon


def first_horizon(horizons: Horizons, key: jax.Array) -> jax.Array:
    """The horizon of a run that counts as begun some steps ago, so that not all end at once.

    The ecosystem's estimators do the same (``random_initial_iteration_offset``).
    """
    horizon_key, offset_key = jax.random.split(key)
    horizon = horizons.draw(horizon_key)
    return jnp.maximum(horizon - jnp.floor(jax.random.uniform(offset_key) * horizon), 1.0)


def where(condition: jax.Array, one: PyTree, other: PyTree) -> PyTree:
    """One tree or the other."""
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), one, other)
