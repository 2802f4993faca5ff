"""Learned optimizers of plain Python as gin configurables."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any

import gin

from unf_lopt.ecosystem.adapter import (
    TransformationLearnedOptimizer,
    TransformationMaker,
    WeightSpace,
    learned_optimizer,
    weight_space,
)
from unf_lopt.ecosystem.gin_decorator import configurable

_OF_SPACE = ("task_family", "spec", "verify", "randomness")


def register_optimizer(
    function: Callable[..., TransformationMaker],
    shared: Callable[..., Any] | None = None,
    without: Collection[str] = (),
) -> Callable[..., TransformationLearnedOptimizer]:
    """Makes a function that gives a learned optimizer known to gin, by its own name.

    In a configuration it takes its own arguments and those of `weight_space`. What it is not given
    is taken from `weight_space` and from the shared options, so that a configuration binds what
    all optimizers have in common once.

    Args:
      function: such as `unf_lopt.optimizers.unf`, with a parameter `spec`.
      shared: a gin configurable, registered with `register_options`, whose bindings are options of
        the function too; its `**options` are in the function's place.
      without: shared options that it has not, although it has `**options`.

    Returns:
      The configurable: called, it gives the ecosystem's `LearnedOptimizer`.
    """
    name = function.__name__

    def configured(task_family: Any = None, **options: Any) -> TransformationLearnedOptimizer:
        if task_family is not None:
            options["task_family"] = task_family
        # The ecosystem's `opt_from_checkpoint` calls this function itself, within a scope that has
        # the bindings, and past gin.
        bound = {own: x for own, x in _bindings(shared, function).items() if own not in without}
        options = {**bound, **gin.get_bindings(name), **options}
        space = _space({key: options.pop(key) for key in _OF_SPACE if key in options})
        found = {"verify": space.verify, "randomness": space.randomness}
        if missing := [own for own in _needed(function) if options.get(own) is None]:
            raise TypeError(f"{name}: nothing is bound to {name}.{missing[0]}, which it needs.")
        return learned_optimizer(function(**options), space.source, **found)

    signature = _signature(function, shared, without)
    configured.__name__ = configured.__qualname__ = name
    configured.__doc__ = function.__doc__
    configured.__signature__ = signature
    return configurable(name)(configured)


def register_options(function: Callable[..., Any], *, without: tuple[str, ...] = ()) -> Any:
    """Makes the options of a function bindable in one place, under the function's name.

    Args:
      function: what takes the options; it is not called.
      without: parameters that are not shared.

    Returns:
      The configurable, for `register_optimizer`; `parameters` lists what it takes.
    """

    def options(**given: Any) -> dict[str, Any]:
        return given

    kept = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD and parameter.name not in without
    ]
    options.__name__ = options.__qualname__ = function.__name__
    options.__doc__ = function.__doc__
    options.__signature__ = inspect.Signature(kept)
    return configurable(function.__name__)(options)


def _bindings(shared: Callable[..., Any] | None, function: Callable[..., Any]) -> dict[str, Any]:
    """The shared options that are bound, those that the function takes."""
    bound = {} if shared is None else shared()
    return (
        bound
        if _takes_all(function)
        else {
            name: value
            for name, value in bound.items()
            if name in inspect.signature(function).parameters
        }
    )


def _takes_all(function: Callable[..., Any]) -> bool:
    """Whether a function has ``**options``, which stand for the shared ones."""
    kinds = (own.kind for own in inspect.signature(function).parameters.values())
    return inspect.Parameter.VAR_KEYWORD in kinds


def _needed(function: Callable[..., Any]) -> list[str]:
    """The parameters without a default."""
    parameters = inspect.signature(function).parameters.values()
    variable = inspect.Parameter.VAR_KEYWORD
    return [own.name for own in parameters if own.default is own.empty and own.kind != variable]


def _space(given: dict[str, Any]) -> WeightSpace:
    """What is given for this optimizer, else what is bound for all; a spec wins over a task."""
    if given.get("task_family") is not None:
        given.setdefault("spec", None)
    return weight_space(**given)


def _signature(
    function: Callable[..., Any], shared: Callable[..., Any] | None, without: Collection[str]
) -> Any:
    """The function's parameters, those that its ``**step`` stands for, and the weight space's."""
    either = inspect.Parameter.POSITIONAL_OR_KEYWORD
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = {
        parameter.name: parameter.replace(
            kind=either if parameter.name == "task_family" else keyword
        )
        for source in (shared if _takes_all(function) else None, weight_space, function)
        if source is not None
        for parameter in inspect.signature(source).parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD and parameter.name not in without
    }
    return inspect.Signature(sorted(parameters.values(), key=lambda own: own.kind))
