"""``python -m unf_lopt`` and ``unf-lopt``: all the commands."""

import importlib
import sys
from collections.abc import Sequence

from unf_lopt._version import __version__

_COMMANDS = {
    "train": "meta-trains a learned optimizer from a config",
    "launch": "the same in several processes on this machine",
    "evaluate": "compares trained optimizers with tuned baselines",
    "predict": "predicts from weights what networks do",
    "inspect": "shows the permutation symmetry of a task",
    "card": "writes the card of a trained optimizer, and its folder for a hub",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command that the first argument names.

    Args:
      arguments: without the program's name; by default the process's.

    Returns:
      The exit code.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    first = arguments[0] if arguments else "--help"
    if first in _COMMANDS:
        return importlib.import_module(f"unf_lopt.{first}").main(arguments[1:])
    if first in ("--help", "-h", "help"):
        print(_help())
        return 0
    if first == "--version":
        print(f"unf_lopt {__version__}")
        return 0
    known = ", ".join(_COMMANDS)
    print(f"unf-lopt: no command {first!r}; there are {known}.", file=sys.stderr)
    return 2


def _help() -> str:
    width = max(map(len, _COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in _COMMANDS.items()]
    return "\n".join(
        [
            "Learned optimizers from universal neural functionals.",
            "",
            "unf-lopt COMMAND [FLAGS]",
            "",
            *lines,
            "",
            "unf-lopt COMMAND --help lists the flags of one; unf-lopt --version says the version.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
