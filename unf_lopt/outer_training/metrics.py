"""What a run writes while it goes on: a table, TensorBoard summaries, a line for the person."""

from __future__ import annotations

import csv
import datetime
import io
import pathlib
import sys
import time

import tqdm

from unf_lopt import ecosystem
from unf_lopt.runs import METRICS, write_whole

COLUMNS: tuple[str, ...] = (
    "outer_step",
    "meta_loss",
    "meta_gradient_norm",
    "skipped",
    "inner_steps",
    "seconds",
    "slowest_share",
)
_LINE_SECONDS = 10.0
_SMOOTHING = 0.95


class MetricsLog:
    """``metrics.csv`` and TensorBoard summaries of a run, one row an outer step.

    Args:
      folder: the run's folder.
      from_step: rows after this outer step are dropped: a resumed run writes them again.
    """

    def __init__(self, folder: pathlib.Path, from_step: int):
        path = folder / METRICS
        rows = []
        if path.exists():
            with open(path, newline="") as file:
                rows = [row for row in csv.DictReader(file) if int(row["outer_step"]) <= from_step]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
        write_whole(path, text.getvalue().encode())
        self._file = open(path, "a", newline="", buffering=1)  # noqa: SIM115 (closed by close)
        self._writer = csv.DictWriter(self._file, COLUMNS)
        self._summaries = ecosystem.JaxboardWriter(str(folder))

    def write(self, row: dict[str, float]) -> None:
        """Writes one outer step."""
        self._writer.writerow({name: row[name] for name in COLUMNS})
        for name in COLUMNS[1:]:
            self._summaries.scalar(f"outer_training/{name}", row[name], row["outer_step"])

    def close(self) -> None:
        """Flushes and closes both."""
        self._file.close()
        self._summaries.flush()


class Progress:
    """Step, smoothed meta-loss, speed and time left: a bar on a terminal, else a line now and then.

    The first outer step compiles, so speeds and the time left are counted from its end.

    Args:
      first: outer steps taken before.
      last: outer steps in all.
    """

    def __init__(self, first: int, last: int):
        self._terminal = sys.stderr.isatty()
        self._bar: tqdm.tqdm | None = None
        self._first, self._last = first, last
        self._smoothed: float | None = None
        self._compiled = self._spoken = time.monotonic()
        self._inner_steps = self._shares = 0.0

    def write(self, row: dict[str, float]) -> None:
        """Shows that an outer step has been taken."""
        step, meta_loss = int(row["outer_step"]), row["meta_loss"]
        if meta_loss == meta_loss:  # not NaN
            before = meta_loss if self._smoothed is None else self._smoothed
            self._smoothed = _SMOOTHING * before + (1 - _SMOOTHING) * meta_loss
        shown = float("nan") if self._smoothed is None else self._smoothed
        now = time.monotonic()
        if self._bar is None:
            self._first, self._compiled = step, now
            self._bar = tqdm.tqdm(
                initial=step,
                total=self._last,
                unit="step",
                disable=not self._terminal,
                dynamic_ncols=True,
            )
        else:
            self._bar.update()
            self._inner_steps += row["inner_steps"]
            self._shares += row["slowest_share"]
        self._bar.set_postfix_str(f"meta-loss {shown:.4f}{self._speed(step, now)}", refresh=False)
        due = step in (self._first, self._last) or now - self._spoken > _LINE_SECONDS
        if due and not self._terminal:
            self._spoken = now
            print(
                f"outer step {step}/{self._last}  meta-loss {shown:.4f} (smoothed)"
                f"{self._speed(step, now)}  left {self._left(step, now)}",
                flush=True,
            )

    def _speed(self, step: int, now: float) -> str:
        """Outer and inner steps a second, and what the slowest process takes of a step."""
        taken, seconds = step - self._first, now - self._compiled
        if not taken or not seconds:
            return ""
        text = f"  {taken / seconds:.3g} outer steps/s"
        if self._inner_steps == self._inner_steps:  # some estimators do not count
            text += f"  {self._inner_steps / seconds:,.0f} inner steps/s"
        share = self._shares / taken
        return text + (f"  slowest process {share:.0%} of a step" if share < 1 else "")

    def _left(self, step: int, now: float) -> str:
        if step == self._last:
            return str(datetime.timedelta(0))
        if step == self._first:
            return "not known yet"
        seconds = (now - self._compiled) / (step - self._first) * (self._last - step)
        return str(datetime.timedelta(seconds=round(seconds)))

    def close(self) -> None:
        """Ends the bar."""
        if self._bar is not None:
            self._bar.close()
