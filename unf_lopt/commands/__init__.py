"""What the commands share: flags and their help, checks of what is given, errors in one line."""

from unf_lopt.commands.command import Command, main, parse_arguments

__all__ = ["Command", "main", "parse_arguments"]
