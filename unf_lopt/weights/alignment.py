"""The permutation that brings one network next to another.

Networks that were trained apart may compute the same thing with their units in another order. A
spec says which orders there are; here the one is sought that makes two weight spaces alike, after
which they can be interpolated and averaged (Ainsworth, Hayase and Srinivasa, "Git Re-Basin", arXiv
2209.04836).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from unf_lopt._options import check_counts
from unf_lopt._types import PyTree
from unf_lopt.symmetry import (
    PermutationSpec,
    SpecError,
    check_kind,
    companions,
    permuted_block,
)

Indices = dict[str, np.ndarray]

# Sweeps over all groups: each one only ever lowers the distance, and few are needed.
_MOST_SWEEPS = 100
# What a sweep must gain, of the size of what is matched, to be followed by another.
_LEAST_GAIN = 1e-12


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
    pair = _Pair(spec, params_a, params_b)
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
        indices, value = _ascend(pair, start(), rng, max_sweeps)
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
        found[group] = jnp.asarray(_assignment(one.T @ other))
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


class _Pair:
    """Two trees of one weight space as blocks whose every axis lies in one space."""

    def __init__(self, spec: PermutationSpec, params_a: PyTree, params_b: PyTree):
        check_kind("align(spec, params_a, params_b): spec", spec, PermutationSpec)
        self.groups = spec.groups
        self._shapes, self._nested = spec.index_shapes, spec.nested
        self._axes: tuple[tuple[str, ...], ...] = spec.view.spec.axes
        self._a, self._b = (_blocks(spec, tree) for tree in (params_a, params_b))
        shapes = [[own.shape for own in blocks] for blocks in (self._a, self._b)]
        if shapes[0] != shapes[1]:
            raise ValueError("align: the two networks differ in their channels.")
        # Where the units of every group are: which block, which axis.
        self._places: dict[str, list[tuple[int, int]]] = {group: [] for group in spec.groups}
        for number, axes in enumerate(self._axes):
            for position, space in enumerate(axes):
                if space in self._places:
                    self._places[space].append((number, position))

    def identity(self) -> Indices:
        """Everything as it is."""
        return {
            group: np.broadcast_to(np.arange(shape[-1]), shape).copy()
            for group, shape in self._shapes.items()
        }

    def random(self, rng: np.random.Generator) -> Indices:
        """A random order of every group."""
        return {group: rng.permuted(rows, axis=-1) for group, rows in self.identity().items()}

    def by_size(self) -> Indices:
        """Pairs units whose sorted weights are alike.

        The product of two sorted rows is the largest that any order of their entries gives, so
        this order of a group is the best by an upper bound, whatever becomes of the others.
        """
        found = self.identity()
        for group, size in self.groups.items():
            if group in self._nested:
                continue  # which order is best depends on where the outer ones go
            bounds = np.zeros((size, size))
            for number, position in self._places[group]:
                rows = (np.moveaxis(x[number], position, 0) for x in (self._a, self._b))
                a, b = (np.sort(own.reshape(size, -1), axis=1) for own in rows)
                bounds += a @ b.T
            found[group] = _assignment(bounds)
        return found

    def value(self, indices: Indices) -> float:
        """``⟨a, π·b⟩``."""
        blocks = range(len(self._a))
        return sum(float(np.vdot(self._a[i], self._permuted(i, indices))) for i in blocks)

    def scale(self) -> float:
        """``‖a‖·‖b‖``, the largest value there could be."""
        norms = [np.sqrt(sum(float(np.vdot(x, x)) for x in own)) for own in (self._a, self._b)]
        return norms[0] * norms[1]

    def assigned(self, group: str, indices: Indices) -> Indices:
        """The best order of a group, and of those nested in it, with all others as they are."""
        within = [name for name, outers in self._nested.items() if group in outers]
        order = (*self._nested.get(group, ()), group)
        inner = [name for name in within if set(self._nested[name]) == set(order)]
        total, best = self._products(group, indices, within), {}
        for name in inner:
            products = self._products_of_pairs(name, order, indices)
            best[name] = _assignments(products)
            total += np.take_along_axis(products, best[name][..., None], -1).sum((-2, -1))
        index = _assignments(total)
        changed = {**indices, group: index}
        for name, own in best.items():
            rows = np.take_along_axis(own, index[..., None, None], -2)[..., 0, :]
            back = [order.index(outer) for outer in self._nested[name]]
            changed[name] = np.transpose(rows, (*back, len(order)))
        return changed

    def _products(
        self, group: str, indices: Indices, but: Collection[str]
    ) -> Float[np.ndarray, "*outer units units"]:
        """At ``[..., i, j]`` what pairing unit i of a with unit j of b adds to the value.

        Args:
          group: whose units.
          indices: the orders of the others.
          but: groups whose blocks do not count.
        """
        total = np.zeros((*self._shapes[group], self.groups[group]))
        for number, position in self._places[group]:
            if set(but).isdisjoint(self._axes[number]):
                places = (*companions(self._axes[number], self._nested)[position], position)
                a, b = self._pair_of_rows(number, indices, places, (position,))
                total += a @ np.swapaxes(b, -1, -2)
        return total

    def _products_of_pairs(
        self, group: str, order: Sequence[str], indices: Indices
    ) -> Float[np.ndarray, "*outer heads heads units units"]:
        """At ``[..., h, g, i, j]`` what unit i of a's head h adds with unit j of b's head g.

        Args:
          group: whose units.
          order: its outer groups; the last one is that of the heads.
          indices: the orders of the others.
        """
        shape = self._shapes[group]
        sizes = [shape[self._nested[group].index(outer)] for outer in order]
        total = np.zeros((*sizes, sizes[-1], shape[-1], shape[-1]))
        for number, position in self._places[group]:
            outer = companions(self._axes[number], self._nested)[position]
            places = [outer[self._nested[group].index(own)] for own in order]
            kept = (places[-1], position)
            a, b = self._pair_of_rows(number, indices, (*places, position), kept)
            total += np.expand_dims(a, -3) @ np.expand_dims(np.swapaxes(b, -1, -2), -4)
        return total

    def _pair_of_rows(
        self, number: int, indices: Indices, places: Sequence[int], but: Collection[int]
    ) -> list[np.ndarray]:
        """A block of both with some axes first and the others as one; b's in order but for some."""
        return [_rows(x, places) for x in (self._a[number], self._permuted(number, indices, but))]

    def _permuted(self, number: int, indices: Indices, but: Collection[int] = ()) -> np.ndarray:
        return permuted_block(self._b[number], self._axes[number], indices, self._nested, but)


def _rows(x: np.ndarray, axes: Sequence[int]) -> Float[np.ndarray, "*axes rest"]:
    """An array with some axes first, and all others as one."""
    x = np.moveaxis(x, axes, range(len(axes)))
    return x.reshape(*x.shape[: len(axes)], -1)


def _ascend(
    pair: _Pair, indices: Indices, rng: np.random.Generator, max_sweeps: int
) -> tuple[Indices, float]:
    """A local optimum of the value from some order on."""
    value, least = pair.value(indices), _LEAST_GAIN * pair.scale()
    for _ in range(max_sweeps):
        before = value
        for group in rng.permutation(list(pair.groups)):
            changed = pair.assigned(group, indices)
            new = pair.value(changed)
            if new > value:
                indices, value = changed, new
        if value <= before + least:
            break
    return indices, value


def _assignment(products: Float[np.ndarray, "units units"]) -> Int[np.ndarray, " units"]:
    """For every unit of a the one of b, so that the products add up to the most."""
    return linear_sum_assignment(products, maximize=True)[1]


def _assignments(
    products: Float[np.ndarray, "*outer units units"],
) -> Int[np.ndarray, "*outer units"]:
    """The same for each of many."""
    flat = products.reshape(-1, *products.shape[-2:])
    return np.stack(list(map(_assignment, flat))).reshape(products.shape[:-1])


def _blocks(spec: PermutationSpec, tree: PyTree) -> list[np.ndarray]:
    arrays, _ = spec.view.flatten(jax.tree.map(_real, tree))
    if not all(np.all(np.isfinite(x)) for x in arrays):
        raise ValueError("align: a parameter is not finite.")
    return arrays


def _real(x: Any) -> np.ndarray:
    """In float64; real and imaginary parts of complex numbers are two channels."""
    if isinstance(x, jax.core.Tracer):
        raise ValueError("align: runs on numbers, outside of jax.jit and other transformations.")
    x = np.asarray(x)
    return (np.stack([x.real, x.imag], -1) if np.iscomplexobj(x) else x).astype(np.float64)


def _standardized(x: np.ndarray) -> np.ndarray:
    """Of mean 0 and norm 1 in every column; what does not vary becomes zero."""
    centred = x - x.mean(axis=0, keepdims=True)
    norm = np.linalg.norm(centred, axis=0, keepdims=True)
    return np.divide(centred, norm, out=np.zeros_like(centred), where=norm > 0)
