"""Learning from weights: align networks, and predict from what they have learned."""

from unf_lopt.weights.alignment import (
    align,
    align_all,
    align_by_activations,
    align_gaussians,
    interpolate,
    loss_barrier,
)

__all__ = [
    "align",
    "align_all",
    "align_by_activations",
    "align_gaussians",
    "interpolate",
    "loss_barrier",
]
