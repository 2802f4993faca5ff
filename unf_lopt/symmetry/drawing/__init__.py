"""Pictures of specs."""

from unf_lopt.symmetry.drawing._picture import Picture, draw

__all__ = ["Picture", "draw"]
