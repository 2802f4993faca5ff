"""The workers of a run, and how processes and devices share them out."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from unf_lopt._types import PyTree

AXIS = "workers"
SHARED_OUT, ON_ALL = PartitionSpec(AXIS), PartitionSpec()


@dataclasses.dataclass(frozen=True)
class Workers:
    """The workers of a run, of which this process has some.

    What a worker computes is a function of the seed, the outer step and its number alone, and the
    mean over workers is taken in the order of their numbers: theta does not depend on the number
    of processes and devices, to the last bit.

    Attributes:
      number: how many the run has.
      own: the numbers of this process's.
      devices: those of this process that compute, each for equally many of its workers. On the
        first theta is learned.
      everywhere: those of all processes.
    """

    number: int
    own: range
    devices: tuple[Any, ...]
    everywhere: Mesh

    @property
    def alone(self) -> bool:
        """Whether there is one process."""
        return len(self.own) == self.number

    @property
    def by_device(self) -> list[tuple[Any, range]]:
        """The places among this process's workers that each of its devices computes."""
        share = len(self.own) // len(self.devices)
        starts = range(0, len(self.own), share)
        return [(own, range(at, at + share)) for own, at in zip(self.devices, starts, strict=True)]

    def describe(self) -> str:
        """Workers, processes and devices, in a line."""
        used, there = len(self.devices), jax.local_device_count()
        text = f"{self.number} worker(s) on {self.everywhere.size} device(s)"
        if not self.alone:
            text += f" of {jax.process_count()} processes"
        if used < there:
            text += (
                f"; {used} of this process's {there} devices in use: NUM_WORKERS="
                f"{there * jax.process_count()} would use all"
            )
        return text

    def at_home(self, tree: PyTree) -> PyTree:
        """A copy of a tree on the device on which theta is learned."""
        return jax.device_put(jax.tree.map(_copy, tree), self.devices[0])

    def spread(self, trees: Sequence[PyTree]) -> list[PyTree]:
        """Copies of a tree of each of this process's workers, on the device of its worker."""
        return [
            jax.device_put(jax.tree.map(_copy, trees[place]), device)
            for device, places in self.by_device
            for place in places
        ]

    def gathered(self, rows: Sequence[PyTree]) -> PyTree:
        """The arrays of all processes' workers, stacked, where theta is learned.

        They are only moved: no number is computed, so none depends on how many devices there are.

        Args:
          rows: of this process's workers, each on its device.

        Raises:
          RuntimeError: another process has ended in the middle of it.
        """
        if self.alone:
            at_home = (jax.device_put(row, self.devices[0]) for row in rows)
            return jax.tree.map(lambda *own: jnp.stack(own), *at_home)
        of_devices = [
            jax.tree.map(lambda *own: jnp.stack(own), *(rows[place] for place in places))
            for _, places in self.by_device
        ]
        sharding = NamedSharding(self.everywhere, SHARED_OUT)

        def joined(*own: jax.Array) -> jax.Array:
            shape = (self.number, *own[0].shape[1:])
            return jax.make_array_from_single_device_arrays(shape, sharding, list(own))

        try:
            moved = _moved_to_all(jax.tree.map(joined, *of_devices), self.everywhere)
            on_all = jax.block_until_ready(moved)
        except ValueError as error:  # so JAX calls it where another process ends as it begins
            raise RuntimeError(str(error)) from error
        return jax.tree.map(lambda leaf: leaf.addressable_data(0), on_all)


def _copy(leaf: Any) -> jax.Array:
    """In a buffer of its own, to be donated, and of a type that a step does not change."""
    copy = jnp.array(leaf)
    return jax.lax.convert_element_type(copy, copy.dtype) if copy.weak_type else copy


@functools.partial(jax.jit, static_argnums=1)
def _moved_to_all(tree: PyTree, mesh: Mesh) -> PyTree:
    return jax.lax.with_sharding_constraint(tree, NamedSharding(mesh, ON_ALL))


def share_out(number: int) -> Workers:
    """Shares a run's workers out, equally to all processes and to the devices of each.

    Args:
      number: how many workers the run has.

    Raises:
      ValueError: it is not positive, or there are not equally many for every process.
    """
    if number < 1:
        raise ValueError(f"NUM_WORKERS={number}: at least one worker is needed.")
    processes = jax.process_count()
    if number % processes:
        raise ValueError(
            f"NUM_WORKERS={number}: cannot be shared out to {processes} processes equally; "
            f"{-(-number // processes) * processes} can, or another number of processes."
        )
    share = number // processes
    first = jax.process_index() * share
    devices = jax.local_devices()
    used = max(count for count in range(1, len(devices) + 1) if share % count == 0)
    by_process: dict[int, list[Any]] = {}
    for device in jax.devices():
        by_process.setdefault(device.process_index, []).append(device)
    everywhere = [own[:used] for _, own in sorted(by_process.items())]
    return Workers(
        number,
        range(first, first + share),
        tuple(by_process[jax.process_index()][:used]),
        Mesh(np.asarray(everywhere).ravel(), (AXIS,)),
    )
