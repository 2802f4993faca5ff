"""Batches whose order is a function of a seed, so that a run can be resumed bit for bit.

The ecosystem's readers shuffle with a global generator and keep their place to themselves. A
reader here has a `position`: the number of batches drawn so far. Batch number k depends on
(seed, split, k) and on nothing else, so a checkpoint needs one integer a split.
"""

import abc
import operator
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unf_lopt import ecosystem
from unf_lopt.ecosystem import SPLITS

Batch = dict[str, np.ndarray]


class PositionedReader(abc.ABC):
    """An endless, thread-safe iterator over batches that are a function of their number.

    A subclass says what batch number k is, in `batch`, from `generator(k)` or from what it draws
    itself, and how its twin of another seed is made, in `with_seed`.

    Args:
      batch_size: examples a batch.
      seed: seed of the order, at least 0.
      split: one of `SPLITS`; different splits are shuffled independently.

    Raises:
      ValueError: the split is unknown or the seed is negative.
    """

    def __init__(self, batch_size: int, *, seed: int = 0, split: str = "train"):
        call = type(self).__name__
        if split not in SPLITS:
            raise ValueError(f"{call}(split={split!r}): the splits are {', '.join(SPLITS)}.")
        self._batch_size = operator.index(batch_size)
        self._seed = _natural(seed, call + "(seed={})")
        self._split = split
        self._position = 0
        self._lock = threading.Lock()

    @property
    def position(self) -> int:
        """Number of batches drawn so far, and of the batch that comes next."""
        return self._position

    @position.setter
    def position(self, value: int) -> None:
        value = _natural(value, type(self).__name__ + ".position = {}")
        with self._lock:
            self._position = value

    @abc.abstractmethod
    def batch(self, number: int) -> Batch:
        """Batch `number` of the endless sequence, without moving `position`."""

    @abc.abstractmethod
    def with_seed(self, seed: int) -> "PositionedReader":
        """A reader of the same examples and split at position 0, in the order of `seed`."""

    @abc.abstractmethod
    def on_device(self) -> "ecosystem.DeviceReader":
        """The same examples as arrays on the device, for batches that are made in a program."""

    @property
    @abc.abstractmethod
    def nbytes(self) -> int:
        """Bytes of the examples, which the device has to hold with `on_device`."""

    def generator(self, number: int) -> np.random.Generator:
        """Random numbers that depend on (seed, split, number) and on nothing else."""
        key = (SPLITS.index(self._split), number)
        return np.random.Generator(
            np.random.PCG64(np.random.SeedSequence(self._seed, spawn_key=key))
        )

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        with self._lock:
            number = self._position
            self._position = number + 1
        return self.batch(number)


class BatchReader(PositionedReader):
    """Batches of arrays held in memory, shuffled anew in every epoch.

    With n examples and batches of b, an epoch is n // b batches. Epoch e takes them from a
    permutation of the examples that a generator of its own draws, seeded by (seed, split, e):
    no example comes twice in an epoch, and the n % b last of the permutation wait for another.

    Args:
      arrays: named arrays with the examples on their first axis, [n, ...].
      batch_size: as of `PositionedReader`.
      seed: as of `PositionedReader`.
      split: as of `PositionedReader`.

    Raises:
      ValueError: the arrays have different lengths, the batch does not fit, the split is
        unknown or the seed is negative.
    """

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        batch_size: int,
        *,
        seed: int = 0,
        split: str = "train",
    ):
        super().__init__(batch_size, seed=seed, split=split)
        lengths = {name: len(array) for name, array in arrays.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(
                f"BatchReader(arrays=...): all arrays need the same number of examples on their "
                f"first axis, and at least one array is needed; got {lengths}."
            )
        self._arrays = dict(arrays)
        self._examples = next(iter(lengths.values()))
        if not 1 <= self._batch_size <= self._examples:
            raise ValueError(
                f"BatchReader(batch_size={batch_size}): the split {split!r} has "
                f"{self._examples} examples, and a batch holds none twice; choose a batch size "
                f"from 1 to {self._examples}."
            )
        self._order = (-1, np.empty(0, np.intp))

    @property
    def batches_per_epoch(self) -> int:
        """Whole batches that the examples make."""
        return self._examples // self._batch_size

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(array.nbytes for array in self._arrays.values())

    def batch(self, number: int) -> Batch:
        """Batch `number` of the endless sequence, without moving `position`."""
        epoch, place = divmod(number, self.batches_per_epoch)
        start = place * self._batch_size
        rows = self._epoch_order(epoch)[start : start + self._batch_size]
        return {name: array.take(rows, axis=0) for name, array in self._arrays.items()}

    def with_seed(self, seed: int) -> "BatchReader":
        """A reader of the same arrays and split at position 0, in the order of `seed`."""
        return BatchReader(self._arrays, self._batch_size, seed=seed, split=self._split)

    def on_device(self) -> "ecosystem.DeviceReader":
        """The examples on the device; shuffled anew in every epoch, as the batches here are."""
        examples, size, per_epoch = self._examples, self._batch_size, self.batches_per_epoch
        arrays = {name: jnp.asarray(array) for name, array in self._arrays.items()}

        def places(key: jax.Array, start: jax.Array, count: int) -> jax.Array:
            first = start // per_epoch
            epochs = first + jnp.arange(-(-count // per_epoch) + 1)
            keys = jax.vmap(lambda epoch: jax.random.fold_in(key, epoch))(epochs)
            orders = jax.vmap(lambda own: jax.random.permutation(own, examples))(keys)
            rows = orders[:, : per_epoch * size].reshape(-1, size)
            return jax.lax.dynamic_slice_in_dim(rows, start - first * per_epoch, count)

        return ecosystem.DeviceReader(
            places, lambda rows: {name: array[rows] for name, array in arrays.items()}
        )

    def _epoch_order(self, epoch: int) -> np.ndarray:
        # The last epoch's order is kept as one tuple: threads in different epochs may replace
        # it under each other, but never read half of it.
        cached_epoch, order = self._order
        if cached_epoch != epoch:
            order = self.generator(epoch).permutation(self._examples)
            self._order = (epoch, order)
        return order


def positioned_datasets(
    make_reader: Callable[[str], PositionedReader], **extra_info: Any
) -> "ecosystem.Datasets":
    """The ecosystem's four-split container over positioned readers.

    Args:
      make_reader: from the name of a split to a reader of it, at position 0.
      **extra_info: what the data say about themselves, such as `num_classes` or `vocab_size`,
        where the ecosystem's tasks look for them.

    Returns:
      A `Datasets` of the readers, with `abstract_batch` set.
    """
    readers = {split: make_reader(split) for split in SPLITS}
    shapes = {
        name: jax.ShapeDtypeStruct(array.shape, array.dtype)
        for name, array in readers["train"].batch(0).items()
    }
    return ecosystem.Datasets(**readers, extra_info=extra_info, abstract_batch=shapes)


def array_datasets(
    splits: Mapping[str, Mapping[str, np.ndarray]],
    batch_size: int,
    *,
    num_classes: int,
    seed: int = 0,
) -> "ecosystem.Datasets":
    """Positioned readers over arrays held in memory, shuffled anew in every epoch.

    Args:
      splits: for each of `SPLITS` its named arrays, [n, ...].
      batch_size: examples a batch, at most the size of the smallest split.
      num_classes: number of classes, where the ecosystem's tasks look for it.
      seed: seed of the order.

    Returns:
      A `Datasets` of its own readers, all at position 0, with `abstract_batch` set.
    """
    return positioned_datasets(
        lambda split: BatchReader(splits[split], batch_size, seed=seed, split=split),
        num_classes=num_classes,
    )


def _natural(value: int, call: str) -> int:
    """`value` as an int of at least 0, or an error that shows the call."""
    number = operator.index(value)
    if number < 0:
        raise ValueError(f"{call.format(value)}: must be an integer of at least 0.")
    return number
