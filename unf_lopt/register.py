"""What ``--gin_import=unf_lopt.register`` loads: every optimizer and task, by its gin name.

Its only other effect is that the folder of configs joins gin's search path.
"""

from unf_lopt import ecosystem, evaluation, optimizers, outer_training
from unf_lopt.tasks import image_mlp

ecosystem.add_config_path()

__all__ = ["evaluation", "image_mlp", "optimizers", "outer_training"]
