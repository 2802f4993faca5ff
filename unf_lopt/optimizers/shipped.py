"""Trained optimizers by name: those that the package ships, files, and folders of runs."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import optax

from unf_lopt._types import PyTree
from unf_lopt.optimizers.export import to_optax
from unf_lopt.optimizers.learned_optimizer import LearnedOptimizer
from unf_lopt.optimizers.theta import SavedTheta, read_theta, shipped_names


@dataclasses.dataclass(frozen=True)
class TrainedOptimizer:
    """A learned optimizer with a theta.

    Attributes:
      optimizer: the learned optimizer; bound to a weight space where theta is for one only.
      theta: its meta-parameters.
      saved: the file, and all that it says.
    """

    optimizer: LearnedOptimizer
    theta: PyTree
    saved: SavedTheta

    @property
    def training(self) -> Mapping[str, Any]:
        """What is known of the training, such as the tasks' names."""
        return self.saved.training

    def to_optax(
        self, loss_fn: Callable[..., Any], params: PyTree, *args: Any, **options: Any
    ) -> optax.GradientTransformationExtraArgs:
        """It for a loss, as an optax transformation; see :func:`unf_lopt.to_optax`."""
        return to_optax(self.saved.path, loss_fn, params, *args, **options)


def load(source: str | os.PathLike[str]) -> TrainedOptimizer:
    """A trained optimizer: one that the package ships, by its name, or any other.

    Args:
      source: a name, such as ``"universal"``; or a theta file, or a run's folder for its newest.
        A file or folder of the name wins.

    Raises:
      FileNotFoundError: there is none; lists the names there are.
      ValueError: the file is damaged, is not of this version, or does not say which optimizer it
        belongs to.

    Example:
      >>> unf_lopt.load("universal").to_optax(loss_fn, params, batch, num_steps=1000)
    """
    saved = read_theta(source)
    optimizer = saved.make_optimizer()
    return TrainedOptimizer(optimizer, saved.for_optimizer(optimizer), saved)


def trained(theta: str) -> LearnedOptimizer:
    """The learned optimizer that a trained theta belongs to, with the options that its file says.

    In gin it is what goes on from a theta: ``finetune.gin`` binds it.

    Args:
      theta: a name, a theta file or a run's folder, as for :func:`load`.

    Raises:
      FileNotFoundError: there is none; lists the names there are.
      ValueError: the file is damaged, is not of this version, or does not say which optimizer it
        belongs to.
    """
    return read_theta(theta).make_optimizer()


def trained_optimizers() -> tuple[str, ...]:
    """The names of the optimizers that the package ships, for :func:`load`."""
    return shipped_names()


def card(name: str) -> str:
    """What there is to know of an optimizer that the package ships: Markdown.

    Raises:
      FileNotFoundError: the package ships none of this name.
    """
    if name not in shipped_names():
        raise FileNotFoundError(f"no shipped optimizer {name!r}; there are {shipped_names()}.")
    path: pathlib.Path = read_theta(name).path.with_suffix(".md")
    return path.read_text(encoding="utf-8")
