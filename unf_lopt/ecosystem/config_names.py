"""Names in a gin configuration that nothing answers to, and the nearest that something does.

gin takes a macro that nothing refers to without a word, as it takes any parameter of a function
with `**kwargs`, and of a name that it does not know it says no more than that.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Collection, Iterable
from typing import Any

import gin.config

from unf_lopt.ecosystem.config_text import Binding, ConfigText
from unf_lopt.runs import Macro, parts

_UNKNOWN = re.compile(r"No configurable matching '(?P<name>[^']+)'")
_UNKNOWN_REFERENCE = re.compile(r"No configurable matching reference '@(?P<name>[^'()]+)(\(\))?'")
_NO_PARAMETER = re.compile(
    r"Configurable '(?P<owner>[^']+)' doesn't have a parameter named '(?P<name>[^']+)'"
)
_NO_BINDING = re.compile(r"No bindings specified for '(?P<name>[^']+)/gin\.macro'")


def nearest(name: str, known: Iterable[str]) -> str:
    """A question after the nearest of the known names, or an empty text where nothing is near."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return f" Did you mean {by_lower[found[0]]}?" if found else ""


def explained(message: str) -> str:
    """A message of gin's about a name that it does not know, with the nearest that it knows."""
    for pattern in (_UNKNOWN, _UNKNOWN_REFERENCE):
        if found := pattern.search(message):
            hint = nearest(found["name"].rpartition("/")[2], configurables())
            plugin = "" if hint else " If a plugin has it, name its module: --gin_import=MODULE."
            told = f"nothing is called {found['name']!r} in gin.{hint}{plugin}"
            return message.replace(_sentence(message, found.start()), told)
    if found := _NO_PARAMETER.search(message):
        told = _no_parameter(found["owner"], found["name"])
        return message.replace(_sentence(message, found.start()), told)
    if found := _NO_BINDING.search(message):
        return f"macro %{found['name']} has no value: --gin_bindings='{found['name']}=VALUE'."
    return message


def check(
    config: ConfigText,
    given: Collection[str] = (),
    known: Collection[str] = (),
    *,
    complete: bool = True,
) -> None:
    """Checks the names of a configuration that gin does not check.

    Args:
      config: all of it.
      given: macros that the command line binds.
      known: macros that were there before and need no use.
      complete: whether every macro that something refers to has to have a value by now.

    Raises:
      ValueError: a macro that nothing refers to, has no value or refers to itself; a parameter that
        a function would hand on to one that does not have it.
    """
    used = config.used_macros()
    for name, where in used.items():
        if complete and name not in config.macros and not _is_constant(name):
            raise ValueError(
                f"macro %{name}, which {where} refers to, has no value."
                f"{nearest(name, config.macros)} Give it one, --gin_bindings='{name}=VALUE', or "
                "name the config of an experiment, such as --config_file=digits_mlp.gin."
            )
    for name in config.macros:
        if name not in used and (name in given or name not in known):
            value = f"{name}={config.macros[name]!r}"
            raise ValueError(
                f"{value}: no macro {name} is used by anything.{nearest(name, used)} A parameter "
                "is bound as CONFIGURABLE.PARAMETER=VALUE."
            )
        _check_circle(name, config.macros)
    for binding in config.bindings:
        _check_handed_on(binding)


def _check_circle(name: str, macros: dict[str, Any], within: tuple[str, ...] = ()) -> None:
    if name in within:
        circle = " = ".join(f"%{macro}" for macro in (*within[within.index(name) :], name))
        raise ValueError(f"macros refer to each other: {circle}; give one of them a value.")
    for part in parts(macros.get(name)):
        if isinstance(part, Macro):
            _check_circle(part.name, macros, (*within, name))


def _check_handed_on(binding: Binding) -> None:
    known = parameters(binding.configurable)
    if known is not None and binding.parameter not in known:
        raise ValueError(_no_parameter(binding.configurable, binding.parameter, str(binding)))


def _no_parameter(owner: str, name: str, binding: str | None = None) -> str:
    known = parameters(owner) or []
    hint = nearest(name, known) or f" It has {', '.join(sorted(known))}."
    return f"{binding or f'{owner}.{name}'}: {owner} has no parameter {name!r}.{hint}"


def parameters(name: str) -> list[str] | None:
    """The parameters of a configurable that a config can bind; None where any can be.

    Args:
      name: as in a config.
    """
    found = gin.config._REGISTRY.get_match(name)
    if found is None:
        return None
    named, open_ended = _signature(found.wrapped)
    if not open_ended:
        return named
    if inspect.isclass(found.wrapped):
        return _of_bases(found.wrapped)
    return None


def _of_bases(cls: type) -> list[str] | None:
    """Of a class that hands on what it does not know to its bases."""
    known: list[str] = []
    for base in cls.__mro__[:-1]:
        if "__init__" in vars(base):
            named, open_ended = _signature(vars(base)["__init__"])
            known += named
            if not open_ended:
                return known
    return None


def _signature(function: Callable[..., Any]) -> tuple[list[str], bool]:
    """Names of the parameters, and whether there is a `**kwargs`."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of a builtin
        return [], True
    taken = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = [p.name for p in found if p.kind in taken and p.name != "self"]
    return names, any(p.kind == inspect.Parameter.VAR_KEYWORD for p in found)


def configurables() -> list[str]:
    """The names that gin knows, without their modules."""
    return [selector.rpartition(".")[2] for selector, _ in gin.config._REGISTRY.items()]


def _is_constant(name: str) -> bool:
    return bool(gin.config._CONSTANTS.matching_selectors(name))


def _sentence(message: str, start: int) -> str:
    """From a place in a message to the end of its line."""
    return message[start:].partition("\n")[0]
