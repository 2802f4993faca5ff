"""Gradient estimators of outer training beside the ecosystem's, each one compiled program."""

from unf_lopt.estimators.by_part import ByPart
from unf_lopt.estimators.full_es import HorizonES
from unf_lopt.estimators.horizons import Horizons, horizons
from unf_lopt.estimators.noise_reuse_es import NoiseReuseES
from unf_lopt.estimators.objective import Objective, objective, with_objective
from unf_lopt.estimators.truncated_backprop import TruncatedBackprop

__all__ = [
    "ByPart",
    "HorizonES",
    "Horizons",
    "NoiseReuseES",
    "Objective",
    "TruncatedBackprop",
    "horizons",
    "objective",
    "with_objective",
]
