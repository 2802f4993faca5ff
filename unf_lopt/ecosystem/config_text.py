"""The current gin configuration as what was written: bindings, macros, references."""

from __future__ import annotations

import dataclasses
from typing import Any

import gin.config
from gin import config_parser

from unf_lopt.runs import GinAsData, Macro, Reference, parts

_MACRO = "gin.macro"


@dataclasses.dataclass(frozen=True)
class Binding:
    """A parameter with its value.

    Attributes:
      scope: "" for none.
      configurable: whose parameter it is, as short as gin writes it.
      parameter: its name.
      value: with `Macro` and `Reference` where it has them.
    """

    scope: str
    configurable: str
    parameter: str
    value: Any

    def __str__(self) -> str:
        prefix = f"{self.scope}/" if self.scope else ""
        return f"{prefix}{self.configurable}.{self.parameter}"


@dataclasses.dataclass(frozen=True)
class ConfigText:
    """Bindings and macros.

    Attributes:
      bindings: of parameters.
      macros: their values by name.
    """

    bindings: list[Binding]
    macros: dict[str, Any]

    def used_macros(self) -> dict[str, str]:
        """The macros that something refers to, each with what does first."""
        used: dict[str, str] = {}
        values = [(str(binding), binding.value) for binding in self.bindings]
        for where, value in [*values, *((f"{n}", value) for n, value in self.macros.items())]:
            for part in parts(value):
                if isinstance(part, Macro):
                    used.setdefault(part.name, where)
        return used

    def resolve(self, value: Any) -> tuple[Any, str | None]:
        """A value with macros of which it consists followed, and the first of them."""
        first = None
        while isinstance(value, Macro) and value.name in self.macros:
            first = first or value.name
            value = self.macros[value.name]
        if isinstance(value, list | tuple):
            value = type(value)(self.resolve(item)[0] for item in value)
        return value, first


def current() -> ConfigText:
    """The configuration as it is now."""
    bindings, macros = [], {}
    # Not of `gin.config_str()`, which leaves out what has no text, such as infinite numbers.
    for (scope, selector), found in gin.config._CONFIG.items():
        for parameter, value in found.items():
            if selector == _MACRO:
                macros[scope] = _as_written(value)
            else:
                name = gin.config._REGISTRY.minimal_selector(selector)
                bindings.append(Binding(scope, name, parameter, _as_written(value)))
    return ConfigText(bindings, macros)


def _as_written(value: Any) -> Any:
    if isinstance(value, gin.config.ConfigurableReference):
        scope, selector = value.config_key
        if selector in (_MACRO, "gin.constant") and value.evaluate:
            return Macro(scope)
        return Reference(value.scoped_selector, value.evaluate)
    if isinstance(value, dict):
        return {_as_written(key): _as_written(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_as_written(item) for item in value)
    return value


def parse(text: str) -> ConfigText:
    """The bindings and macros of a text; nothing is imported, included or looked up.

    Raises:
      SyntaxError: the text is no configuration.
    """
    bindings, macros = [], {}
    for statement in config_parser.ConfigParser(text, GinAsData()):
        if isinstance(statement, config_parser.BindingStatement):
            scope, name, parameter, value, _ = statement
            if parameter:
                bindings.append(Binding(scope, name, parameter, value))
            else:
                macros[f"{scope}/{name}" if scope else name] = value
    return ConfigText(bindings, macros)
