"""How far an evaluation is, and how long it will take."""

from __future__ import annotations

import collections
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Advance = Callable[[float], None]


class Reporter:
    """Tells what is being run: a bar in a terminal, a line for each part anywhere else.

    The time left is the mean time that parts of a kind took, over those that are left of it.

    Args:
      parts: how many there will be of each kind, such as the tuning of one contestant.
    """

    def __init__(self, parts: Mapping[str, int]):
        self._left = dict(parts)
        self._seconds: dict[str, list[float]] = collections.defaultdict(list)
        self._console = Console()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._bar = Progress(
            *columns,
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=sum(parts.values()), left="")

    def __enter__(self) -> Reporter:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    @contextlib.contextmanager
    def part(self, kind: str, what: str, *, kept: bool) -> Iterator[Advance]:
        """While a part is run; gives what is to be told the share of it that is done.

        Args:
          kind: what of.
          what: for a person.
          kept: whether it is read from disk, so that it says nothing about how long others take.
        """
        started = time.perf_counter()
        self._left[kind] -= 1
        self._bar.update(self._task, description=what, left=self._shown(self._others()))

        def advance(share: float) -> None:
            if share > 0:
                rest = (time.perf_counter() - started) * (1 - share) / share
                self._bar.update(self._task, left=self._shown(rest + self._others()))

        yield advance
        took = time.perf_counter() - started
        if not kept:
            self._seconds[kind].append(took)
        left = self._shown(self._others())
        self._bar.update(self._task, advance=1, left=left)
        if not self._console.is_terminal:
            done = "kept" if kept else f"{took:.0f} s"
            print(", ".join(filter(None, [f"{what}: {done}", left])), flush=True)

    def _others(self) -> float:
        """Seconds for the parts that have not begun; 0 as long as nothing is known."""
        known = [seconds for own in self._seconds.values() for seconds in own]
        if not known:
            return 0.0
        mean = sum(known) / len(known)
        of_kind = {kind: sum(own) / len(own) for kind, own in self._seconds.items()}
        return sum(count * of_kind.get(kind, mean) for kind, count in self._left.items())

    @staticmethod
    def _shown(seconds: float) -> str:
        if seconds < 1:
            return ""
        return f"about {f'{seconds:.0f} s' if seconds < 90 else f'{seconds / 60:.0f} min'} left"
