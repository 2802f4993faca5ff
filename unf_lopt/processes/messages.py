"""Messages over a connection: a line of JSON each, with the time of the last one that came."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

# A process tells that it is there, so that one that is stopped is told from one that computes.
BEAT_SECONDS = 1.0
SILENT_SECONDS = 20.0
_LONGEST = 2**28


class Channel:
    """One end of a connection.

    Args:
      connection: a connected stream socket.

    Attributes:
      heard: when something last came, of the monotonic clock.
    """

    def __init__(self, connection: socket.socket):
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection
        self._sending = threading.Lock()
        self.heard = time.monotonic()

    def send(self, kind: str, **content: Any) -> None:
        """Sends a message; nothing happens if the other end is gone, which :meth:`read` tells."""
        data = json.dumps({"kind": kind, **content}).encode() + b"\n"
        try:
            with self._sending:
                self._socket.sendall(data)
        except OSError:
            pass

    def read(self) -> Iterator[dict[str, Any]]:
        """The messages that come, until the other end closes or is gone."""
        with contextlib.suppress(OSError, ValueError), self._socket.makefile("rb") as lines:
            while line := lines.readline(_LONGEST):
                self.heard = time.monotonic()
                yield json.loads(line)

    def silent(self) -> bool:
        """Whether nothing has come for so long that the other end is stopped."""
        return time.monotonic() - self.heard > SILENT_SECONDS

    def close(self) -> None:
        """Closes the connection."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
