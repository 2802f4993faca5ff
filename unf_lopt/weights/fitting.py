"""One training loop for every predictor: fitted, stopped and chosen on validation models."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from unf_lopt._options import check_numbers
from unf_lopt._types import PyTree
from unf_lopt.weights.measures import Target, target_of
from unf_lopt.weights.predictors import (
    Predictor,
    network_of,
    permuted,
    predictor,
    standardized,
)
from unf_lopt.weights.training import clipped_adam
from unf_lopt.weights.zoo import Zoo


class Split(NamedTuple):
    """Numbers of the models that are for training, for choosing, and for the report."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


@dataclasses.dataclass(frozen=True)
class FitOptions:
    """How networks are fitted.

    Attributes:
      width: channels of their layers.
      epochs: at most.
      patience: epochs without a lower validation loss, after which fitting stops.
      batch_size: models a step.

    Raises:
      ValueError: at construction, for a number that is not positive.
    """

    width: int = 16
    epochs: int = 60
    patience: int = 10
    batch_size: int = 32

    def __post_init__(self) -> None:
        check_numbers(self)


class Fitted(NamedTuple):
    """What came of a predictor on one split.

    Attributes:
      score: on the test models, by the target's measure.
      setting: the one that was best on the validation models.
      outputs: for the test models, ``[test models, outputs]``.
      num_parameters: of the network; 0 for an estimator of scikit-learn's.
    """

    score: float
    setting: float
    outputs: np.ndarray
    num_parameters: int


def split_models(
    count: int,
    seed: int,
    *,
    groups: np.ndarray | None = None,
    valid: float = 0.15,
    test: float = 0.2,
    num_train: int | None = None,
) -> Split:
    """A random split by model, or by what models belong to.

    Args:
      count: of models.
      seed: of the split.
      groups: what each belongs to, such as the image that it shows, ``[count]``; models of one
        group are in one part. None: each is a group of its own.
      valid: the share for choosing.
      test: the share for the report.
      num_train: how many of the others are trained on; None for all.

    Raises:
      ValueError: a part is empty, there are not as many models, or groups are of other models.
    """
    of_models = np.arange(count) if groups is None else np.asarray(groups)
    if of_models.shape != (count,):
        raise ValueError(f"split_models: {count} models, and groups of shape {of_models.shape}.")
    order, ends = _shuffled(of_models, np.random.default_rng(seed))
    tests, valids = round(test * count), round(valid * count)
    # A group that lies across an end goes to the part before it.
    tests, both = (int(ends[np.searchsorted(ends, own)]) for own in (tests, tests + valids))
    rest = order[both:]
    wanted = len(rest) if num_train is None else num_train
    if not (0 < tests < both and 0 < wanted <= len(rest)):
        raise ValueError(
            f"{count} models: {tests} for test, {both - tests} for validation, and {wanted} of "
            f"{len(rest)} for training cannot be had; make a larger zoo."
        )
    return Split(rest[:wanted], order[tests:both], order[:tests])


def _shuffled(groups: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Models group by group in a random order, and where groups end, 0 being the first end."""
    names, of_models = np.unique(groups, return_inverse=True)
    drawn = rng.permutation(len(names))
    turn = np.argsort(drawn)[of_models]
    sizes = np.bincount(turn, minlength=len(names))
    return np.argsort(turn, kind="stable"), np.concatenate([[0], np.cumsum(sizes)])


def fit(name: str, zoo: Zoo, split: Split, options: FitOptions, seed: int = 0) -> Fitted:
    """Fits a predictor with each of its settings and reports the best by validation loss.

    Args:
      name: in `predictors.PREDICTORS`.
      zoo: the models and what is to be predicted of them.
      split: which model is for what.
      options: of networks.
      seed: of initial parameters, batches and permutations.

    Raises:
      ValueError: there is no such predictor, or the labels are none of a kind.
    """
    kind, target = predictor(name), target_of(zoo.labels)
    one = _fit_network if kind.network else _fit_estimator
    return min(one(kind, target, zoo, split, options, seed), key=lambda found: found[0])[1]


def _fit_estimator(
    kind: Predictor, target: Target, zoo: Zoo, split: Split, options: FitOptions, seed: int
) -> list[tuple[float, Fitted]]:
    if kind.estimator is None or kind.features is None:
        raise ValueError(f"{kind.title} has neither a network nor an estimator with features.")
    features, labels = kind.features(zoo.params), zoo.labels.reshape(len(zoo), -1)
    labels = labels[:, 0] if target.is_class else labels
    found = []
    for setting in kind.settings:
        own = kind.estimator(setting, target.is_class)
        own.fit(features[split.train], labels[split.train])

        def predict(rows: np.ndarray, own: Any = own) -> np.ndarray:
            if target.is_class:
                return np.eye(target.outputs)[own.predict(features[rows])]
            return own.predict(features[rows]).reshape(len(rows), -1)

        sign = -1 if target.higher_is_better else 1
        value = sign * target.score(predict(split.valid), zoo.labels[split.valid])
        outputs = predict(split.test)
        score = target.score(outputs, zoo.labels[split.test])
        found.append((value, Fitted(score, setting, outputs, 0)))
    return found


def _fit_network(
    kind: Predictor, target: Target, zoo: Zoo, split: Split, options: FitOptions, seed: int
) -> list[tuple[float, Fitted]]:
    weights = standardized(zoo.params, split.train)
    seen = jax.device_get(kind.seen(weights)) if kind.seen else weights
    labels, scale = _scaled(target, zoo.labels, split.train)
    network = network_of(zoo.spec, kind, options.width, target.outputs)
    apply = jax.vmap(network.apply, (None, 0))
    init_key, key = jax.random.split(jax.random.key(seed))

    # Models are arguments of the programs: a whole zoo as a constant takes long to compile.
    def of(rows: Any) -> PyTree:
        return jax.tree.map(lambda x: x[rows], seen)

    params = network.init(init_key, of(0))

    def loss(params: PyTree, own: PyTree, own_labels: jax.Array) -> jax.Array:
        return target.loss(apply(params, own), own_labels)

    @jax.jit
    def update(
        params: PyTree, state: Any, rate: Any, own: PyTree, own_labels: jax.Array, key: jax.Array
    ) -> Any:
        if kind.augmented:
            keys = jax.random.split(key, len(own_labels))
            own = jax.vmap(lambda tree, key: permuted(zoo.spec, tree, key))(own, keys)
        grad = jax.grad(loss)(params, own, own_labels)
        updates, state = clipped_adam(rate).update(grad, state, params)
        return optax.apply_updates(params, updates), state

    outputs_of = jax.jit(apply)

    def step(params: PyTree, state: Any, rate: float, rows: np.ndarray, key: jax.Array) -> Any:
        return update(params, state, rate, of(rows), jnp.asarray(labels[rows]), key)

    def outputs(params: PyTree, rows: np.ndarray) -> np.ndarray:
        return np.asarray(outputs_of(params, of(rows)))

    valid_labels = jnp.asarray(labels[split.valid])
    found = []
    for setting in kind.settings:
        best, value = early_stopped(
            params,
            clipped_adam(setting).init(params),
            lambda p, s, rows, own, setting=setting: step(p, s, setting, rows, own),
            lambda p: float(
                target.loss(*map(jnp.asarray, (outputs(p, split.valid), valid_labels)))
            ),
            split.train,
            key,
            options,
        )
        predicted = outputs(best, split.test) * scale[1] + scale[0]
        score = target.score(predicted, zoo.labels[split.test])
        size = sum(x.size for x in jax.tree.leaves(best))
        found.append((value, Fitted(score, setting, predicted, size)))
    return found


def early_stopped(
    params: PyTree,
    state: Any,
    step: Callable[..., tuple[PyTree, Any]],
    valid_loss: Callable[[PyTree], float],
    train: np.ndarray,
    key: jax.Array,
    options: FitOptions,
) -> tuple[PyTree, float]:
    """Parameters with the lowest validation loss, and that loss."""
    best, lowest, since = params, valid_loss(params), 0
    size = min(options.batch_size, len(train))
    for epoch in range(options.epochs):
        epoch_key = jax.random.fold_in(key, epoch)
        order = np.asarray(jax.random.permutation(epoch_key, train))
        for number, start in enumerate(range(0, len(order) - size + 1, size)):
            rows = order[start : start + size]
            params, state = step(params, state, rows, jax.random.fold_in(epoch_key, number))
        value = valid_loss(params)
        best, lowest, since = (params, value, 0) if value < lowest else (best, lowest, since + 1)
        if since >= options.patience:
            break
    return best, lowest


def _scaled(
    target: Target, labels: np.ndarray, train: np.ndarray
) -> tuple[np.ndarray, tuple[Any, Any]]:
    """Numbers of mean 0 and deviation 1, and the way back; rates and classes as they are."""
    if target.higher_is_better:
        return labels, (0.0, 1.0)
    labels = labels.reshape(len(labels), -1)
    mean, deviation = labels[train].mean(0), labels[train].std(0) + 1e-8
    return ((labels - mean) / deviation).astype(np.float32), (mean, deviation)
