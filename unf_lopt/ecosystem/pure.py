"""The ecosystem's estimators and learner as pure functions, to be compiled into one program.

Its estimators draw batches from host readers between compiled calls. While one is traced here, the
task's data stand for themselves: what is drawn is the *number* of a batch, and the task's loss
reads the batch of that number, from examples that lie on the device or from batches that the
program is given.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unf_lopt import ecosystem
from unf_lopt._types import PyTree
from unf_lopt.ecosystem.data import POSITIONS_OF_A_WORKER, SPLITS

INNER_STEPS = "mean||inner_steps"  # the metric of an estimator that counts them itself
# A split of more bytes is read on the host: the device's program would have it as a constant.
_LARGEST_ON_DEVICE = 2**25


@dataclasses.dataclass(frozen=True)
class PureEstimator:
    """An estimator whose estimate is a pure function of theta, a key, its state and the data.

    Attributes:
      estimator: the estimator.
      batches: how many batches of each split an estimate takes, if it has to be given any.
      inner_steps: how many an estimate takes; None for one that says it with every estimate.
    """

    estimator: Any
    batches: Mapping[str, int] = dataclasses.field(default_factory=dict)
    inner_steps: int | None = None

    def on_host(self) -> dict[str, int]:
        """The batches of each split that the program has to be given."""
        return {
            split: count for split, count in self.batches.items() if self._reader(split) is None
        }

    def estimate(
        self,
        worker_weights: Any,
        state: PyTree,
        key: jax.Array,
        data_key: jax.Array,
        step: jax.Array,
        batches: Mapping[str, PyTree],
    ) -> tuple[PyTree, jax.Array, jax.Array, PyTree]:
        """One meta-gradient.

        Args:
          worker_weights: from `learner.get_state_for_worker(state)`.
          state: the estimator's state.
          key: of this outer step and worker.
          data_key: of the worker: the order of its data.
          step: outer steps before this one: where the data stand.
          batches: what :meth:`on_host` asks for, leaves ``[count, ...]``.

        Returns:
          Meta-gradient, meta-loss, inner steps taken, next state.
        """
        if self.inner_steps is None:
            out, metrics = self.estimator.compute_gradient_estimate(worker_weights, key, state)
            return out.grad, out.mean_loss, metrics[INNER_STEPS], out.unroll_state
        numbers = _Numbers()
        twin = _twin(self.estimator, numbers, self._reads(data_key, step, batches))
        given = {"datas_list": twin.get_datas()} if ecosystem.version() == "main" else {}
        out, _ = twin.compute_gradient_estimate(worker_weights, key, state, **given)
        if numbers.drawn != self.batches:
            raise RuntimeError(
                f"{type(twin).__name__} took the batches {numbers.drawn} and not {self.batches}."
            )
        return out.grad, out.mean_loss, jnp.float32(self.inner_steps), out.unroll_state

    def _reader(self, split: str) -> Any:
        """The reader of a split on the device; None for one that is read on the host."""
        datasets = ecosystem.task_family_of(self.estimator).datasets
        if getattr(datasets.split(split), "nbytes", 0) > _LARGEST_ON_DEVICE:
            return None
        return ecosystem.device_reader(datasets, split)

    def _reads(
        self, data_key: jax.Array, step: jax.Array, batches: Mapping[str, PyTree]
    ) -> dict[str, Callable[[jax.Array], PyTree]]:
        """For each split what makes a batch of its number within this outer step."""

        def of_split(split: str, count: int) -> Callable[[jax.Array], PyTree]:
            if split in batches:
                return lambda number: jax.tree.map(lambda leaf: leaf[number], batches[split])
            reader = self._reader(split)
            own = jax.random.fold_in(data_key, SPLITS.index(split))
            places = reader.places(own, step * count, count)
            return lambda number: reader.batch(places[number])

        return {split: of_split(split, count) for split, count in self.batches.items()}

    def read(self, place: int, step: int) -> dict[str, PyTree]:
        """Batches from the host's readers, for :meth:`estimate`.

        Args:
          place: the worker's number, different for every worker and estimator.
          step: outer steps before the one that they are for.
        """
        datasets = ecosystem.task_family_of(self.estimator).datasets
        found = {}
        for split, count in self.on_host().items():
            reader = datasets.split(split)
            if isinstance(reader, ecosystem.PositionedIterator):
                reader.position = place * POSITIONS_OF_A_WORKER + step * count
            drawn = [next(reader) for _ in range(count)]
            found[split] = jax.tree.map(lambda *leaves: np.stack(leaves), *drawn)
        return found


def pure_estimator(estimator: Any) -> PureEstimator | None:
    """An estimator as a pure function; None for one that is not known to be one.

    This project's say it themselves; of the ecosystem's TruncatedPES, TruncatedES and TruncatedGrad
    are, but not classes that are derived from them.

    Args:
      estimator: a `GradientEstimator`.
    """
    if getattr(estimator, "is_pure", False):
        return PureEstimator(estimator)
    # By name: importing a class that no config mentions would be too late for gin.
    name = type(estimator).__name__
    known = ("TruncatedPES", "TruncatedES", "TruncatedGrad")
    if name not in known or not type(estimator).__module__.startswith(f"{ecosystem.PACKAGE}."):
        return None
    stepper = estimator if ecosystem.version() == "release" else estimator.truncated_step
    count = _length(estimator) * stepper.num_tasks
    inner_steps = count * (1 if name == "TruncatedGrad" else 2)  # both signs
    if stepper.task_family.datasets is None:
        return PureEstimator(estimator, inner_steps=inner_steps)
    batches = {"train": count}
    if ecosystem.version() == "release":
        other = "outer_valid" if estimator.train_and_meta else None
    else:
        other = None if stepper.meta_loss_split == "same_data" else stepper.meta_loss_split
    if other is not None:
        batches[other] = batches.get(other, 0) + count
    return PureEstimator(estimator, batches, inner_steps)


def pure_update(
    learner: Any, state: Any, grad: PyTree, mean_loss: jax.Array, key: jax.Array
) -> Any:
    """`learner.update` with one worker's gradient, as a pure function.

    Args:
      learner: a `GradientLearner`; its own method makes NumPy arrays of the gradient.
      state: its state.
      grad: the meta-gradient.
      mean_loss: the meta-loss.
      key: for meta-optimizers that draw.
    """
    optimizer, before = learner._theta_opt, state.theta_opt_state
    after = optimizer.update(
        before, grad, loss=mean_loss, key=key, model_state=optimizer.get_state(before)
    )
    return state.replace(theta_opt_state=after)


class _Numbers:
    """Stands for a task's data: draws numbers, of each split from 0."""

    def __init__(self) -> None:
        self.drawn: dict[str, int] = {}

    def split(self, name: str) -> Iterator[dict[str, np.ndarray]]:
        number = self.drawn.get(name, 0)
        self.drawn[name] = number + 1
        yield {name: np.asarray(number, np.int32)}


def _twin(estimator: Any, numbers: _Numbers, reads: Mapping[str, Callable]) -> Any:
    """A copy of an estimator that draws numbers, takes all steps at once, and reads batches."""
    twin = copy.copy(estimator)
    twin.steps_per_jit = _length(estimator)
    family = copy.copy(ecosystem.task_family_of(estimator))
    if family.datasets is not None:
        family.datasets = numbers
        make = family.task_fn
        family.task_fn = lambda config: _reading(make(config), reads)
    if ecosystem.version() == "release":
        twin.task_family = family
    else:
        twin.truncated_step = copy.copy(estimator.truncated_step)
        twin.truncated_step.task_family = family
    return twin


def _reading(task: Any, reads: Mapping[str, Callable]) -> Any:
    """A task whose losses take numbers of batches."""
    twin = copy.copy(task)
    for name in ("loss", "loss_with_state", "loss_and_aux", "loss_with_state_and_aux"):
        loss = getattr(task, name, None)
        if loss is not None:
            setattr(twin, name, _of_numbers(loss, reads))
    return twin


def _of_numbers(loss: Callable, reads: Mapping[str, Callable]) -> Callable:
    def of_numbers(*arguments: Any) -> Any:
        *rest, numbers = arguments
        ((split, number),) = numbers.items()
        return loss(*rest, reads[split](number))

    return of_numbers


def _length(estimator: Any) -> int:
    """Inner steps in an outer step."""
    return getattr(estimator, "trunc_length", None) or estimator.unroll_length
