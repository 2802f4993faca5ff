"""Inner training on held-out seeds, hand-designed baselines, speed-ups and the report."""

from unf_lopt.evaluation.config import bind_run, undescribed_optimizer
from unf_lopt.evaluation.outcome import Trained
from unf_lopt.evaluation.run import evaluate

__all__ = ["Trained", "bind_run", "evaluate", "undescribed_optimizer"]
