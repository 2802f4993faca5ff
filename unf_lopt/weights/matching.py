"""Two weight spaces side by side, and the order of one that is best for the other, by ascent."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import jax
import jax.core
import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from unf_lopt._types import PyTree
from unf_lopt.symmetry import PermutationSpec, check_kind, companions, permuted_block

Indices = dict[str, np.ndarray]

# What a sweep must gain, of the size of what is matched, to be followed by another.
_LEAST_GAIN = 1e-12


class Pair:
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
            found[group] = assignment(bounds)
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


def ascend(
    pair: Pair, indices: Indices, rng: np.random.Generator, max_sweeps: int
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


def assignment(products: Float[np.ndarray, "units units"]) -> Int[np.ndarray, " units"]:
    """For every unit of a the one of b, so that the products add up to the most."""
    return linear_sum_assignment(products, maximize=True)[1]


def _assignments(
    products: Float[np.ndarray, "*outer units units"],
) -> Int[np.ndarray, "*outer units"]:
    """The same for each of many."""
    flat = products.reshape(-1, *products.shape[-2:])
    return np.stack(list(map(assignment, flat))).reshape(products.shape[:-1])


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
