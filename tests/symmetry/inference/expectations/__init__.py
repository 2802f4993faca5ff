"""What is left free, written down by hand, rule by rule."""

from tests.symmetry.inference.expectations import contraction, indexing, others, shapes  # noqa: F401
from tests.symmetry.inference.expectations._noted import (
    EXPECTATIONS,
    Expectation,
    found,
    total,
    wanted,
)

__all__ = ["EXPECTATIONS", "Expectation", "found", "total", "wanted"]
