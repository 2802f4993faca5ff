"""Learned optimizers: input features, the step, the functional in it, by their gin names."""

from unf_lopt.optimizers.checkpoint import (
    CONFIG,
    check_spec,
    load_theta,
    newest_params,
    optimizer_name,
    parameter_checkpoint,
    params_file,
    saved_spec,
    write_whole,
)
from unf_lopt.optimizers.family import deep_sets, learned_sgdm, step_options, unf
from unf_lopt.optimizers.learned_optimizer import (
    ResidualLearnedOptimizer,
    StepOptions,
    SymmetryOptions,
)

__all__ = [
    "CONFIG",
    "ResidualLearnedOptimizer",
    "StepOptions",
    "SymmetryOptions",
    "check_spec",
    "deep_sets",
    "learned_sgdm",
    "load_theta",
    "newest_params",
    "optimizer_name",
    "parameter_checkpoint",
    "params_file",
    "saved_spec",
    "step_options",
    "unf",
    "write_whole",
]
