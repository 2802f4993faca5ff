"""A launcher of processes without training: python -m tests.processes.launching STEPS RESTARTS."""

import sys

from unf_lopt.processes import Launcher

PROCESSES = 2


def main(steps: str, restarts: str, fault: str = "") -> int:
    """Runs them to the end."""

    def command(own: int, address: str) -> list[str]:
        given = [address, str(PROCESSES), str(own), steps, *([fault] if fault else [])]
        return [sys.executable, "-m", "tests.processes.member", *given]

    return Launcher(command, PROCESSES, int(restarts)).run()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
