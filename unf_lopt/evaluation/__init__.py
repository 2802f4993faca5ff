"""Inner training on held-out seeds, the ecosystem's baselines, speed-ups and the report."""

from unf_lopt.evaluation.config import configured_optimizer, parse_run_config
from unf_lopt.evaluation.outcome import Trained
from unf_lopt.evaluation.run import evaluate

__all__ = ["Trained", "configured_optimizer", "evaluate", "parse_run_config"]
