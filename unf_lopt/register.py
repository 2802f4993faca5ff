"""What ``--gin_import=unf_lopt.register`` loads: every optimizer and task, by its gin name.

Its only other effect is that the folder of configs joins gin's search path.
"""

from unf_lopt import ecosystem, evaluation, optimizers, outer_training
from unf_lopt.tasks import image_cnn, image_mlp, rnn_lm, transformer_lm

ecosystem.add_config_path()

__all__ = [
    "evaluation",
    "image_cnn",
    "image_mlp",
    "optimizers",
    "outer_training",
    "rnn_lm",
    "transformer_lm",
]
