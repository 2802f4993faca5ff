"""Output that comes line by line, on terminals that cannot show every character too."""

import codecs
import os
import sys
import unicodedata
from typing import Protocol, runtime_checkable

_HANDLER = "unf_lopt.plain"
_PLAIN = {
    "…": "...",
    "×": "x",
    "±": "+/-",
    "–": "-",
    "—": "-",
    "−": "-",
    "·": ".",
    "─": "-",
    "│": "|",
    "█": "#",
    "★": "*",
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "λ": "lambda",
    "σ": "sigma",
}


@runtime_checkable
class _Reconfigurable(Protocol):
    def reconfigure(
        self,
        *,
        errors: str | None = None,
        line_buffering: bool | None = None,
        write_through: bool | None = None,
    ) -> None: ...


def survive_closed_streams() -> None:
    """Where there is no standard output, as in a service, what is printed goes nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def write_whole_lines() -> None:
    """Writes every line at once, as it ends: into a log too, and where several processes write.

    Neither Python's buffer of blocks nor ``PYTHONUNBUFFERED``, under which the lines of several
    processes run into each other.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, _Reconfigurable):
            stream.reconfigure(line_buffering=True, write_through=False)


def survive_narrow_encodings() -> None:
    """Writes what an output's encoding lacks in plain letters, where it would be an error."""
    codecs.register_error(_HANDLER, _in_plain_letters)
    for stream in (sys.stdout, sys.stderr):
        encoding = (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "")
        if not encoding.startswith("utf") and isinstance(stream, _Reconfigurable):
            stream.reconfigure(errors=_HANDLER)


def plain(text: str) -> str:
    """A text in ASCII: letters without accents, signs spelt out, "?" for the rest."""
    spelt = "".join(_PLAIN.get(character, character) for character in text)
    decomposed = unicodedata.normalize("NFKD", spelt)
    kept = (character for character in decomposed if not unicodedata.combining(character))
    return "".join(kept).encode("ascii", "replace").decode()


def _in_plain_letters(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return plain(error.object[error.start : error.end]), error.end
