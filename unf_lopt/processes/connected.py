"""A process of several: connected to the hub, and ending when another one does."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from unf_lopt.processes import messages
from unf_lopt.processes.group import Group, ProcessError
from unf_lopt.processes.hub import GO_ON, Hub
from unf_lopt.processes.messages import BEAT_SECONDS, Channel

# What a process ends with because of another: a launcher may start all again.
AGAIN = 75
# How long after an exchange has failed the reason may take to come.
_REASON_SECONDS = 15.0


class ConnectedGroup(Group):
    """This process among the others of a run.

    A thread listens to the hub and ends this process, with one line, when another one has ended or
    hangs: the main thread cannot, while it waits for a device.

    Args:
      address: host and port of the hub, which the first process opens.
      number: how many processes there are.
      own: the number of this one.
      same: what has to be the same for all, texts by name.
      start_seconds: how long the processes may take to be there.

    Raises:
      ProcessError: the hub cannot be opened or reached.
    """

    def __init__(
        self,
        address: tuple[str, int],
        number: int,
        own: int,
        same: Mapping[str, str],
        start_seconds: float,
    ):
        self.number, self.own = number, own
        self._turn = 0
        self._answers: dict[int, list[Any]] = {}
        self._news = threading.Condition()
        self._started = threading.Event()
        self._over = False
        self._waits, self._since, self._took = "", time.monotonic(), 0.0
        self._hub = self._open(address, start_seconds) if own == 0 else None
        self._channel = self._connect(address, start_seconds)
        where = f"{socket.gethostname()}, pid {os.getpid()}"
        self._channel.send("hello", own=own, number=number, where=where, same=dict(same))
        for target in (self._listen, self._beat):
            threading.Thread(target=target, daemon=True).start()
        # The hub says who is missing, and knows it first.
        if not self._started.wait(start_seconds + 2 * BEAT_SECONDS):
            self._end("the processes did not start together; start all again.")

    def gather(self, what: str, told: Any) -> list[Any]:
        """What every process tells, in the order of processes; waits for all."""
        turn, self._turn = self._turn, self._turn + 1
        self._channel.send("tell", turn=turn, what=what, told=told)
        with self.waiting(what), self._news:
            self._news.wait_for(lambda: turn in self._answers)
            return self._answers.pop(turn)

    @contextlib.contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """While this process waits for the others; an exchange that fails ends in its reason."""
        now = time.monotonic()
        self._took, self._since, self._waits = now - self._since, now, what
        try:
            yield
        except RuntimeError as error:  # of JAX: a process has ended in the middle of it
            time.sleep(_REASON_SECONDS)  # the listening thread ends this process before
            raise ProcessError(f"the exchange of {what} has failed ({error}); {GO_ON}.") from error
        finally:
            self._since, self._waits = time.monotonic(), ""

    def failed(self, line: str) -> None:
        """Tells the others that this process ends with an error."""
        self._over = True
        self._channel.send("failed", line=line)
        if self._hub is not None:
            time.sleep(2 * BEAT_SECONDS)  # the hub has to last until all have been told

    def done(self) -> None:
        """Waits for all to be done, after which none misses this process."""
        self.gather("the end", None)
        self._over = True
        self._channel.send("bye")
        if self._hub is not None:
            self._hub.close()

    def _open(self, address: tuple[str, int], start_seconds: float) -> Hub:
        try:
            return Hub(address, self.number, start_seconds)
        except OSError as error:
            raise ProcessError(
                f"process 0 cannot listen on {address[0]}:{address[1]} "
                f"({error.strerror or error}): --coordinator_address has to be an address of its "
                "own machine and a free port."
            ) from error

    def _connect(self, address: tuple[str, int], seconds: float) -> Channel:
        deadline = time.monotonic() + seconds
        while True:
            try:
                return Channel(socket.create_connection(address, timeout=5.0))
            except OSError as error:
                if time.monotonic() > deadline:
                    raise ProcessError(
                        f"process {self.own} found no process 0 at {address[0]}:{address[1]} "
                        f"within {seconds:g} s ({error.strerror or error}). Is it running, and is "
                        "--coordinator_address its address? --start_seconds waits longer."
                    ) from error
                time.sleep(0.2)

    def _listen(self) -> None:
        for message in self._channel.read():
            if message["kind"] == "start":
                self._started.set()
            elif message["kind"] == "told":
                with self._news:
                    self._answers[message["turn"]] = message["values"]
                    self._news.notify_all()
            elif message["kind"] == "stop" and not self._over:
                self._end(message["line"])
        if not self._over:
            self._end(f"process 0 has ended without a word, or cannot be reached; {GO_ON}.")

    def _beat(self) -> None:
        while not self._over:
            now = time.monotonic()
            self._channel.send("beat", waits=self._waits, since=now - self._since, took=self._took)
            if self._channel.silent() and not self._over:
                self._end(
                    f"process 0 has not answered for {messages.SILENT_SECONDS:g} s: it is stopped, "
                    f"or its machine or network is gone. End it; {GO_ON}."
                )
            time.sleep(BEAT_SECONDS)

    def _end(self, line: str) -> NoReturn:
        """Ends this process at once: its main thread may be waiting for ever."""
        sys.stdout.flush()
        os.write(2, f"unf-lopt train: process {self.own} of {self.number}: {line}\n".encode())
        if self._hub is not None:
            time.sleep(0.2)  # the hub ends with it; the others have been told before
        os._exit(AGAIN)
