"""The configuration of a run's folder, read as data: nothing that it names is imported or called.

A gin file can import modules and call whatever they have, so a stranger's is not given to gin. Its
statements are read by gin's own parser, which makes data of them, and what is not a plain binding
is refused.
"""

from __future__ import annotations

import dataclasses
import difflib
import pathlib
import re
import tokenize
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from gin import config_parser

from unf_lopt.runs.errors import RunError
from unf_lopt.runs.files import read_file

# Imports that gin writes into every configuration of ours; they are skipped, not followed.
_OWN_PACKAGE = "unf_lopt"


@dataclasses.dataclass(frozen=True)
class Reference:
    """``@scope/name`` or ``@scope/name()`` in a configuration; its ``repr`` is as gin writes it.

    Attributes:
      name: what it names, with its scope.
      called: whether it is followed by ``()``.
    """

    name: str
    called: bool

    def __repr__(self) -> str:
        return f"@{self.name}{'()' if self.called else ''}"


@dataclasses.dataclass(frozen=True)
class Macro:
    """``%NAME`` in a configuration; its ``repr`` is as gin writes it."""

    name: str

    def __repr__(self) -> str:
        return f"%{self.name}"


@dataclasses.dataclass(frozen=True)
class Configuration:
    """The bindings of a configuration.

    Attributes:
      path: the file.
      macros: values of macros by name.
      parameters: values of parameters by configurable and name; values are literals, with
        :class:`Reference` and :class:`Macro` in them.
    """

    path: pathlib.Path
    macros: Mapping[str, Any]
    parameters: Mapping[str, Mapping[str, Any]]

    def value(self, value: Any) -> Any:
        """A value with macros replaced by what they stand for.

        Raises:
          RunError: a macro is not defined, or stands for itself.
        """
        seen: list[str] = []
        while isinstance(value, Macro):
            if value.name in seen or value.name not in self.macros:
                why = "stands for itself" if value.name in seen else "is not defined"
                raise RunError(f"{self.path}: the macro {value.name} {why}.")
            seen.append(value.name)
            value = self.macros[value.name]
        return value


class GinAsData(config_parser.ParserDelegate):
    """Makes plain data of references, where gin would look up what they name."""

    def configurable_reference(self, scoped_name: str, evaluate: bool) -> Reference:
        """``@name``, or ``@name()`` where it is to be evaluated."""
        return Reference(scoped_name, evaluate)

    def macro(self, scoped_name: str) -> Macro:
        """``%name``."""
        return Macro(scoped_name)


def read_configuration(path: pathlib.Path, plugins: Collection[str] = ()) -> Configuration:
    """Reads a configuration as data.

    Args:
      path: the file, a ``config.gin`` that a run wrote.
      plugins: modules that it may import, because the user imported them already.

    Raises:
      RunError: it is not there, is no gin file, or has an include, an import of another module or
        dynamic registration; the message names the line.
    """
    try:
        text = read_file(path).decode("utf-8")
        statements = list(config_parser.ConfigParser(text, GinAsData()))
    except (SyntaxError, ValueError, RecursionError, tokenize.TokenError) as error:
        if isinstance(error, RunError):
            raise
        raise RunError(f"{path} is not a gin configuration: {_first_line(error)}") from error
    macros: dict[str, Any] = {}
    parameters: dict[str, dict[str, Any]] = {}
    for statement in statements:
        if not isinstance(statement, config_parser.BindingStatement):
            _require_harmless(path, statement, plugins)
        elif not statement.arg_name:
            macros[_scoped(statement.scope, statement.selector)] = statement.value
        else:
            own = parameters.setdefault(_scoped(statement.scope, statement.selector), {})
            own[statement.arg_name] = statement.value
    return Configuration(path, macros, parameters)


def parts(value: Any) -> Iterator[Any]:
    """A value of a configuration and all that it contains."""
    yield value
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list | tuple):
        for item in value:
            yield from parts(item)


def differences(before: str, after: str) -> list[str]:
    """Lines of two configurations that differ, but for the number of outer steps."""
    changed = difflib.unified_diff(list(_bindings(before)), list(_bindings(after)), n=0)
    return [line for line in changed if not line.startswith(("---", "+++", "@@"))]


def _bindings(text: str) -> Iterator[str]:
    for line in text.splitlines():
        counts_steps = re.match(r"OUTER_STEPS|[\w.]*num_steps ", line)
        if line and not line.startswith("#") and not counts_steps:
            yield line


def _require_harmless(path: pathlib.Path, statement: Any, plugins: Collection[str]) -> None:
    if isinstance(statement, config_parser.ImportStatement):
        allowed = (_OWN_PACKAGE, *plugins)
        module, line = statement.module, statement.location.line_num
        if module.split(".")[0] == "__gin__":
            reason = "registers whatever it names"
        elif module in allowed or module.startswith(f"{_OWN_PACKAGE}."):
            return
        else:
            reason = f"imports {module}; if that is yours, name it: --gin_import={module}"
    elif isinstance(statement, config_parser.IncludeStatement):
        line, reason = statement.location.line_num, f"includes {statement.filename!r}"
    else:
        return  # the beginning of a block of bindings
    raise RunError(
        f"{path}, line {line}: {reason}. A run's folder is read as data, and nothing that it "
        "names is imported or run."
    )


def _scoped(scope: str, selector: str) -> str:
    return f"{scope}/{selector}" if scope else selector


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
