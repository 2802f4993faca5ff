"""What takes part in an evaluation: learned or hand-designed, all are of one kind."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import gin
import jax
import jax.numpy as jnp
import numpy as np

from unf_lopt import ecosystem
from unf_lopt._options import check_option
from unf_lopt._types import PyTree
from unf_lopt.evaluation.baselines import BASELINES
from unf_lopt.optimizers import LearnedOptimizer, optimizer_name, read_theta

LEARNED, HAND_DESIGNED = "learned", "hand-designed"


@dataclasses.dataclass(frozen=True)
class Contestant:
    """An optimizer as an evaluation takes it: how to make it, and a grid of settings to tune.

    Attributes:
      name: what results call it.
      title: what a reader calls it.
      learned_opt: the ecosystem's `LearnedOptimizer`; ``opt_fn(theta)`` is the inner optimizer.
      settings: the grid: thetas by the names of settings, in rising order. A learned optimizer has
        one setting, with an empty name, and is not tuned.
      kind: `LEARNED` or `HAND_DESIGNED`.
      about: what else there is to say, plain data.
      identity: what its runs depend on, beside the versions of packages.
    """

    name: str
    title: str
    learned_opt: Any
    settings: Mapping[str, PyTree]
    kind: str
    about: Mapping[str, Any]
    identity: str

    @property
    def is_tuned(self) -> bool:
        """Whether a setting is to be chosen."""
        return self.kind == HAND_DESIGNED

    def thetas(self, settings: Collection[str]) -> PyTree:
        """The thetas of some settings, stacked: leaves [settings, ...]."""
        chosen = [self.settings[name] for name in settings]
        return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(x) for x in leaves]), *chosen)

    def edge(self, setting: str) -> str | None:
        """Where a setting has nothing on one side: "lowest", "highest", "only"; or None."""
        names = list(self.settings)
        if not self.is_tuned:
            return None
        if len(names) == 1:
            return "only"
        return {names[0]: "lowest", names[-1]: "highest"}.get(setting)

    def on(self, task_family: Any) -> Contestant:
        """The same for a task: a theta for every weight space is bound to that of the task.

        One whose spec was written by hand is left as it is.

        Raises:
          ValueError: theta is for another weight space than the task's.
        """
        lopt = self.learned_opt
        if not isinstance(lopt, ecosystem.TransformationLearnedOptimizer):
            return self
        if lopt.theta_spec is not None:
            _require_space(self.title, lopt, task_family)
            return self
        if lopt.spec is not None and lopt.spec.provenance is None:
            return self
        return dataclasses.replace(self, learned_opt=lopt.bind(task_family))


@dataclasses.dataclass(frozen=True)
class Trained:
    """A learned optimizer with the theta of a checkpoint.

    Attributes:
      name: what the report calls it.
      lopt: the `LearnedOptimizer`.
      theta: its parameters.
      outer_steps: how many outer steps made them.
      checkpoint: the file they are from.
      training: what the file says of the training.
    """

    name: str
    lopt: Any
    theta: PyTree
    outer_steps: int
    checkpoint: str
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def load(
        cls, source: str | os.PathLike[str], name: str | None = None, lopt: Any = None
    ) -> Trained:
        """Reads a theta.

        Args:
          source: a theta file, or a run's folder for its newest, or the name of an optimizer that
            the package ships.
          name: by default that of what the package ships, else the optimizer's own.
          lopt: the ecosystem's `LearnedOptimizer` that it belongs to; by default the one that the
            file describes.

        Raises:
          FileNotFoundError: there is no such file.
          ValueError: it is damaged, was written for another optimizer or another weight space, or
            does not say its optimizer and none is given.
        """
        saved = read_theta(source)
        if lopt is None:
            lopt = ecosystem.learned_optimizer(saved.make_optimizer())
        theta = saved.for_optimizer(lopt)
        name = name or saved.shipped_name or optimizer_name(lopt)
        return cls(name, lopt, theta, saved.outer_steps, str(saved.path), saved.training)

    @classmethod
    def named(cls, argument: str) -> Trained:
        """Reads a theta that is given as ``SOURCE`` or ``NAME=SOURCE``; see :meth:`load`."""
        name, source = split_name(argument)
        return cls.load(source, name)

    def on(self, task_family: Any) -> Trained:
        """The same, bound to a task; see :meth:`Contestant.on`."""
        return dataclasses.replace(self, lopt=self.contestant().on(task_family).learned_opt)

    def contestant(self) -> Contestant:
        """It as a contestant, with a grid of one."""
        about = {
            "outer_steps": self.outer_steps,
            "checkpoint": self.checkpoint,
            "training": dict(self.training),
        }
        identity = f"{_description(self.lopt)} {_digest(self.theta)}"
        settings = {"": self.theta}
        return Contestant(self.name, self.name, self.lopt, settings, LEARNED, about, identity)


def split_name(argument: str) -> tuple[str | None, str]:
    """``NAME=SOURCE`` as name and source; None for a source without a name."""
    if not pathlib.Path(argument).exists() and "=" in argument:
        name, _, source = argument.partition("=")
        return name or None, source
    return None, argument


def hand_designed(name: str, learning_rates: Sequence[float] | None = None) -> Contestant:
    """A baseline of the table as a contestant.

    Args:
      name: a key of :data:`unf_lopt.evaluation.baselines.BASELINES`.
      learning_rates: in place of its grid.

    Raises:
      ValueError: there is no such baseline, or a rate is none of float32.
    """
    check_option("evaluate.baselines", name, BASELINES)
    baseline = BASELINES[name]
    rates = sorted({float(rate) for rate in learning_rates or baseline.learning_rates})
    info = np.finfo(np.float32)
    smallest, largest = float(info.tiny), float(info.max)
    for rate in rates:
        if not smallest <= rate <= largest:
            raise ValueError(
                f"evaluate(learning_rates=...): {rate!r} must be a number of float32 above 0, "
                f"from {smallest:.2g} to {largest:.2g}."
            )
    settings = {f"{rate:g}": np.float32(rate) for rate in rates}
    about = {"options": baseline.options, "learning_rates": rates}
    return Contestant(
        name, baseline.title, baseline.at_rate(), settings, HAND_DESIGNED, about, identity=name
    )


def baselines_of(
    names: Collection[str], adam_rates: Sequence[float] | None = None
) -> list[Contestant]:
    """The baselines that are asked for, as contestants.

    Args:
      names: keys of :data:`unf_lopt.evaluation.baselines.BASELINES`.
      adam_rates: of Adam, in place of its grid.

    Raises:
      ValueError: there is no such baseline, none at all is named, or rates are given for Adam where
        Adam is not compared.
    """
    names = tuple(dict.fromkeys(names))
    if not names:
        raise ValueError(f"evaluate(baselines=()): name one or more of {tuple(BASELINES)}.")
    if adam_rates and "adam" not in names:
        raise ValueError(
            f"evaluate(learning_rates=...) are Adam's, which baselines={names} leave out."
        )
    return [hand_designed(name, adam_rates if name == "adam" else None) for name in names]


def require_own_names(contestants: Sequence[Contestant]) -> None:
    """Checks that no two contestants have one name.

    Raises:
      ValueError: two have.
    """
    names = [own.name for own in contestants]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"two optimizers of one report are called {twice[0]!r}; give the second a name of "
            "its own: --compare=NAME=SOURCE."
        )


def _require_space(title: str, lopt: Any, task_family: Any) -> None:
    """Refuses a theta of one weight space on a task with another."""
    spec = lopt.maker.whole_spec
    shapes = tuple(x.shape for x in jax.tree.leaves(ecosystem.params_shapes(task_family)))
    if (ecosystem.WeightSpace(task_family).paths(), shapes) != (spec.paths, spec.shapes):
        raise ValueError(
            f"{title} is for one weight space only, which {task_family.name} does not have. Leave "
            "the task out, or take an optimizer that has one theta for all, such as unf_universal."
        )


def _description(lopt: Any) -> str:
    """What an optimizer is; for one of another package, all that gin was told."""
    maker = ecosystem.maker_of(lopt)
    if isinstance(maker, LearnedOptimizer):
        return json.dumps(maker.description(), sort_keys=True)
    return f"{type(lopt).__module__}.{type(lopt).__qualname__}\n{gin.config_str()}"


def _digest(tree: PyTree) -> str:
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
