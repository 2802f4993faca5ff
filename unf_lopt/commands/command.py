"""A command: its flags, its help, and how it ends."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence

from unf_lopt._version import __version__
from unf_lopt.commands import console, errors, surroundings

# Of every command that reads a configuration.
_CONFIG = {
    "--config_file=NAME": "a gin config, by its name in this package or its path; may be repeated, "
    "later ones win",
    "--gin_bindings='NAME=VALUE'": "sets a macro or a parameter; may be repeated",
    "--gin_import=MODULE": "imports a plugin's module first; may be repeated",
}
# Of every command.
_SHARED = {
    "--traceback": "shows where an error came up, not only what it is",
    "--helpfull": "lists every flag, also of the libraries",
}


@dataclasses.dataclass(frozen=True)
class Command:
    """One of the commands.

    Attributes:
      name: `unf-lopt NAME` and `python -m unf_lopt.NAME`.
      summary: what it does, in one line.
      flags: its own flags as one writes them, and what each is for.
      examples: command lines without the program's name.
      define_flags: defines those flags; is called once.
      run: does it, once the flags are parsed.
      reads_config: whether it has the ecosystem's flags, the configuration's among them; only then
        does it need the ecosystem.
    """

    name: str
    summary: str
    flags: Mapping[str, str]
    examples: Sequence[str]
    define_flags: Callable[[], None]
    run: Callable[[], None]
    reads_config: bool = True

    def help(self) -> str:
        """What `--help` prints."""
        flags = {**self.flags, **(_CONFIG if self.reads_config else {}), **_SHARED}
        width = max(map(len, flags))
        lines = [f"  {flag:<{width}}  {text}" for flag, text in flags.items()]
        examples = [f"  unf-lopt {self.name} {example}" for example in self.examples]
        return "\n".join([self.summary, "", "Flags:", *lines, "", "Examples:", *examples])


def main(command: Command, arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
      command: which.
      arguments: of the command line, without the program's name; by default the process's.

    Returns:
      The exit code: 0, 2 for a wrong command line, 1 for any other error of the user's, which is
      told in a line on stderr, 130 if it was interrupted. A bug ends in its traceback, and 1.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    console.survive_closed_streams()
    console.survive_narrow_encodings()
    console.write_whole_lines()
    with_traceback = "--traceback" in arguments
    try:
        if {"--help", "-h", "--helpshort", "-?"} & set(arguments):
            print(command.help())
            return 0
        if "--version" in arguments:
            print(f"unf_lopt {__version__}")
            return 0
        surroundings.check_jax()
        if "--helpfull" in arguments:
            print(_full_help(command))
            return 0
        parse_arguments(command, [a for a in arguments if a != "--traceback"])
        command.run()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        line = None if with_traceback else errors.told(error)
        if line is None:
            errors.show_traceback(error)
            return errors.exit_code(error)
        print(f"unf-lopt {command.name}: {line}", file=sys.stderr)
        return errors.exit_code(error)
    return 0


def parse_arguments(command: Command, arguments: Sequence[str]) -> None:
    """Reads a command's flags, and forgets those and the configuration of a command before.

    Raises:
      absl.app.UsageError: an argument that is no flag.
      absl.flags.Error: a flag that is unknown or has no such value.
    """
    _define_flags(command)
    import gin
    from absl import app, flags

    gin.clear_config()
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
    rest = flags.FLAGS([command.name, *arguments])[1:]
    if rest:
        raise app.UsageError(f"not a flag: {' '.join(rest)}; --help lists the flags.")


def _define_flags(command: Command) -> None:
    if command.reads_config:
        from unf_lopt import ecosystem

        ecosystem.define_flags()
    command.define_flags()


def _full_help(command: Command) -> str:
    _define_flags(command)
    from absl import flags

    return f"{command.help()}\n\nAll flags:\n{flags.FLAGS.get_help()}"
