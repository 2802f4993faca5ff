"""What a verification found, for programs and for people."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

# So many lines of one kind are shown.
_SHOWN = 10


@dataclasses.dataclass(frozen=True)
class Verification:
    """The figures of a spec that holds on numbers.

    Attributes:
      certified: whether everything was computed in float64.
      not_certified: one line for each operation that was not, with its place in the source.
      loss_only: why only the loss was tested and not its gradients; empty if both were.
      tolerance: the largest relative change that counts as rounding.
      change: the largest relative change of loss, gradients and model state under random
        elements of the whole group.
      group_changes: the same for every group alone: ``(name, change)``.
      maximal: ``"maximal"``: every finer and every freer spec was ruled out; ``"not refuted"``:
        none was found, but not all were ruled out, and ``searched`` says which; ``"not
        maximal"``: the spec lacks symmetries; ``"not checked"``.
      symmetries: the symmetries that the spec lacks, as far as they were found.
      undecided: what changed loss and gradients neither clearly nor within rounding.
      tests: how many moves and changes of the parameters were tried to find further symmetries.
      searched: what was ruled out, kind by kind, with numbers: splits of each group's axes, fixed
        axes whole and in part, and what was not.
      without_effect: blocks of parameters that the loss does not depend on; whether the spec is
        maximal is judged on the others.
      seconds: how long it took.
    """

    certified: bool
    not_certified: tuple[str, ...]
    loss_only: str
    tolerance: float
    change: float
    group_changes: tuple[tuple[str, float], ...]
    maximal: str
    symmetries: tuple[str, ...]
    undecided: tuple[str, ...]
    tests: int
    searched: tuple[str, ...]
    without_effect: tuple[str, ...]
    seconds: float

    def __str__(self) -> str:
        """A short table."""
        rows = [("permuted", "largest relative change"), ("all groups", f"{self.change:.1e}")]
        rows += [(name, f"{change:.1e}") for name, change in self.group_changes]
        width = max(len(name) for name, _ in rows)
        lines = [f"{name.ljust(width)}  {change}" for name, change in rows]
        tested = f"loss only ({self.loss_only})" if self.loss_only else "loss and gradients"
        precision = "float64" if self.certified else "not all in float64: not certified"
        lines.append(f"tested: {tested}, {precision}; tolerance {self.tolerance:.0e}")
        lines += _shown("not certified", self.not_certified)
        lines.append(f"maximality: {self.maximal} ({self.tests} tests)")
        lines += _shown("searched", self.searched)
        lines += _shown("lacking symmetry", self.symmetries)
        lines += _shown("undecided", self.undecided)
        lines += _shown("without effect on the loss", self.without_effect)
        lines.append(f"{self.seconds:.1f} s")
        return "\n".join(lines)


def _shown(what: str, lines: Sequence[str]) -> list[str]:
    more = [f"{what}: and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return [f"{what}: {line}" for line in lines[:_SHOWN]] + more
