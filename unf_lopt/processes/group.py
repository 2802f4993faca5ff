"""What the processes of a run tell each other beside the numbers that devices exchange."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


class ProcessError(RuntimeError):
    """Another process of the run is not as it should be; the message says which, and what to do."""


class Group:
    """One process by itself.

    Attributes:
      number: how many processes there are.
      own: the number of this one, from 0.
    """

    number: int = 1
    own: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process writes what all share."""
        return self.own == 0

    def gather(self, what: str, told: Any) -> list[Any]:
        """What every process tells, in the order of processes; waits for all.

        Args:
          what: what is told, for the message of an error; the processes ask in the same order.
          told: plain data.

        Raises:
          ProcessError: one tells something else.
        """
        del what
        return [told]

    @contextlib.contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """While the devices exchange numbers: who keeps the others waiting is found out.

        Args:
          what: they are waited for with, such as ``"outer step 7"``.
        """
        del what
        yield
