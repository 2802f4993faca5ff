"""Learned optimizers: input features, the step, the functional in it, by their gin names."""

from unf_lopt.optimizers.binding import SymmetryOptions
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
from unf_lopt.optimizers.export import optimizer_of_run, to_optax
from unf_lopt.optimizers.family import deep_sets, learned_sgdm, nfn, unf, unf_universal
from unf_lopt.optimizers.learned_optimizer import FunctionalLearnedOptimizer
from unf_lopt.optimizers.step import StepOptions, step_options

__all__ = [
    "CONFIG",
    "FunctionalLearnedOptimizer",
    "StepOptions",
    "SymmetryOptions",
    "check_spec",
    "deep_sets",
    "learned_sgdm",
    "load_theta",
    "newest_params",
    "nfn",
    "optimizer_name",
    "optimizer_of_run",
    "parameter_checkpoint",
    "params_file",
    "saved_spec",
    "step_options",
    "to_optax",
    "unf",
    "unf_universal",
    "write_whole",
]
