"""``python -m unf_lopt.launch``: starts the processes of one run on this machine.

``python -m unf_lopt.launch --processes=4 -- --config_file=demo.gin --train_log_dir=runs/demo``;
what follows ``--`` is for ``python -m unf_lopt.train``.
"""

import argparse
import sys
from collections.abc import Sequence

from unf_lopt import processes

_EXAMPLE = """example:
  unf-lopt launch --processes=2 -- --config_file=digits_mlp.gin --train_log_dir=runs/unf \\
    --gin_bindings='NUM_WORKERS=2'"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs ``train`` in several processes, and starts all again when one dies.

    Args:
      arguments: of the command line, without the program's name; by default the process's.

    Returns:
      The exit code: 0, or that of the process that went wrong.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    own, _, given = _split(arguments)
    parser = argparse.ArgumentParser(
        prog="unf-lopt launch",
        usage="unf-lopt launch --processes=N [--restarts=N] -- FLAGS OF TRAIN",
        description="Starts the processes of one run on this machine, and all again when one dies.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--processes", type=int, required=True, help="how many")
    parser.add_argument("--restarts", type=int, default=10, help="how often at most (10)")
    flags = parser.parse_args(own)
    if flags.processes < 1 or flags.restarts < 0:
        parser.error("--processes must be at least 1, and --restarts at least 0.")
    if not given:
        parser.error("nothing to run: the flags of train follow after --.")

    def command(number: int, address: str) -> list[str]:
        return [
            *(sys.executable, "-m", "unf_lopt.train", "--distributed", "--start_seconds=60"),
            *(f"--coordinator_address={address}", f"--num_processes={flags.processes}"),
            *(f"--process_id={number}", *given),
        ]

    return processes.Launcher(command, flags.processes, flags.restarts).run()


def _split(arguments: list[str]) -> tuple[list[str], list[str], list[str]]:
    """What is before ``--``, it, and what is after."""
    place = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:place], arguments[place : place + 1], arguments[place + 1 :]


if __name__ == "__main__":
    sys.exit(main())
