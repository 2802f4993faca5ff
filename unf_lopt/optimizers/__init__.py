"""Learned optimizers: input features, the step, the functional in it; pure JAX."""

from unf_lopt.optimizers.export import to_optax
from unf_lopt.optimizers.family import (
    OPTIMIZERS,
    deep_sets,
    from_description,
    learned_sgdm,
    mixed_step,
    nfn,
    unf,
    unf_controller,
    unf_universal,
)
from unf_lopt.optimizers.functional_optimizer import FunctionalLearnedOptimizer
from unf_lopt.optimizers.learned_optimizer import LearnedOptimizer
from unf_lopt.optimizers.shipped import (
    TrainedOptimizer,
    card,
    load,
    trained,
    trained_optimizers,
)
from unf_lopt.optimizers.step import StepOptions, step_options
from unf_lopt.optimizers.theta import (
    SavedTheta,
    load_theta,
    optimizer_name,
    read_theta,
    theta_data,
    theta_identity,
)

__all__ = [
    "OPTIMIZERS",
    "FunctionalLearnedOptimizer",
    "LearnedOptimizer",
    "SavedTheta",
    "StepOptions",
    "TrainedOptimizer",
    "card",
    "deep_sets",
    "from_description",
    "learned_sgdm",
    "load",
    "load_theta",
    "mixed_step",
    "nfn",
    "optimizer_name",
    "read_theta",
    "step_options",
    "theta_data",
    "theta_identity",
    "to_optax",
    "trained",
    "trained_optimizers",
    "unf",
    "unf_controller",
    "unf_universal",
]
