"""Predictors of what a network does, from its weights; each an entry of one table."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from unf_lopt._options import check_option
from unf_lopt._types import PyTree
from unf_lopt.layers import UNF, InvariantPool, PointwiseMLP
from unf_lopt.symmetry import PermutationSpec

Weights = dict[str, Any]

_POOLED = ("mean", "rms")
_QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
RATES = (1e-3, 3e-3, 1e-2)


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A way to predict from weights, tuned over three settings.

    Attributes:
      title: what a reader calls it.
      network: ``network(spec, width, outputs)`` gives a Haiku function from what it sees of a model
        to ``[outputs]``; None for one of scikit-learn's.
      seen: what a network sees of all models' weights, by the spec's paths and standardized,
        ``[models, ...]``, computed once; None for the weights, which alone can be `augmented`.
      estimator: ``estimator(setting, is_class)`` gives scikit-learn's estimator on features; None
        for a network.
      features: what such an estimator sees of all models' parameters, ``[models, features]``.
      settings: learning rates, or what the estimator's setting is.
      augmented: whether a model's units are permuted anew whenever it is seen in training.
      invariant: whether predictions are unchanged by permutations of units.
    """

    title: str
    network: Callable[[PermutationSpec, int, int], Callable[[Any], jax.Array]] | None = None
    seen: Callable[[Weights], Any] | None = None
    estimator: Callable[[float, bool], Any] | None = None
    features: Callable[[dict[str, np.ndarray]], np.ndarray] | None = None
    settings: Sequence[float] = RATES
    augmented: bool = False
    invariant: bool = True


def statistics(weights: Weights) -> Float[Array, " statistics"]:
    """Mean, variance and five quantiles of every tensor (Unterthiner et al., arXiv 2002.11448).

    Args:
      weights: of one model.
    """
    quantiles = jnp.asarray(_QUANTILES)
    of_tensors = [
        jnp.concatenate([jnp.stack([jnp.mean(x), jnp.var(x)]), jnp.quantile(x, quantiles)])
        for x in weights.values()
    ]
    return jnp.concatenate(of_tensors)


_statistics_of_all = jax.jit(jax.vmap(statistics))


def features_of(
    params: dict[str, Float[np.ndarray, "models ..."]],
) -> Float[np.ndarray, "models features"]:
    """Statistics of every tensor, and the logarithms of their sizes."""
    found = np.asarray(_statistics_of_all(params), np.float64)
    return np.concatenate([found, np.log(np.abs(found) + 1e-6)], axis=1)


def _entries(
    params: dict[str, Float[np.ndarray, "models ..."]],
) -> Float[np.ndarray, "models entries"]:
    """Every entry of every tensor."""
    return np.concatenate([x.reshape(len(x), -1) for x in params.values()], axis=1)


def predictor(name: str) -> Predictor:
    """The predictor of a name in `PREDICTORS`.

    Raises:
      ValueError: there is none of this name.
    """
    check_option("predictor", name, tuple(PREDICTORS))
    return PREDICTORS[name]


def _head(width: int, outputs: int) -> Callable[[jax.Array], jax.Array]:
    return hk.nets.MLP([4 * width, outputs])


def _unf(fixed_axes: str) -> Any:
    def make(spec: PermutationSpec, width: int, outputs: int) -> Callable[[Weights], jax.Array]:
        def predict(weights: Weights) -> jax.Array:
            channels = {path: x[..., None] for path, x in weights.items()}
            layers = UNF(
                (width,) * 3,
                spec,
                fixed_axes=fixed_axes,
                initialization="pointwise",
                balanced=True,
                name="unf",
            )
            hidden = jax.tree.map(jax.nn.relu, layers(channels))
            return _head(width, outputs)(InvariantPool(spec, statistics=_POOLED)(hidden))

        return predict

    return make


def _deep_sets(spec: PermutationSpec, width: int, outputs: int) -> Callable[[Weights], jax.Array]:
    def predict(weights: Weights) -> jax.Array:
        channels = {path: x[..., None] for path, x in weights.items()}
        hidden = PointwiseMLP((width,) * 3, activate_final=True)(channels)
        return _head(width, outputs)(InvariantPool(spec, statistics=_POOLED)(hidden))

    return predict


def _statnn(spec: PermutationSpec, width: int, outputs: int) -> Callable[[Any], jax.Array]:
    return hk.nets.MLP([4 * width, 4 * width, outputs])


def _flat(spec: PermutationSpec, width: int, outputs: int) -> Callable[[Weights], jax.Array]:
    def predict(weights: Weights) -> jax.Array:
        flat = jnp.concatenate([jnp.ravel(x) for x in weights.values()])
        return hk.nets.MLP([8 * width, 4 * width, outputs])(flat)

    return predict


def _ridge(setting: float, is_class: bool) -> Any:
    from sklearn.linear_model import Ridge, RidgeClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    kind = RidgeClassifier if is_class else Ridge
    return make_pipeline(StandardScaler(), kind(alpha=setting))


def _linear(setting: float, is_class: bool) -> Any:
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    kind = LogisticRegression(C=1 / setting, max_iter=500) if is_class else Ridge(alpha=setting)
    return make_pipeline(StandardScaler(), kind)


def _boosting(setting: float, is_class: bool) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.multioutput import MultiOutputRegressor

    if is_class:
        return HistGradientBoostingClassifier(learning_rate=setting, random_state=0)
    return MultiOutputRegressor(
        HistGradientBoostingRegressor(learning_rate=setting, random_state=0)
    )


PREDICTORS: dict[str, Predictor] = {
    "unf": Predictor("UNF", _unf("exchangeable")),
    "dwsnets": Predictor("DWSNets", _unf("free")),
    "deep_sets": Predictor("Deep Sets", _deep_sets),
    "statnn": Predictor("STATNN", _statnn, _statistics_of_all),
    "mlp": Predictor("MLP on flat weights", _flat, invariant=False),
    "mlp_augmented": Predictor(
        "MLP on flat weights, units permuted", _flat, augmented=True, invariant=False
    ),
    "ridge": Predictor(
        "ridge regression on statistics",
        estimator=_ridge,
        features=features_of,
        settings=(0.1, 1.0, 10.0),
    ),
    "boosting": Predictor(
        "gradient boosting on statistics",
        estimator=_boosting,
        features=features_of,
        settings=(0.03, 0.1, 0.3),
    ),
    "linear": Predictor(
        "linear probe of flat weights",
        estimator=_linear,
        features=_entries,
        settings=(1.0, 10.0, 100.0),
        invariant=False,
    ),
}


def standardized(
    params: dict[str, Float[np.ndarray, "models ..."]], of: Sequence[int] | np.ndarray
) -> dict[str, Float[np.ndarray, "models ..."]]:
    """Weights less the mean, over the deviation, of a tensor's entries in some of the models."""
    return {path: (x - x[of].mean()) / (x[of].std() + 1e-8) for path, x in params.items()}


def network_of(spec: PermutationSpec, kind: Predictor, width: int, outputs: int) -> hk.Transformed:
    """A predictor's network as a pair of functions of what it sees of a model."""
    if kind.network is None:
        raise ValueError(f"{kind.title} is no network.")
    make = kind.network
    return hk.without_apply_rng(hk.transform(lambda seen: make(spec, width, outputs)(seen)))


def permuted(spec: PermutationSpec, weights: PyTree, key: jax.Array) -> PyTree:
    """A model with its units in a random order."""
    return spec.permute(weights, spec.sample(key))
