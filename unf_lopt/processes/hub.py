"""Where the processes of a run meet: who is there, who is not as the others, who has ended."""

from __future__ import annotations

import dataclasses
import difflib
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

from unf_lopt.processes import messages
from unf_lopt.processes.messages import BEAT_SECONDS, Channel

# How long a process may be waited for: so long, and as many times as long as those who wait took.
PATIENCE_SECONDS, PATIENCE_FACTOR = 20.0, 5.0
GO_ON = "start all processes again, and the run goes on from its last checkpoint"


@dataclasses.dataclass
class Member:
    """A process that has said who it is.

    Attributes:
      channel: the connection to it.
      where: its host and process number, for people.
      waits: what it waits for the others with; empty while it computes.
      since: seconds that it has waited.
      took: seconds that it computed before.
      ended: whether it has said that it is done.
    """

    channel: Channel
    where: str
    waits: str = ""
    since: float = 0.0
    took: float = 0.0
    ended: bool = False


class Hub:
    """The hub, which the first process has; every process, also this one, is connected to it.

    Whatever goes wrong is told to all processes in one line, after which they end.

    Args:
      address: of an interface of this machine, and a port; nothing else is listened to.
      number: how many processes there are.
      start_seconds: how long they may take to be there.

    Raises:
      OSError: the address is not this machine's, or the port is taken.
    """

    def __init__(self, address: tuple[str, int], number: int, start_seconds: float):
        self._number, self._start_seconds = number, start_seconds
        self._members: dict[int, Member] = {}
        self._told: dict[int, dict[int, Any]] = {}
        self._reference: Mapping[str, str] | None = None
        self._early: list[tuple[int, dict[str, Any]]] = []
        self._lock = threading.RLock()
        self._stopped = ""
        self._server = socket.create_server(address)
        for target in (self._accept, self._watch):
            threading.Thread(target=target, daemon=True).start()

    def close(self) -> None:
        """Stops listening."""
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._serve, args=(Channel(connection),), daemon=True).start()

    def _serve(self, channel: Channel) -> None:
        """Reads what one process says, from its first message on."""
        own: int | None = None
        for message in channel.read():
            with self._lock:
                if message["kind"] == "hello":
                    own = self._welcome(channel, message)
                elif own is not None:
                    self._hear(own, message)
        if own is not None and self._members[own].channel is channel:
            member = self._members[own]
            if not member.ended:
                self.stop(
                    f"process {own} ({member.where}) has ended without a word: killed, or out of "
                    f"memory. What it wrote last may say why; {GO_ON}."
                )

    def _welcome(self, channel: Channel, hello: Mapping[str, Any]) -> int | None:
        """Takes a process in, if it is one of this run's; returns its number."""
        own, where = hello["own"], hello["where"]
        wrong = ""
        if self._stopped:
            wrong = self._stopped
        elif hello["number"] != self._number or not 0 <= own < self._number:
            wrong = (
                f"process {own} ({where}) was started as one of {hello['number']}, and process 0 "
                f"as one of {self._number}: give all the same --num_processes, and each a "
                f"--process_id from 0 to {self._number - 1}."
            )
        elif own in self._members:
            wrong = (
                f"two processes have --process_id={own}: {self._members[own].where} and {where}. "
                "Give each its own."
            )
        if wrong:
            channel.send("stop", line=wrong)
            self.stop(wrong)
            return None
        self._members[own] = Member(channel, where)
        if own == 0:
            self._reference = hello["same"]
        else:
            self._early.append((own, dict(hello["same"])))
        self._compare()
        if len(self._members) == self._number and not self._stopped:
            for member in self._members.values():
                member.channel.send("start")
        return own

    def _compare(self) -> None:
        """Ends all if a process differs from the first in what has to be the same."""
        if self._reference is None:
            return
        for own, same in self._early:
            for name, value in self._reference.items():
                if same.get(name) != value:
                    self.stop(
                        f"process {own} ({self._members[own].where}) has another {name} than "
                        f"process 0: {_difference(value, same.get(name, ''))}. Start all with the "
                        "same."
                    )
        self._early.clear()

    def _hear(self, own: int, message: Mapping[str, Any]) -> None:
        member = self._members[own]
        if message["kind"] == "beat":
            member.waits, member.since = message["waits"], message["since"]
            member.took = message["took"]
        elif message["kind"] == "failed":
            member.ended = True
            self.stop(f"process {own} ({member.where}) has ended with an error: {message['line']}")
        elif message["kind"] == "bye":
            member.ended = True
        elif message["kind"] == "tell":
            told = self._told.setdefault(message["turn"], {})
            told[own] = (message["what"], message["told"])
            if len(told) == self._number:
                del self._told[message["turn"]]
                self._answer(message["turn"], told)

    def _answer(self, turn: int, told: Mapping[int, tuple[str, Any]]) -> None:
        for own, (what, _) in told.items():
            if what != told[0][0]:
                self.stop(f"process {own} is at {what}, and process 0 at {told[0][0]}; {GO_ON}.")
                return
        values = [told[own][1] for own in range(self._number)]
        for member in self._members.values():
            member.channel.send("told", turn=turn, values=values)

    def stop(self, line: str) -> None:
        """Tells all processes to end, and why; the first reason counts."""
        with self._lock:
            self._stopped = self._stopped or line
            # This process last: the hub ends with it.
            for _, member in sorted(self._members.items(), reverse=True):
                member.channel.send("stop", line=self._stopped)

    def _watch(self) -> None:
        """Beats, and finds out who does not come, does not answer, or keeps the others waiting."""
        begun = time.monotonic()
        while True:
            time.sleep(BEAT_SECONDS)
            with self._lock:
                for member in self._members.values():
                    member.channel.send("beat")
                if self._stopped:
                    continue
                line = self._who_is_missing(time.monotonic() - begun) or self._who_is_silent()
                line = line or self._who_is_waited_for()
                if line:
                    self.stop(line)

    def _who_is_missing(self, seconds: float) -> str:
        missing = [own for own in range(self._number) if own not in self._members]
        if not missing or seconds < self._start_seconds:
            return ""
        names = ", ".join(map(str, missing))
        return (
            f"process(es) {names} of {self._number} did not start within "
            f"{self._start_seconds:g} s of process 0. See what they wrote, and start all again; "
            "--start_seconds gives them longer."
        )

    def _who_is_silent(self) -> str:
        for own, member in self._members.items():
            if not member.ended and member.channel.silent():
                return (
                    f"process {own} ({member.where}) has not answered for "
                    f"{messages.SILENT_SECONDS:g} s: it is stopped, or its machine or network is "
                    f"gone. End it; {GO_ON}."
                )
        return ""

    def _who_is_waited_for(self) -> str:
        waiting = [member for member in self._members.values() if member.waits]
        busy = {own: member for own, member in self._members.items() if not member.waits}
        for member in waiting:
            limit = PATIENCE_SECONDS + PATIENCE_FACTOR * member.took
            late = {own: other for own, other in busy.items() if not other.ended}
            if late and member.since > limit:
                own, other = next(iter(late.items()))
                return (
                    f"process {own} ({other.where}) hangs: it is not done with {member.waits}, for "
                    f"which others have waited for {member.since:.0f} s after {member.took:.0f} s "
                    f"of work. End it; {GO_ON}."
                )
        first = waiting[0] if len(waiting) == self._number else None
        for own, member in self._members.items():
            if first and member.waits != first.waits and member.since > PATIENCE_SECONDS:
                return (
                    f"process {own} ({member.where}) waits for {member.waits}, and {first.where} "
                    f"for {first.waits}; {GO_ON}."
                )
        return ""


def _difference(one: str, other: str) -> str:
    """The first line in which two texts differ, of each."""
    changes = [
        line
        for line in difflib.unified_diff(one.splitlines(), other.splitlines(), n=0, lineterm="")
        if not line.startswith(("---", "+++", "@@"))
    ]
    first = next((line[1:] for line in changes if line.startswith("-")), "nothing")
    second = next((line[1:] for line in changes if line.startswith("+")), "nothing")
    return f"{second!r} and not {first!r}"
