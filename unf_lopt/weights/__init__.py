"""Learning from weights: align networks, and predict from what they have learned."""

from unf_lopt.weights.adaptation import fit_adaptation
from unf_lopt.weights.adapters import Adapters
from unf_lopt.weights.addition import Addition
from unf_lopt.weights.alignment import (
    align,
    align_all,
    align_by_activations,
    align_gaussians,
    interpolate,
    loss_barrier,
)
from unf_lopt.weights.checkpoints import read_network
from unf_lopt.weights.classifiers import Classifiers
from unf_lopt.weights.comparison import Comparison, compare, write_comparison
from unf_lopt.weights.fitting import FitOptions, Split, fit, split_models
from unf_lopt.weights.implicit import Implicit
from unf_lopt.weights.predictors import PREDICTORS, Predictor
from unf_lopt.weights.zoo import Population, Zoo, build_zoo, read_zoo
from unf_lopt.weights.zoos import KINDS as ZOOS
from unf_lopt.weights.zoos import digits_apart, population_of

__all__ = [
    "PREDICTORS",
    "ZOOS",
    "Adapters",
    "Addition",
    "Classifiers",
    "Comparison",
    "FitOptions",
    "Implicit",
    "Population",
    "Predictor",
    "Split",
    "Zoo",
    "align",
    "align_all",
    "align_by_activations",
    "align_gaussians",
    "build_zoo",
    "compare",
    "digits_apart",
    "fit",
    "fit_adaptation",
    "interpolate",
    "loss_barrier",
    "population_of",
    "read_network",
    "read_zoo",
    "split_models",
    "write_comparison",
]
