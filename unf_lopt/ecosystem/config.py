"""gin configs and the ecosystem's own command-line flags."""

import contextlib
import functools
import importlib
import logging
import sys
import tokenize
from collections.abc import Callable, Iterator, Sequence

import gin
from absl import flags
from absl import logging as absl_logging

from unf_lopt import ecosystem
from unf_lopt.ecosystem import _logs, config_names, config_text
from unf_lopt.ecosystem.config_files import add_config_path, found_by_name

__all__ = ["add_config_path", "define_flags", "import_plugins", "parse_flags_and_config"]


@functools.cache  # a second call would undo what --verbosity said in between
def define_flags() -> None:
    """Defines the ecosystem's flags: gin_bindings, gin_import, config_file, train_log_dir, task.

    Libraries then log warnings only, unless `--verbosity` says more.
    """
    ecosystem.load("setup_experiment")
    arguments = sys.argv
    try:
        sys.argv = arguments[:1]  # importing this module parses them, a second time for us
        ecosystem.load("profile")
    finally:
        sys.argv = arguments
    absl_logging.set_verbosity(absl_logging.WARNING)


def import_plugins() -> None:
    """Imports what `--gin_import` names, and this project's own names.

    Raises:
      ModuleNotFoundError: there is no such module.
      ValueError: it is no name of a module, or the module ends the program.
    """
    importlib.import_module("unf_lopt.register")
    for module in flags.FLAGS.gin_import or ():
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise
            raise ModuleNotFoundError(
                f"--gin_import={module}: there is no module {error.name!r}; is its folder on "
                "PYTHONPATH?",
                name=error.name,
            ) from error
        except (ValueError, TypeError) as error:  # "..", "": no name of a module
            raise ValueError(f"--gin_import={module}: {error}; name a module.") from error
        except SystemExit as error:  # or the command would end here, with success for all to see
            raise ValueError(
                f"--gin_import={module}: importing it calls sys.exit({error.code!r}); name a "
                "module that only defines, with what it runs under if __name__ == '__main__'."
            ) from error


def parse_flags_and_config(
    argv: Sequence[str] | None = None,
    *,
    finalize: bool = True,
    skip_unknown: bool = False,
    check: Callable[[config_text.ConfigText], None] | None = None,
) -> str | None:
    """Reads the ecosystem's flags, then the gin configs and bindings that they name.

    Args:
      argv: the command line with the program's name first, or None where absl has parsed it
        already (as `absl.app.run` does, after `define_flags`).
      finalize: lock the configuration when it is read; all macros in use must have values then.
      skip_unknown: skip bindings of names that do not exist, as the ecosystem's own entry points
        do, which hides misspelt names.
      check: raises an error for a configuration that it does not allow, before it is locked.

    Returns:
      `--train_log_dir`, or None.

    Raises:
      ValueError: for a `--gin_bindings` that is not NAME=VALUE; for a name that nothing has, with
        the nearest that something has, a macro that nothing refers to among them; for macros or
        configs that lead back to themselves.
      SyntaxError: for a value that is none in gin.
      OSError: for a `--config_file` that is not found; the message says where it was looked for.
    """
    define_flags()
    add_config_path()
    if argv is not None:
        flags.FLAGS(argv)
    given = _given_macros(flags.FLAGS.gin_bindings or ())
    before = config_text.current().macros
    # Not `setup_experiment()`: on GitHub main it also makes JAX log every compilation.
    with _explaining(), found_by_name():
        ecosystem.load("setup_experiment").parse_and_set_gin_config(False, skip_unknown)
    if not skip_unknown:
        config_names.check(config_text.current(), given, before, complete=finalize)
    if check is not None:
        check(config_text.current())
    if finalize:
        with _explaining():
            gin.finalize()
    return flags.FLAGS.train_log_dir


def _given_macros(bindings: Sequence[str]) -> set[str]:
    """The macros that `--gin_bindings` binds."""
    macros: set[str] = set()
    for binding in bindings:
        name, equals, value = binding.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise ValueError(f"--gin_bindings={binding!r}: expected NAME=VALUE")
        # The ecosystem's flags may quote a reference.
        value = value.strip()
        value = value[1:-1] if value.startswith('"@') else value
        try:
            macros |= set(config_text.parse(f"{name.strip()}={value}").macros)
        except (SyntaxError, tokenize.TokenError, ValueError, TypeError) as error:
            raise ValueError(
                f"--gin_bindings={binding!r}: not a value that gin reads; a text needs quotes, a "
                "configurable an @, a macro a %, and brackets come in pairs."
            ) from error
    return macros


@contextlib.contextmanager
def _explaining() -> Iterator[None]:
    """Says more than gin does where a name is wrong, and leaves out what gin logs on its way."""
    try:
        with _logs.without(logging.getLogger(), _tells_where_no_config_is):
            yield
    except ValueError as error:
        message = config_names.explained(str(error))
        if message == str(error):
            raise
        raise ValueError(message) from error
    except tokenize.TokenError as error:
        raise SyntaxError(f"a config ends within a value: {error}") from error


def _tells_where_no_config_is(record: logging.LogRecord) -> bool:
    # gin logs an error for every folder of its search path that a config is not in; where it is
    # in none, the exception names them all.
    return record.module == "resource_reader"
