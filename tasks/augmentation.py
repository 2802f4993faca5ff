"""More inner problems of those that there are: other scales of the weights, widths and depths.

One theta that is to serve many networks is trained on many. What is varied is drawn when a run is
configured (sizes, which are compiled in) or when an inner run begins (scales).
"""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from unf_lopt import ecosystem
from unf_lopt.ecosystem.gin_decorator import REQUIRED, configurable


@configurable()
def augmented(
    task_family: Any = REQUIRED, log_scale: float = math.log(10.0), level: str = "tensor"
) -> Any:
    """A task family whose weights are reparametrized, drawn anew for every inner run.

    With scales s the loss of V is the loss of W = s·V, and training starts at V = W₀/s: the same
    functions, but other initial scales, gradients and best step sizes for every tensor. Metz et
    al. ("Practical tradeoffs between memory, compute, and performance in learned optimizers",
    arXiv 2203.11860); Celo (arXiv 2501.12670) trains on little else. The symmetry stays as it is.

    Args:
      task_family: the family, or a list of them.
      log_scale: s is log-uniform between ``exp(-log_scale)`` and ``exp(log_scale)``.
      level: ``"tensor"``: a scale for every tensor; ``"global"``: one for all of them.

    Returns:
      The ecosystem's `ReparamWeightsFamily`, or a list of them.

    Raises:
      ValueError: a scale that is not positive and finite, or another level.
      TypeError: something is no task family.
    """
    if not (math.isfinite(log_scale) and log_scale > 0):
        raise ValueError(f"augmented(log_scale={log_scale}): must be positive and finite.")
    if level not in ("tensor", "global"):
        raise ValueError(
            f"augmented(level={level!r}): must be 'tensor' or 'global'; a scale for every entry "
            "would leave no symmetry."
        )
    if isinstance(task_family, list | tuple):
        return [augmented(own, log_scale, level) for own in task_family]
    if not isinstance(task_family, ecosystem.TaskFamily):
        raise TypeError(
            f"augmented(task_family={type(task_family).__name__}): must be a task family, such as "
            "@digits_mlp_family(), or a list of them."
        )
    scales = (math.exp(-log_scale), math.exp(log_scale))
    family = ecosystem.ReparamWeightsFamily(task_family, level, scales)
    family._name = f"{task_family.name}_Reparametrized"
    return family


@configurable()
def varied_families(
    family: Callable[..., Any] = REQUIRED,
    option: str = REQUIRED,
    values: Sequence[Any] = REQUIRED,
) -> list[Any]:
    """A family for every value of an option, each compiled once: for ``train.task_families``.

    Args:
      family: makes a family, such as ``@digits_mlp_family`` (without parentheses).
      option: its argument that varies, such as ``"hidden_sizes"``.
      values: of the option, such as those of :func:`drawn_sizes`.

    Raises:
      ValueError: there are no values, or the family has no such option.
    """
    if not isinstance(values, Sequence) or isinstance(values, str) or not values:
        raise ValueError(f"varied_families(values={values}): at least one value is needed.")
    options = list(inspect.signature(family).parameters)
    if option not in options:
        raise ValueError(f"varied_families(option={option!r}): must be one of {options}.")
    return [family(**{option: value}) for value in values]


@configurable()
def drawn_sizes(
    count: int = 4,
    widths: tuple[int, int] = (16, 64),
    depths: tuple[int, int] = (1, 3),
    seed: int = 0,
) -> list[tuple[int, ...]]:
    """Widths of the layers of some networks, all different.

    Depths are uniform between two numbers, both included, and every layer's width is log-uniform
    between two, rounded.

    Args:
      count: how many networks.
      widths: the smallest and the largest.
      depths: the smallest and the largest number of layers.
      seed: of the draws; the same one gives the same networks.

    Returns:
      For every network its layers' widths.

    Raises:
      ValueError: a range is empty or not positive, or there are not as many networks in it.
    """
    for name, ends in {"widths": widths, "depths": depths}.items():
        if len(ends) != 2 or not 1 <= ends[0] <= ends[1]:
            raise ValueError(
                f"drawn_sizes({name}={tuple(ends)}): two numbers that rise from 1 or more."
            )
    there_are = sum((widths[1] - widths[0] + 1) ** n for n in range(depths[0], depths[1] + 1))
    if not 1 <= count <= there_are:
        raise ValueError(f"drawn_sizes(count={count}): must be from 1 to {there_are}.")
    generator = np.random.default_rng(seed)
    found: dict[tuple[int, ...], None] = {}
    while len(found) < count:
        depth = generator.integers(depths[0], depths[1] + 1)
        logs = generator.uniform(math.log(widths[0] - 0.5), math.log(widths[1] + 0.5), depth)
        found[tuple(int(np.clip(round(w), *widths)) for w in np.exp(logs))] = None
    return list(found)
