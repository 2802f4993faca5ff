"""Inner training on held-out seeds, hand-designed baselines, speed-ups and the report."""

from unf_lopt.evaluation.config import bind_run, bind_training_config, undescribed_optimizer
from unf_lopt.evaluation.contestants import Trained, split_name
from unf_lopt.evaluation.run import evaluate

__all__ = [
    "Trained",
    "bind_run",
    "bind_training_config",
    "evaluate",
    "split_name",
    "undescribed_optimizer",
]
