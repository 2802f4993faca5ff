"""Learned optimizers: input features, the step, the functional in it, by their gin names."""

from unf_lopt.optimizers.checkpoint import (
    CONFIG,
    load_theta,
    newest_params,
    optimizer_name,
    params_file,
    write_whole,
)
from unf_lopt.optimizers.family import deep_sets, learned_sgdm, step_options, unf
from unf_lopt.optimizers.learned_optimizer import ResidualLearnedOptimizer, StepOptions

__all__ = [
    "CONFIG",
    "ResidualLearnedOptimizer",
    "StepOptions",
    "deep_sets",
    "learned_sgdm",
    "load_theta",
    "newest_params",
    "optimizer_name",
    "params_file",
    "step_options",
    "unf",
    "write_whole",
]
