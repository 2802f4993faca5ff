"""The outer loop over the ecosystem's learner and gradient estimators, and its run folder."""

from unf_lopt.outer_training.loop import train
from unf_lopt.outer_training.meta_optimizer import norm_clipped_adam

__all__ = ["norm_clipped_adam", "train"]
