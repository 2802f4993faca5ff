"""What is predicted of a network, how predictions are scored, and what is to be lowered."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Integer, Shaped
from scipy.stats import kendalltau


@dataclasses.dataclass(frozen=True)
class Target:
    """A kind of label.

    Attributes:
      outputs: numbers that a predictor gives.
      measure: what the score is called.
      higher_is_better: which way it goes.
      loss: of outputs ``[n, outputs]`` and labels ``[n, ...]``.
      score: of the same, as NumPy arrays.
      is_class: whether labels are classes.
    """

    outputs: int
    measure: str
    higher_is_better: bool
    loss: Callable[[jax.Array, jax.Array], jax.Array]
    score: Callable[[np.ndarray, np.ndarray], float]
    is_class: bool = False


def target_of(labels: np.ndarray) -> Target:
    """The kind of some labels.

    Whole numbers are classes: cross entropy, and the accuracy. Single numbers from 0 to 1 are
    rates: cross entropy of a logistic output, and Kendall's τ. Others are numbers: the squared
    error, for the loss of labels that the caller has scaled, for the score of labels as they are.

    Raises:
      ValueError: there are no labels, or one is no finite number.
    """
    if labels.dtype.kind not in "biuf":
        raise ValueError(
            f"labels: numbers are needed, not {labels.dtype}; "
            "np.unique(labels, return_inverse=True)[1] makes classes of texts."
        )
    if not len(labels) or not np.all(np.isfinite(labels)):
        raise ValueError("labels: at least one is needed, and all must be finite.")
    if np.issubdtype(labels.dtype, np.integer):
        return Target(int(labels.max()) + 1, "accuracy", True, _class_loss, _accuracy, True)
    if labels.ndim == 1 and labels.min() >= 0 and labels.max() <= 1:
        return Target(1, "Kendall's τ", True, _rate_loss, _kendall)
    outputs = 1 if labels.ndim == 1 else labels.shape[1]
    return Target(outputs, "squared error", False, _squared, _squared_score)


def _class_loss(
    outputs: Float[Array, "n classes"], labels: Integer[Array, " n"]
) -> Float[Array, ""]:
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, labels))


def _accuracy(outputs: Float[np.ndarray, "n classes"], labels: Integer[np.ndarray, " n"]) -> float:
    return float(np.mean(np.argmax(outputs, -1) == labels))


def _rate_loss(outputs: Float[Array, "n 1"], labels: Float[Array, " n"]) -> Float[Array, ""]:
    return jnp.mean(optax.sigmoid_binary_cross_entropy(outputs[:, 0], labels))


def _kendall(outputs: Float[np.ndarray, "n 1"], labels: Float[np.ndarray, " n"]) -> float:
    tau: Any = kendalltau(outputs[:, 0], labels)[0]
    return float(np.nan_to_num(tau))  # of outputs that are all the same: they order nothing


def _squared(outputs: Float[Array, "n outputs"], labels: Float[Array, "n ..."]) -> Float[Array, ""]:
    return jnp.mean(jnp.square(outputs - labels.reshape(outputs.shape)))


def _squared_score(
    outputs: Float[np.ndarray, "n outputs"], labels: Shaped[np.ndarray, "n ..."]
) -> float:
    return float(np.mean(np.square(outputs - labels.reshape(outputs.shape))))
