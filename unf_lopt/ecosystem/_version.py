"""Which `learned_optimization` is installed, and the one way to import a module of it."""

import contextlib
import copy
import functools
import importlib
import importlib.metadata
import importlib.util
import logging
import pathlib
import sys
import types
from collections.abc import Iterator
from typing import Literal

from unf_lopt.ecosystem import _logs

PACKAGE = "learned_optimization"
_NAMES = {"release": "release 0.0.1", "main": "GitHub main"}

HOW_TO_GET = """\
unf_lopt.ecosystem needs learned_optimization, which is not installed. Either the release:
    pip install 'unf_lopt[ecosystem]'
    pip install --no-deps learned_optimization==0.0.1
(without its own pins, which cannot be installed together any more), or GitHub main:
    pip install 'unf_lopt[ecosystem]'
    git clone https://github.com/google/learned_optimization
    export PYTHONPATH=$PWD/learned_optimization"""


class EcosystemMissing(ImportError):
    """`learned_optimization`, or a package that it imports, is not installed."""


@functools.cache
def _folder() -> pathlib.Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:  # no origin: a folder without __init__.py
        raise EcosystemMissing(HOW_TO_GET, name=PACKAGE)
    return pathlib.Path(spec.origin).parent


@functools.cache
def version() -> Literal["release", "main"]:
    """Tells the release from GitHub main, by a module that only main has.

    Returns:
      "release" (0.0.1, on the package index) or "main" (GitHub).

    Raises:
      EcosystemMissing: where neither is installed.
    """
    truncated_step = _folder() / "outer_trainers" / "truncated_step.py"
    return "main" if truncated_step.exists() else "release"


def require_version(wanted: Literal["release", "main"]) -> None:
    """Refuses to go on with the other version.

    Raises:
      RuntimeError: the other one is here. No ImportError, which gin's `skip_unknown` passes over.
    """
    if version() != wanted:
        raise RuntimeError(
            f"this configuration is for {PACKAGE} {_NAMES[wanted]}; here is {_NAMES[version()]}, "
            "whose parameters are called otherwise. To go on with a trained theta take "
            "unf_lopt.to_optax(folder) or `unf-lopt evaluate`, which read runs of both."
        )


def describe() -> str:
    """One line for a log: the ecosystem's version and place, and the version of JAX."""
    jax_version = importlib.metadata.version("jax")
    try:
        return f"{PACKAGE} {_NAMES[version()]} ({_folder()}), JAX {jax_version}"
    except EcosystemMissing:
        return f"{PACKAGE} not installed, JAX {jax_version}"


def _says_oryx_is_missing(record: logging.LogRecord) -> bool:
    # The ecosystem logs an error at every start because `oryx`, for its in-graph summaries, does
    # not import on today's JAX. Nobody can do anything about it, and docs/limits.md says it.
    return "Oryx not found" in record.getMessage()


@contextlib.contextmanager
def _arguments_of_others() -> Iterator[None]:
    """Hides a command line from the ecosystem that its flags cannot take.

    It parses `sys.argv` as it is imported, and stops programs whose flags mean something else: the
    -v of `pytest -v tests` is a number for absl.
    """
    importlib.import_module("absl.logging")  # defines flags, -v among them
    from absl import flags

    arguments = sys.argv
    try:
        copy.deepcopy(flags.FLAGS)(arguments, known_only=True)
    except flags.Error:
        sys.argv = arguments[:1]
    try:
        yield
    finally:
        sys.argv = arguments


def load(path: str) -> types.ModuleType:
    """Imports a module of the ecosystem, after restoring what the release needs.

    It may register names with gin, a configuration that has been read (which locks gin) or not.

    Args:
      path: the module's name below `learned_optimization`, such as "tasks.base".

    Raises:
      EcosystemMissing: where the ecosystem is missing, or a package that it imports; the message
        names which, and says how to get it.
    """
    if version() == "release":
        from unf_lopt.ecosystem import _restore  # imports JAX, which this module can do without

        _restore.restore()
    try:
        import gin

        with (
            gin.unlock_config(),
            _logs.without(logging.getLogger("absl"), _says_oryx_is_missing),
            _arguments_of_others(),
        ):
            module = importlib.import_module(f"{PACKAGE}.{path}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == PACKAGE:
            raise
        raise EcosystemMissing(
            f"{PACKAGE}.{path} is installed ({_folder()}), but it imports {error.name!r}, which "
            "is not. pip install 'unf_lopt[ecosystem]' brings what outer training and evaluation "
            "need; what only some tasks need, such as tensorflow-probability[tf], is apart.",
            name=error.name,
        ) from error
    from unf_lopt.ecosystem import _wide  # imports JAX, too

    _wide.repair(PACKAGE)
    return module
