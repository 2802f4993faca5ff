"""The permutation that brings one network next to another.

Networks that were trained apart may compute the same thing with their units in another order. A
spec says which orders there are; here the one is sought that makes two weight spaces alike, after
which they can be interpolated and averaged (Ainsworth, Hayase and Srinivasa, "Git Re-Basin", arXiv
2209.04836).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unf_lopt._options import check_counts
from unf_lopt._types import PyTree
from unf_lopt.symmetry import PermutationSpec, SpecError
from unf_lopt.weights.matching import Pair, ascend, assignment

# Sweeps over all groups: each one only ever lowers the distance, and few are needed.
_MOST_SWEEPS = 100


def align(
    spec: PermutationSpec,
    params_a: PyTree,
    params_b: PyTree,
    *,
    num_starts: int = 2,
    seed: int = 0,
    max_sweeps: int = _MOST_SWEEPS,
) -> dict[str, jax.Array]:
    """The permutation π of ``params_b`` that lowers ``‖a − π·b‖²`` over the whole weight space.

    Coordinate ascent on ``⟨a, π·b⟩``: group by group, in random order, the best permutation with
    the others as they are, which is a linear assignment (weight matching of arXiv 2209.04836,
    section 3.2). Where a group has two axes of one tensor, as recurrent weights do, the assignment
    is that of one axis with the other as it is, and is taken if it is better. Heads and gates are
    axes of their own, in the spec's view. A nested group has an assignment for every index of its
    outer spaces. One in which others are nested is assigned together with these: what pairing two
    heads adds is the value of the best assignment of their units. What is found is the best of a
    few local optima.

    Args:
      spec: the weight space.
      params_a: what stays, leaves ``[*parameter.shape, ...]``; trailing axes are channels.
      params_b: what is permuted, with the same channels.
      num_starts: the first starts from the order that ``params_b`` has, the second from the one in
        which units have weights of like sizes, others from random ones. With nested groups there
        is one more, from the best order without nesting, so that it is never worse than that.
      seed: of the random orders.
      max_sweeps: over all groups, in each start.

    Returns:
      ``{group: index array}``: ``spec.permute(params_b, π)`` lies next to ``params_a``. Of a nested
      group ``[*outer sizes, size]``.

    Raises:
      SpecError: a tree does not fit the spec.
      ValueError: a number is not positive, the trees differ in channels, or a number in them is
        not finite.
    """
    check_counts("align", num_starts=num_starts, max_sweeps=max_sweeps)
    pair = Pair(spec, params_a, params_b)
    rng = np.random.default_rng(seed)
    orders = [pair.identity, pair.by_size]
    more = [lambda: pair.random(rng)] * max(0, num_starts - len(orders))
    starts = [*orders[:num_starts], *more]
    if spec.nesting:
        options = {"num_starts": num_starts, "seed": seed, "max_sweeps": max_sweeps}
        shared = align(spec.nest({}), params_a, params_b, **options)
        shapes = spec.index_shapes
        same = {g: np.broadcast_to(own, shapes[g]).copy() for g, own in shared.items()}
        starts.append(lambda: same)
    best, best_value = pair.identity(), -np.inf
    for start in starts:
        indices, value = ascend(pair, start(), rng, max_sweeps)
        if value > best_value:
            best, best_value = indices, value
    return {group: jnp.asarray(index) for group, index in best.items()}


def align_gaussians(
    spec: PermutationSpec,
    mean_a: PyTree,
    variance_a: PyTree,
    mean_b: PyTree,
    variance_b: PyTree,
    **options: Any,
) -> dict[str, jax.Array]:
    """The permutation of a Gaussian posterior that brings it next to another.

    Of independent Gaussians the squared Wasserstein distance is ``‖μ_a − μ_b‖² + ‖σ_a − σ_b‖²``, so
    means and standard deviations are matched together, as channels (Rossi, Singh and Hannagan, "On
    permutation symmetries in Bayesian neural network posteriors", arXiv 2310.10171).

    Args:
      spec: the weight space.
      mean_a: of the posterior that stays.
      variance_a: of its entries, not negative.
      mean_b: of the posterior that is permuted.
      variance_b: of its entries.
      **options: of :func:`align`.

    Returns:
      ``{group: index array}``, for means and variances alike.

    Raises:
      SpecError: a tree does not fit the spec.
      ValueError: a variance is negative, and as :func:`align`.
    """

    def channels(mean: PyTree, variance: PyTree) -> PyTree:
        means, unflatten = spec.flatten(mean)
        variances, _ = spec.flatten(variance)
        if any(np.any(np.asarray(own) < 0) for own in variances):
            raise ValueError("align_gaussians: a variance is negative; give variances, not logs.")
        pairs = zip(means, variances, strict=True)
        return unflatten([jnp.stack([m, jnp.sqrt(v)], -1) for m, v in pairs])

    return align(spec, channels(mean_a, variance_a), channels(mean_b, variance_b), **options)


def align_by_activations(
    spec: PermutationSpec,
    activations_a: Mapping[str, Any],
    activations_b: Mapping[str, Any],
) -> dict[str, jax.Array]:
    """The permutation that pairs units whose activations correlate most.

    Every group by itself, on the same inputs (activation matching of arXiv 2209.04836, section 3.1,
    with correlations in place of products).

    Args:
      spec: the weight space.
      activations_a: by group, what its units give on some inputs, ``[inputs, units]``.
      activations_b: the same of the network that is permuted; groups left out stay as they are.

    Returns:
      ``{group: index array}`` of the groups given.

    Raises:
      SpecError: a name is no group of the spec, or a nested one.
      ValueError: the two have other groups or shapes, or a group another number of units.
    """
    nested = sorted(activations_a.keys() & spec.nested.keys())
    if nested:
        raise SpecError(
            f"align_by_activations: {nested} are nested: which units to compare depends on where "
            "their outer ones go; take align, or spec.nest({})."
        )
    if activations_a.keys() != activations_b.keys():
        given = sorted(activations_a), sorted(activations_b)
        raise ValueError(f"align_by_activations: groups {given[0]} against {given[1]}.")
    found = {}
    for group, a in activations_a.items():
        if group not in spec.groups:
            raise SpecError(f"'{group}' is not a group of this spec; they are {list(spec.groups)}.")
        one, other = (_standardized(np.asarray(x, np.float64)) for x in (a, activations_b[group]))
        size = spec.groups[group]
        if one.shape != other.shape or one.ndim != 2 or one.shape[1] != size:
            raise ValueError(
                f"align_by_activations: activations of '{group}' have shapes {one.shape} and "
                f"{other.shape}; both must be [inputs, {size}]."
            )
        found[group] = jnp.asarray(assignment(one.T @ other))
    return found


def align_all(
    spec: PermutationSpec, networks: Sequence[PyTree], *, seed: int = 0, max_sweeps: int = 20
) -> list[dict[str, jax.Array]]:
    """Permutations that bring many networks next to each other.

    Each in turn is aligned with the mean of the others, until nothing moves (MergeMany of arXiv
    2209.04836, algorithm 3). The distances of all pairs, added up, never grow.

    Args:
      spec: the weight space.
      networks: two or more trees of it.
      seed: of the order in which they take turns.
      max_sweeps: over all networks.

    Returns:
      A permutation for each network.

    Raises:
      SpecError: a tree does not fit the spec.
      ValueError: there are fewer than two networks, and as :func:`align`.
    """
    if len(networks) < 2:
        raise ValueError(f"align_all: {len(networks)} networks; two or more are needed.")
    rng = np.random.default_rng(seed)
    # As numbers of one tree, so that networks of other containers can be averaged.
    trees = [dict(zip(spec.paths, spec.flatten(own)[0], strict=True)) for own in networks]
    found: list[dict[str, jax.Array]] = [{} for _ in trees]
    for _ in range(max_sweeps):
        moved = False
        for i in rng.permutation(len(trees)):
            others = [spec.permute(trees[j], found[j]) for j in range(len(trees)) if j != i]
            mean = jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *others)
            present = spec.permute(trees[i], found[i])
            change = align(spec, mean, present, seed=int(rng.integers(2**31)))
            if any(np.any(np.asarray(p) != np.arange(p.shape[-1])) for p in change.values()):
                found[i], moved = spec.compose(found[i], change), True
        if not moved:
            break
    return found


def interpolate(params_a: PyTree, params_b: PyTree, share: Any) -> PyTree:
    """``(1 − t)·a + t·b``.

    Args:
      params_a: the network at t = 0.
      params_b: the network at t = 1, a tree like it.
      share: t.

    Raises:
      ValueError: the two have other shapes.
    """
    shapes_a, shapes_b = (
        list(map(jnp.shape, jax.tree.leaves(own))) for own in (params_a, params_b)
    )
    if shapes_a != shapes_b:
        raise ValueError(f"interpolate: the shapes differ, {shapes_a} and {shapes_b}.")
    return jax.tree.map(lambda a, b: (1 - share) * a + share * b, params_a, params_b)


def loss_barrier(
    loss: Callable[[PyTree], Any], params_a: PyTree, params_b: PyTree, *, num_points: int = 25
) -> float:
    """How far the loss between two networks rises above the line between their losses.

    ``max over t of L((1 − t)·a + t·b) − (1 − t)·L(a) − t·L(b)`` (Frankle et al., arXiv 1912.05671;
    Entezari et al., arXiv 2110.06296).

    Args:
      loss: of parameters, a number; it is traced.
      params_a: one end.
      params_b: the other one.
      num_points: how many points of the line are looked at, its ends among them.

    Raises:
      ValueError: fewer than three points, networks of other shapes, or a loss that is no number.
    """
    if num_points < 3:
        raise ValueError(f"loss_barrier(num_points={num_points}): must be 3 or more.")
    shares = jnp.linspace(0.0, 1.0, num_points)

    def loss_at(share: jax.Array) -> jax.Array:
        value = loss(interpolate(params_a, params_b, share))
        if isinstance(value, tuple | dict) or jnp.shape(value) != ():
            raise ValueError("loss_barrier: the loss must give one number, without aux.")
        return value

    losses = jax.lax.map(jax.jit(loss_at), shares)
    line = (1 - shares) * losses[0] + shares * losses[-1]
    return float(jnp.max(losses - line))


def _standardized(x: np.ndarray) -> np.ndarray:
    """Of mean 0 and norm 1 in every column; what does not vary becomes zero."""
    centred = x - x.mean(axis=0, keepdims=True)
    norm = np.linalg.norm(centred, axis=0, keepdims=True)
    return np.divide(centred, norm, out=np.zeros_like(centred), where=norm > 0)
