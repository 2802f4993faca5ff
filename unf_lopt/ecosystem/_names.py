"""Where the ecosystem's names live: below `learned_optimization`, by version."""

from unf_lopt.ecosystem import _version

_SAME = {
    "checkpoints": (
        "has_checkpoint",
        "last_checkpoint_idx",
        "load_state",
        "periodically_save_checkpoint",
        "restore_checkpoint",
        "save_checkpoint",
        "save_state",
    ),
    "eval_training": ("multi_task_training_curves", "single_task_training_curves"),
    "learned_optimizers.base": (
        "LearnableAdam",
        "LearnableSGD",
        "LearnableSGDM",
        "LearnedOptimizer",
        "learned_optimizer_from_opt",
        "wrap_learned_opt",
    ),
    "learned_optimizers.mlp_lopt": ("MLPLOpt",),
    "optimizers.base": ("GradientClipOptimizer", "Optimizer"),
    "outer_train": ("build_gradient_estimators", "run_train"),
    "outer_trainers.full_es": ("FullES",),
    "outer_trainers.gradient_learner": (
        "AggregatedGradient",
        "GradientEstimator",
        "GradientEstimatorOut",
        "GradientLearner",
        "GradientLearnerState",
        "OptCheckpoint",
        "OuterState",
        "ParameterCheckpoint",
        "WorkerWeights",
        "gradient_worker_compute",
    ),
    "outer_trainers.truncated_es": ("TruncatedES",),
    "outer_trainers.truncated_grad": ("TruncatedGrad",),
    "outer_trainers.truncated_pes": ("TruncatedPES",),
    "outer_trainers.truncation_schedule": (
        "ConstantTruncationSchedule",
        "LogUniformLengthSchedule",
        "TruncationSchedule",
    ),
    "setup_experiment": ("setup_experiment",),
    "summary": ("JaxboardWriter",),
    "tasks.base": (
        "SampledTaskFamily",
        "Task",
        "TaskFamily",
        "get_task",
        "sample_single_task_family",
        "single_task_to_family",
    ),
    "tasks.task_augmentation": ("ReparamWeightsFamily",),
    "tasks.datasets.base": (
        "Datasets",
        "LazyDataset",
        "LazyIterator",
        "ThreadSafeIterator",
        "dataset_lru_cache",
    ),
    "tasks.quadratics": ("FixedDimQuadraticFamily", "QuadraticTask"),
}

# The wrapped optax optimizers: their module, by version.
_OPTAX = ("Adam", "OptaxOptimizer", "OptaxState", "PiecewiseLinearAdam", "RMSProp", "SGD", "SGDM")
_OPTAX_MODULE = {"release": "optimizers.base", "main": "optimizers.optax_opts"}

_MODULE_OF = {name: module for module, names in _SAME.items() for name in names}

NAMES = [*_MODULE_OF, *_OPTAX]


def module_of(name: str) -> str:
    """The module of one of `NAMES`, below `learned_optimization`, in the version installed."""
    return _MODULE_OF.get(name) or _OPTAX_MODULE[_version.version()]
