"""The workers of a run, and how processes and devices share them out."""

from __future__ import annotations

import dataclasses
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
      mesh: the devices of this process that compute, each for equally many of its workers.
      everywhere: those of all processes.
    """

    number: int
    own: range
    mesh: Mesh
    everywhere: Mesh

    @property
    def alone(self) -> bool:
        """Whether there is one process."""
        return len(self.own) == self.number

    def describe(self) -> str:
        """Workers, processes and devices, in a line."""
        used, there = self.mesh.size, jax.local_device_count()
        text = f"{self.number} worker(s) on {self.everywhere.size} device(s)"
        if not self.alone:
            text += f" of {jax.process_count()} processes"
        if used < there:
            text += (
                f"; {used} of this process's {there} devices in use: NUM_WORKERS="
                f"{there * jax.process_count()} would use all"
            )
        return text

    def shared_out(self, trees: Sequence[PyTree]) -> PyTree:
        """Trees of this process's workers, stacked, each on the device of its worker."""
        sharding = NamedSharding(self.mesh, SHARED_OUT)
        return jax.tree.map(
            lambda *leaves: jax.device_put(jnp.stack([jnp.asarray(x) for x in leaves]), sharding),
            *trees,
        )

    def apart(self, stacked: PyTree) -> list[PyTree]:
        """What :meth:`shared_out` stacked, on the host."""
        on_host = jax.device_get(stacked)
        return [jax.tree.map(lambda leaf, i=i: leaf[i], on_host) for i in range(len(self.own))]

    def on_all(self, tree: PyTree) -> PyTree:
        """A tree that all processes have, on every device."""
        sharding = NamedSharding(self.everywhere, ON_ALL)
        return jax.tree.map(
            lambda leaf: jax.make_array_from_process_local_data(
                sharding, np.asarray(jnp.asarray(leaf))
            ),
            tree,
        )

    def of_all(self, shares: PyTree) -> PyTree:
        """Arrays of which every process has its workers' share, as arrays of all processes."""
        return self._on(self.everywhere, SHARED_OUT, shares, self.number)

    def here(self, tree: PyTree) -> PyTree:
        """Arrays that are on every device, as arrays of this process's devices."""
        return self._on(self.mesh, ON_ALL, tree, None)

    def _on(self, mesh: Mesh, spec: PartitionSpec, tree: PyTree, length: int | None) -> PyTree:
        """The same buffers as arrays of another mesh; nothing is copied."""
        if self.alone:
            return tree
        sharding = NamedSharding(mesh, spec)

        def moved(leaf: jax.Array) -> jax.Array:
            shape = leaf.shape if length is None else (length, *leaf.shape[1:])
            buffers = [shard.data for shard in leaf.addressable_shards]
            return jax.make_array_from_single_device_arrays(shape, sharding, buffers)

        return jax.tree.map(moved, tree)


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
        Mesh(np.asarray(by_process[jax.process_index()][:used]), (AXIS,)),
        Mesh(np.asarray(everywhere).ravel(), (AXIS,)),
    )
