"""The only door to `learned_optimization`, in either version: one set of names for both.

Importing it costs nothing: the ecosystem (with TensorFlow and Flax) is loaded when a name of it
is first used, and `EcosystemMissing`, an ImportError, says how to get it where it is not there.
"""

import importlib
from typing import Any

from unf_lopt.ecosystem._names import NAMES, module_of
from unf_lopt.ecosystem._version import (
    HOW_TO_GET,
    PACKAGE,
    EcosystemMissing,
    describe,
    load,
    version,
)

# This project's own functions over the ecosystem, for what the two versions do differently.
_OURS = {
    "MetaGradient": "gradients",
    "DeviceReader": "data",
    "INNER_STEPS": "pure",
    "PureEstimator": "pure",
    "InnerState": "adapter",
    "PositionedIterator": "data",
    "SPLITS": "data",
    "TransformationLearnedOptimizer": "adapter",
    "WeightSpace": "adapter",
    "add_config_path": "config_files",
    "batch_apart": "data",
    "batch_shapes": "data",
    "apply_gradient": "gradients",
    "compute_gradient": "gradients",
    "data_source": "data",
    "device_reader": "data",
    "define_flags": "config",
    "fresh_datasets": "data",
    "gradient_estimator": "gradients",
    "import_plugins": "config",
    "init_unroll_states": "gradients",
    "make_gradient_estimators": "gradients",
    "learned_optimizer": "adapter",
    "load_language_module": "texts",
    "load_task_modules": "tasks",
    "loss_of": "task_spec",
    "make_learner": "gradients",
    "maker_of": "adapter",
    "move_to": "data",
    "named_task_family": "tasks",
    "params_shapes": "task_spec",
    "parse_flags_and_config": "config",
    "positions": "data",
    "pure_estimator": "pure",
    "pure_update": "pure",
    "register_optimizer": "gin_optimizers",
    "register_options": "gin_optimizers",
    "set_positions": "data",
    "spec_from_names": "task_spec",
    "spec_of": "task_spec",
    "task_family_of": "gradients",
    "task_name": "gradients",
    "text_datasets": "texts",
    "theta_of": "gradients",
    "truncated_pes": "gradients",
    "verify_spec_of": "task_spec",
    "weight_space": "adapter",
    "with_fresh_data": "data",
}

__all__ = [
    "HOW_TO_GET",
    "PACKAGE",
    "EcosystemMissing",
    "describe",
    "load",
    "version",
    *_OURS,
    *NAMES,
]


def __getattr__(name: str) -> Any:
    if name in _OURS:
        return getattr(importlib.import_module(f"{__name__}.{_OURS[name]}"), name)
    if name in NAMES:
        return getattr(load(module_of(name)), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
