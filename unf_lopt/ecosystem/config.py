"""gin configs and the ecosystem's own command-line flags."""

import functools
import logging
import pathlib
from collections.abc import Sequence

import gin
from absl import flags
from absl import logging as absl_logging

import unf_lopt
from unf_lopt import ecosystem
from unf_lopt.ecosystem import _logs


@functools.cache
def add_config_path() -> pathlib.Path:
    """Adds this package's configs to gin's search path; a second call does nothing.

    Configs are found by name from anywhere, and `include 'ecosystem.gin'` is the file for the
    ecosystem's version installed.

    Returns:
      The folder of the configs.
    """
    folder = pathlib.Path(unf_lopt.__file__).parent / "gin"
    gin.add_config_file_search_path(str(folder))
    gin.add_config_file_search_path(str(folder / ecosystem.version()))
    return folder


@functools.cache  # a second call would undo what --verbosity said in between
def define_flags() -> None:
    """Defines the ecosystem's flags: gin_bindings, gin_import, config_file, train_log_dir, task.

    Libraries then log warnings only, unless `--verbosity` says more.
    """
    ecosystem.load("setup_experiment")
    absl_logging.set_verbosity(absl_logging.WARNING)


def parse_flags_and_config(
    argv: Sequence[str] | None = None, *, finalize: bool = True, skip_unknown: bool = False
) -> str | None:
    """Reads the ecosystem's flags, then the gin configs and bindings that they name.

    Args:
      argv: the command line with the program's name first, or None where absl has parsed it
        already (as `absl.app.run` does, after `define_flags`).
      finalize: lock the configuration when it is read, which also checks its macros.
      skip_unknown: skip bindings of names that do not exist, as the ecosystem's own entry points
        do, which hides misspelt names.

    Returns:
      `--train_log_dir`, or None.

    Raises:
      ValueError: for a `--gin_bindings` that is not NAME=VALUE.
      OSError: for a `--config_file` that is not found; the message says where it was looked for.
    """
    define_flags()
    add_config_path()
    if argv is not None:
        flags.FLAGS(argv)
    for binding in flags.FLAGS.gin_bindings or ():
        if "=" not in binding:
            raise ValueError(f"--gin_bindings={binding!r}: expected NAME=VALUE")
    # Not `setup_experiment()`: on GitHub main it also makes JAX log every compilation.
    with _logs.without(logging.getLogger(), _tells_where_no_config_is):
        ecosystem.load("setup_experiment").parse_and_set_gin_config(finalize, skip_unknown)
    return flags.FLAGS.train_log_dir


def _tells_where_no_config_is(record: logging.LogRecord) -> bool:
    # gin logs an error for every folder of its search path that a config is not in; where it is
    # in none, gin's exception names them all.
    return record.module == "resource_reader"
