"""Tensors of equal shape on top of each other, so that work does not grow with their number."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from unf_lopt.layers._partitions import plain_axes
from unf_lopt.symmetry import PermutationSpec, companions


@dataclasses.dataclass(frozen=True)
class Stack:
    """Tensors of one shape whose axes repeat spaces in the same places.

    Attributes:
      tensors: their positions in the spec.
      shape: of each of them.
      spaces: for each axis, the space of every tensor.
      pairs: pairs of axes that lie in one space and can be exchanged: not those whose outer axes
        differ, nor those beside which others are.
      beside: for each axis the positions of its outer axes.
    """

    tensors: tuple[int, ...]
    shape: tuple[int, ...]
    spaces: tuple[tuple[str, ...], ...]
    pairs: tuple[tuple[int, int], ...]
    beside: tuple[tuple[int, ...], ...]

    @property
    def free(self) -> tuple[int, ...]:
        """The axes of spaces that are not nested: along these there are means by themselves."""
        return tuple(axis for axis, outers in enumerate(self.beside) if not outers)

    def has_mean(self, axes: Sequence[int]) -> bool:
        """Whether means over all other axes commute with permutations: if outer axes are kept."""
        return all(set(self.beside[axis]) <= set(axes) for axis in axes)

    @property
    def rank(self) -> int:
        """The number of axes of a tensor."""
        return len(self.shape)


@functools.lru_cache(maxsize=256)
def make_stacks(spec: PermutationSpec) -> tuple[Stack, ...]:
    """The stacks of a plain weight space, in the order of their first tensors; cached by spec."""
    axes_of = plain_axes(spec)
    alike: dict[tuple[Any, ...], list[int]] = {}
    for tensor, (axes, shape) in enumerate(zip(axes_of, spec.shapes, strict=True)):
        beside = companions(axes, spec.nested)
        alike.setdefault((shape, repeated(axes, beside), beside), []).append(tensor)
    return tuple(
        Stack(
            tuple(tensors),
            shape,
            tuple(tuple(axes_of[t][axis] for t in tensors) for axis in range(len(shape))),
            pairs,
            beside,
        )
        for (shape, pairs, beside), tensors in alike.items()
    )


def repeated(axes: Sequence[str], beside: Sequence[Sequence[int]]) -> tuple[tuple[int, int], ...]:
    """Pairs of axes in one space that can be exchanged and have a diagonal by themselves.

    Args:
      axes: the space of every axis.
      beside: for every axis the positions of its outer axes.
    """
    outer = {position for outers in beside for position in outers}
    return tuple(
        (first, second)
        for second in range(len(axes))
        for first in range(second)
        if axes[first] == axes[second]
        and beside[first] == beside[second]
        and outer.isdisjoint((first, second))
    )


def stack(stacks: Sequence[Stack], leaves: Sequence[jax.Array]) -> list[jax.Array]:
    """``[*shape, channels]`` leaves to ``[tensors, *shape, channels]`` arrays."""
    return [jnp.stack([leaves[tensor] for tensor in own.tensors]) for own in stacks]


def unstack(stacks: Sequence[Stack], arrays: Sequence[jax.Array]) -> list[jax.Array]:
    """The inverse of :func:`stack`."""
    leaves = {
        tensor: array[place]
        for own, array in zip(stacks, arrays, strict=True)
        for place, tensor in enumerate(own.tensors)
    }
    return [leaves[tensor] for tensor in sorted(leaves)]


def spread(array: jax.Array, own: Stack, axes: Sequence[int]) -> jax.Array:
    """``[tensors, *sizes of some axes, channels]`` with axes of size 1 for the others."""
    shape = [own.shape[axis] if axis in axes else 1 for axis in range(own.rank)]
    return array.reshape(array.shape[0], *shape, array.shape[-1])
