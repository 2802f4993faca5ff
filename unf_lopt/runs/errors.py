"""What is wrong with a run's folder."""

from __future__ import annotations


class RunError(ValueError):
    """A run's folder, or a file in it, is not what it should be; the message says what to do."""


class DamagedCheckpoint(RunError):
    """A part of a checkpoint is missing, or is not what was written."""
