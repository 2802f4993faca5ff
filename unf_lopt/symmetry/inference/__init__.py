"""Finding the permutation symmetries of a loss function from its jaxpr."""

from unf_lopt.symmetry.inference._infer import (
    Inference,
    common_refinement,
    infer_spec,
    infer_traced,
    state_spec,
)
from unf_lopt.symmetry.inference._trace import TracedLoss, trace_loss

__all__ = [
    "Inference",
    "TracedLoss",
    "common_refinement",
    "infer_spec",
    "infer_traced",
    "state_spec",
    "trace_loss",
]
