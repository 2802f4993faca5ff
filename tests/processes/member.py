"""One process of a run without training: it takes part, and goes through a few exchanges.

python -m tests.processes.member HOST:PORT NUMBER OWN STEPS [FAULT]
"""

import os
import signal
import sys
import time

from unf_lopt import processes
from unf_lopt.commands import console
from unf_lopt.processes import hub, messages

START_SECONDS = 8.0


def main(address: str, number: int, own: int, steps: int, fault: str = "") -> None:
    """Takes part; says the number of every exchange."""
    console.write_whole_lines()
    hub.PATIENCE_SECONDS = 3.0
    hub.PATIENCE_FACTOR = 1.0
    messages.SILENT_SECONDS = 8.0
    processes.end_with_launcher()
    print(f"pid {os.getpid()}")
    same = {"configuration": f"LOPT = @unf()\nseed = {own if fault == 'config' else 0}"}
    with processes.joined(address, number, own, same, START_SECONDS) as group:
        for step in range(steps):
            if step == 3 and fault == "hang":
                time.sleep(60)
            if step == 3 and fault == "killed" and own == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            if step == 3 and fault == "error":
                group.failed("the disk is full")
                os._exit(1)
            told = group.gather(f"step {step}", own)
            assert told == list(range(number))
            print(f"step {step}")
            time.sleep(0.05)


if __name__ == "__main__":
    try:
        main(sys.argv[1], *map(int, sys.argv[2:5]), *sys.argv[5:])
    except processes.ProcessError as error:
        print(error, file=sys.stderr)
        os._exit(1)
