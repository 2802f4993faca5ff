"""Where a task's data stand: reading and setting the position of readers that have one."""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp

from unf_lopt import ecosystem

# Far more than a worker reads, so that none reads what another does.
POSITIONS_OF_A_WORKER = 2**40
SPLITS = ("train", "inner_valid", "outer_valid", "test")


class _HasData(Protocol):
    datasets: Any


Problem = TypeVar("Problem", bound=_HasData)


@runtime_checkable
class PositionedIterator(Protocol):
    """What a split of a data set must offer to be resumed and restarted.

    `BatchReader` does; an iterator of the user's own may, and then `positions`, `set_positions`
    and `fresh_datasets` take it as well.
    """

    position: int

    def __next__(self) -> Any:
        """The next batch; moves `position` on by one."""
        ...

    def with_seed(self, seed: int) -> "PositionedIterator":
        """An iterator over the same examples, at position 0, in the order of `seed`."""
        ...


@dataclasses.dataclass(frozen=True)
class DeviceReader:
    """Examples on the device, and batches of them that a compiled program makes by their number.

    Attributes:
      places: ``places(key, start, count)``: where the batches ``start`` to ``start + count - 1`` of
        a sequence are, an array ``[count, ...]``; ``start`` may be traced, ``count`` may not.
      batch: from one row of it to the batch.
    """

    places: Callable[[jax.Array, jax.Array, int], jax.Array]
    batch: Callable[[jax.Array], Any]


def device_reader(datasets: "ecosystem.Datasets | None", split: str = "train") -> Any:
    """The `DeviceReader` of a split, or None where its reader has none.

    A reader has one if it has a method `on_device`, as this project's have. A task without data
    has batches of None.

    Args:
      datasets: the `datasets` of a task or task family, which is None for tasks without data.
      split: one of `SPLITS`.
    """
    if datasets is None:
        return DeviceReader(lambda key, start, count: jnp.zeros((count, 0)), lambda place: None)
    reader = datasets.split(split)
    return reader.on_device() if hasattr(reader, "on_device") else None


def positions(datasets: "ecosystem.Datasets | None") -> dict[str, int] | None:
    """Where each split of a task's data stands, or None when that cannot be known.

    Args:
      datasets: the `datasets` of a task or task family, which is None for tasks without data.

    Returns:
      `{split: batches drawn so far}`; `{}` for a task without data; None for readers without
      a position, such as all of the ecosystem's own, with which a run cannot be resumed bit
      for bit.
    """
    if datasets is None:
        return {}
    readers = {split: datasets.split(split) for split in SPLITS}
    if not all(isinstance(reader, PositionedIterator) for reader in readers.values()):
        return None
    return {split: reader.position for split, reader in readers.items()}


def data_source(datasets: "ecosystem.Datasets | None") -> str:
    """What identifies the data where the name of the task does not, such as a SHA-256.

    Args:
      datasets: the `datasets` of a task or task family, which is None for tasks without data.

    Returns:
      `extra_info["source"]`; empty where the data say nothing.
    """
    return datasets.extra_info.get("source", "") if datasets is not None else ""


def set_positions(datasets: "ecosystem.Datasets | None", values: Mapping[str, int]) -> None:
    """Move every split to where `positions` found it.

    Args:
      datasets: the `datasets` of a task or task family.
      values: what `positions` returned for data of the same kind.

    Raises:
      ValueError: the data have no positions, or other splits than `values`.
    """
    current = positions(datasets)
    if current is None:
        raise ValueError(
            "set_positions(datasets, ...): these readers cannot be positioned (the ecosystem's "
            "own cannot), so the data of a resumed run start anew. A task whose data come from "
            "unf_lopt.tasks.data.BatchReader can be resumed exactly."
        )
    if current.keys() != values.keys():
        raise ValueError(
            f"set_positions(datasets, {dict(values)}): the data have the splits "
            f"{sorted(current)}; the positions were saved for other data."
        )
    if datasets is not None:  # which otherwise has no splits
        for split, value in values.items():
            datasets.split(split).position = value


def move_to(datasets: "ecosystem.Datasets | None", place: int, number: int) -> None:
    """Moves every split to a place among a worker's data.

    Splits that cannot be positioned stay where they are.

    Args:
      datasets: the `datasets` of a task or task family.
      place: a number that no other worker and estimator has.
      number: batches before it, of this worker's.
    """
    if positions(datasets):
        set_positions(datasets, dict.fromkeys(SPLITS, place * POSITIONS_OF_A_WORKER + number))


def fresh_datasets(datasets: "ecosystem.Datasets | None", seed: int) -> "ecosystem.Datasets | None":
    """Readers of the same data that share nothing with the given ones but the examples.

    Args:
      datasets: data with positioned readers, or None for no data.
      seed: seed of the new order.

    Returns:
      A new `Datasets`, every split at position 0; None for None.

    Raises:
      ValueError: the readers cannot be started anew (the ecosystem's own cannot).
    """
    if datasets is None:
        return None
    if positions(datasets) is None:
        raise ValueError(
            f"fresh_datasets({datasets!r}, seed={seed}): these readers cannot be started anew "
            "(the ecosystem's own cannot). Ask positions(datasets) first; None means this."
        )
    return _started_anew(datasets, seed)


def _started_anew(datasets: "ecosystem.Datasets", seed: int) -> "ecosystem.Datasets":
    return ecosystem.Datasets(
        **{split: datasets.split(split).with_seed(seed) for split in SPLITS},
        extra_info=datasets.extra_info,
        abstract_batch=datasets.abstract_batch,
    )


def with_fresh_data(task: Problem, seed: int) -> Problem:
    """The same task or task family with readers of its own, for an evaluation beside training.

    Drawing from it leaves the position of the original alone, and another seed gives another
    order, so that an evaluation neither disturbs training nor repeats its batches.

    Args:
      task: a `Task` or `TaskFamily` whose data have positions, or which has no data.
      seed: seed of the new order.

    Returns:
      A shallow copy with `datasets` replaced. The copy of a family still makes the original's
      tasks; what draws from the family's `datasets`, as the ecosystem's vectorized training and
      evaluation do, draws from the new ones.

    Raises:
      ValueError: the readers cannot be started anew (the ecosystem's own cannot).
    """
    twin = copy.copy(task)
    twin.datasets = fresh_datasets(task.datasets, seed)
    return twin


def batch_shapes(datasets: "ecosystem.Datasets | None") -> Any:
    """Shapes and dtypes of a batch; no batch is read where the data tell them.

    Args:
      datasets: the `datasets` of a task or task family, which is None for tasks without data.

    Returns:
      A tree of `jax.ShapeDtypeStruct`; None for None.
    """
    if datasets is None:
        return None
    if datasets.abstract_batch is not None:
        return datasets.abstract_batch
    return jax.eval_shape(lambda batch: batch, batch_apart(datasets))


def batch_apart(datasets: "ecosystem.Datasets | None") -> Any:
    """A batch of training data that no reader of the given data misses afterwards.

    Readers that cannot be started anew (the ecosystem's own) give one of their test split, which
    training does not read.

    Args:
      datasets: the `datasets` of a task or task family, which is None for tasks without data.

    Returns:
      A batch; None for None.
    """
    if datasets is None:
        return None
    if positions(datasets) is None:
        return next(datasets.test)
    return next(_started_anew(datasets, seed=0).train)
