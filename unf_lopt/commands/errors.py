"""Which errors are about what the user gave, and what a line says of them.

An error that somebody wrote a sentence for, with `raise`, is told in one line. What the
interpreter raises by itself within this project's code is a bug, and shows its traceback.
"""

from __future__ import annotations

import ast
import dis
import importlib.metadata
import importlib.util
import re
import tokenize
import traceback
from types import TracebackType

from unf_lopt import ecosystem

# Whose errors are written for the user of a command.
_SPEAKERS = ("unf_lopt", "gin", "absl", "learned_optimization")
# Of these, only a bug is the reason, whoever raises them.
_BUGS = (AssertionError, NotImplementedError, LookupError)
_RAISE = dis.opmap["RAISE_VARARGS"]
_GIN_ADDS = re.compile(r"\n\s+In (?:call to configurable|file|bindings string) ")
_NO_MODULE = re.compile(r"No module named '([^']+)'")
_IN_CALL = re.compile(r"In call to configurable '([^']+)'")
_NOT_BOUND = re.compile(r"No values supplied by Gin or caller for arguments: \[(.+)\]")
_IN_FILE = re.compile(r'In file "([^"]+)", line (\d+)')
# Configurables that are commands: that one of them was called says nothing.
_COMMANDS = ("train", "evaluate")


def told(error: BaseException) -> str | None:
    """What to say of an error in a line, or None where its traceback is what helps.

    What is missing, and how to install it, can take more lines.
    """
    if isinstance(error, ImportError):
        return _of_import(error)
    if isinstance(error, RecursionError):
        return _of_recursion(error)
    if isinstance(error, SyntaxError):
        return _of_syntax(error)
    if isinstance(error, OSError):
        return _of_files(error)
    if isinstance(error, UnicodeDecodeError):
        return f"a file that was given is no text in UTF-8: {error}"
    if isinstance(error, TypeError) and (missing := _NOT_BOUND.search(str(error))):
        called = _IN_CALL.findall(str(error))[0].rpartition(".")[2]
        names = [f"{called}.{name}" for name in ast.literal_eval(f"[{missing[1]}]")]
        return f"{called}: nothing is bound to {' or '.join(names)}, which it needs."
    if _is_for_the_user(error):
        return in_one_line(error)
    return None


def exit_code(error: BaseException) -> int:
    """2 for a wrong command line, 1 for anything else."""
    return 2 if type(error).__module__.startswith("absl.") else 1


def in_one_line(error: BaseException) -> str:
    """The message without what gin adds in lines of its own, but for what and where it was."""
    text = str(error)
    first = " ".join(_GIN_ADDS.split(text, maxsplit=1)[0].split())
    calls = [name.rpartition(".")[2] for name in _IN_CALL.findall(text)]
    if calls and calls[0] not in _COMMANDS and calls[0] not in first:
        first = f"{calls[0]}: {first}"
    places = [f"{name}, line {line}" for name, line in _IN_FILE.findall(text)]
    return f"{first} ({places[0]})" if places and places[0] not in first else first


def _of_import(error: ImportError) -> str | None:
    # What gin raises anew has no name.
    named = error.name or (found[1] if (found := _NO_MODULE.search(str(error))) else "")
    missing = named.partition(".")[0]
    if missing == ecosystem.PACKAGE and not _is_installed(missing):
        return ecosystem.HOW_TO_GET
    if _raised_on_purpose(error) and _speaker(error) == "unf_lopt":
        return _GIN_ADDS.split(str(error))[0]  # says how to install it, in some lines
    extra = _extra_with(missing)
    if extra:
        return (
            f"the package that brings {missing!r} is not installed: "
            f"pip install 'unf_lopt[{extra}]' brings what this command needs."
        )
    if not _in_config(error) and missing in ("", "unf_lopt"):
        return None
    return f"{in_one_line(error)}; install it, or put its folder on PYTHONPATH."


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _extra_with(module: str) -> str | None:
    """The extra of this project that brings a module."""
    names = {"sklearn": "scikit-learn", "absl": "absl-py", "tensorflow": "tensorflow-cpu"}
    wanted = names.get(module, module).replace("_", "-").lower()
    try:
        requirements = importlib.metadata.requires("unf_lopt") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for requirement in requirements:
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0].replace("_", "-").lower()
        if name == wanted and re.search(r'extra == "(ecosystem|experiments)"', requirement):
            return "experiments"
    return None


def _of_recursion(error: RecursionError) -> str | None:
    modules = [frame.f_globals.get("__name__", "") for frame, _ in _frames(error)]
    if modules.count("gin.config") < 20:
        return None
    return (
        "a binding of the configuration leads back to itself, such as LOPT = @unf() with "
        "unf.task_family = %LOPT."
    )


def _of_syntax(error: SyntaxError) -> str:
    if error.filename is None and error.lineno is None:
        return in_one_line(error)
    line = (error.text or "").strip()
    place = f"{error.filename or '--gin_bindings'}, line {error.lineno}"
    # What Python's parser calls it, for values that are no literals.
    message = re.sub(r"malformed node or string.*?>", "not a value:", str(error.msg))
    return f"{' '.join(message.split())} ({place}: {line})"


def _of_files(error: OSError) -> str:
    if error.filename is None or error.strerror is None:
        return in_one_line(error)
    return f"{error.filename}: {error.strerror}"


def _is_for_the_user(error: BaseException) -> bool:
    if _reads_a_config(error):
        return isinstance(error, ValueError | TypeError | tokenize.TokenError)
    return not isinstance(error, _BUGS) and _raised_on_purpose(error)


def _reads_a_config(error: BaseException) -> bool:
    """Whether gin's parser, or what it reads with, is where the error came up."""
    modules = [frame.f_globals.get("__name__", "") for frame, _ in _frames(error)]
    return "gin.config_parser" in modules and "importlib" not in modules


def _in_config(error: BaseException) -> bool:
    """Whether a config's import is what failed."""
    return any(frame.f_code.co_name == "process_import" for frame, _ in _frames(error))


def _raised_on_purpose(error: BaseException) -> bool:
    """Whether a `raise` of a speaker's is where the error came from."""
    frames = _frames(error)
    if not frames:
        return False
    frame, last = frames[-1]
    return _speaker(error) is not None and frame.f_code.co_code[last] == _RAISE


def _speaker(error: BaseException) -> str | None:
    frame, _ = _frames(error)[-1]
    root = frame.f_globals.get("__name__", "").partition(".")[0]
    if root == "__main__":  # python -m unf_lopt.NAME
        root = (frame.f_globals.get("__package__") or "").partition(".")[0]
    return root if root in _SPEAKERS else None


def _frames(error: BaseException) -> list[tuple]:
    """Frames of the traceback with the place of the instruction in each, outermost first."""
    found: list[tuple] = []
    link: TracebackType | None = error.__traceback__
    while link is not None:
        found.append((link.tb_frame, link.tb_lasti))
        link = link.tb_next
    return found


def show_traceback(error: BaseException) -> None:
    """Prints the traceback as Python does for an error that nobody catches."""
    traceback.print_exception(error)
