"""What ``--gin_import=unf_lopt.register`` loads: every optimizer and task, by its gin name.

Its only other effect is that the folder of configs joins gin's search path.
"""

from unf_lopt import ecosystem, estimators, evaluation, optimizers, outer_training
from unf_lopt.tasks import (
    augmentation,
    image_cnn,
    image_mlp,
    rnn_lm,
    suite,
    transformer_lm,
)

ecosystem.add_config_path()

step_options = ecosystem.register_options(optimizers.step_options)
# Shared options that an optimizer has not: without a functional there is no weight of it.
_WITHOUT = {"learned_sgdm": ("initial_beta",)}
OPTIMIZERS = {
    name: ecosystem.register_optimizer(function, step_options, _WITHOUT.get(name, ()))
    for name, function in optimizers.OPTIMIZERS.items()
}
unf, nfn, unf_universal = (OPTIMIZERS[name] for name in ("unf", "nfn", "unf_universal"))
deep_sets, learned_sgdm = (OPTIMIZERS[name] for name in ("deep_sets", "learned_sgdm"))
mixed_step, unf_controller = (OPTIMIZERS[name] for name in ("mixed_step", "unf_controller"))
trained = ecosystem.register_optimizer(optimizers.trained)  # of a theta that there is

__all__ = [
    "OPTIMIZERS",
    "augmentation",
    "deep_sets",
    "estimators",
    "evaluation",
    "image_cnn",
    "image_mlp",
    "learned_sgdm",
    "mixed_step",
    "nfn",
    "optimizers",
    "outer_training",
    "rnn_lm",
    "step_options",
    "suite",
    "trained",
    "transformer_lm",
    "unf",
    "unf_controller",
    "unf_universal",
]
