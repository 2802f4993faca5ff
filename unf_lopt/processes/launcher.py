"""Starts the processes of a run on one machine, and starts them all again when one dies."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from unf_lopt.processes.connected import AGAIN
from unf_lopt.processes.join import LAUNCHER

_HOST = "127.0.0.1"
# How long the others may take to say why they end, once one has.
_GRACE_SECONDS = 3.0
_POLL_SECONDS = 0.1
# A process's own: an error, a wrong command line, Ctrl-C. Another attempt would end alike.
_OWN_CODES = (1, 2, 130)

Command = Callable[[int, str], Sequence[str]]


class Launcher:
    """The processes of one run.

    SIGINT and SIGTERM are passed on, and nothing is started after them. The processes end with this
    one, however that ends.

    Args:
      command: the command line of a process, from its number and ``HOST:PORT`` of the first.
      processes: how many.
      restarts: how often all are started again, at most.
    """

    def __init__(self, command: Command, processes: int, restarts: int):
        self._command, self._processes, self._restarts = command, processes, restarts
        self._running: list[subprocess.Popen] = []
        self._signals = 0

    def run(self) -> int:
        """Runs to the end; returns the exit code: 0, or that of the process that went wrong."""
        with self._passing_signals():
            for attempt in range(self._restarts + 1):
                code = self._attempt()
                if code == 0 or self._signals or code in _OWN_CODES:
                    return code
                how = f"exit code {code}" if code > 0 else signal.Signals(-code).name
                left = self._restarts - attempt
                what = "starting all again" if left else "no restarts are left (--restarts)"
                print(f"unf-lopt launch: a process ended ({how}); {what}", file=sys.stderr)
        return AGAIN

    def _attempt(self) -> int:
        """Starts all; the exit code of the first that went wrong, or 0 when all are done."""
        address = f"{_HOST}:{free_port()}"
        environment = {**os.environ, LAUNCHER: str(os.getpid())}
        try:
            self._running = [
                # Of its own session: Ctrl-C comes from this process alone.
                subprocess.Popen(
                    self._command(own, address), env=environment, start_new_session=True
                )
                for own in range(self._processes)
            ]
            return self._wait()
        finally:
            for process in self._running:
                if process.poll() is None:
                    process.kill()
                process.wait()
            self._running = []

    def _wait(self) -> int:
        ended_at: float | None = None
        while True:
            codes = [process.poll() for process in self._running]
            wrong = [code for code in codes if code]
            if None not in codes or (wrong and ended_at is not None and _since(ended_at)):
                # An error of one is why the others end; what was killed, before it is told.
                return min(wrong, key=_order) if wrong else 0
            if wrong and ended_at is None:
                ended_at = time.monotonic()
            time.sleep(_POLL_SECONDS)

    @contextlib.contextmanager
    def _passing_signals(self) -> Iterator[None]:
        def pass_on(number: int, frame: Any) -> None:
            self._signals += 1
            for process in self._running:
                if process.poll() is None:
                    process.send_signal(number)

        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, pass_on) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _since(moment: float) -> bool:
    return time.monotonic() - moment > _GRACE_SECONDS


def _order(code: int) -> int:
    """Errors of a process's own first, then those that died, then those that ended with them."""
    return 0 if code in _OWN_CODES else 2 if code == AGAIN else 1


def free_port() -> int:
    """A port that is free, as the next one is."""
    for _ in range(100):
        with socket.socket() as one, socket.socket() as other:
            one.bind((_HOST, 0))
            port = one.getsockname()[1]
            try:
                other.bind((_HOST, port + 1))
            except (OSError, OverflowError):
                continue
            return port
    raise OSError("no two free ports in a row")
