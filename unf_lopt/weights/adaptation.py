"""From a network's weights to those of one for other data, by an equivariant map.

Navon et al., "Equivariant architectures for learning in deep weight spaces", arXiv 2301.12780,
section 7: domain adaptation as a task on weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax

from unf_lopt._types import PyTree
from unf_lopt.layers import UNF
from unf_lopt.weights.fitting import FitOptions, Split, early_stopped
from unf_lopt.weights.predictors import RATES, Weights
from unf_lopt.weights.training import clipped_adam
from unf_lopt.weights.zoo import Zoo

_EXAMPLES = 64  # that each network of a step is judged on


def fit_adaptation(
    zoo: Zoo,
    loss: Callable[..., jax.Array],
    data: Sequence[np.ndarray],
    split: Split,
    options: FitOptions = FitOptions(),  # noqa: B008 (immutable)
    *,
    fixed_axes: str = "free",
    rates: Sequence[float] = RATES,
    seed: int = 0,
) -> Callable[[Weights], Weights]:
    """Learns the map ``W ↦ W + s·f(W / s)`` that lowers the networks' loss on other data.

    f is three equivariant layers, zero at first: the map starts as the identity. s is the deviation
    of each tensor's entries over the networks that are trained on.

    Args:
      zoo: the networks as they are; their labels are not used.
      loss: ``loss(weights, *examples)`` of one network, a number; weights by the spec's paths.
      data: the other data, arrays with as many examples as first axis.
      split: which networks are for what; those for the test are not looked at.
      options: width of f, epochs, patience, and networks a step.
      fixed_axes: as of :class:`unf_lopt.layers.UNFLinear`: with ``"free"`` the map can tell inputs
        apart, pixels for example; with ``"exchangeable"`` it cannot.
      rates: learning rates that are tried; the lowest loss of validation networks decides.
      seed: of initial parameters and batches.

    Returns:
      The map, of one network's weights by the spec's paths; it commutes with permutations of units.

    Raises:
      ValueError: `data` is empty, its arrays have other numbers of examples, or an option of the
        layers is none.
    """
    examples = [jnp.asarray(own) for own in data]
    counts = sorted({len(own) for own in examples})
    if len(counts) != 1 or not counts[0]:
        raise ValueError(f"fit_adaptation: data has {counts} examples; one number is needed.")
    mapped, theta = _equivariant_map(zoo, split, options.width, fixed_axes, seed)

    def mean_loss(theta: PyTree, own: Weights, *examples: jax.Array) -> jax.Array:
        each = jax.vmap(lambda weights: loss(mapped(theta, weights), *examples))
        return jnp.mean(each(own))

    @jax.jit
    def update(theta: PyTree, state: Any, rate: Any, own: Weights, key: jax.Array) -> Any:
        chosen = jax.random.randint(key, (_EXAMPLES,), 0, counts[0])
        grad = jax.grad(mean_loss)(theta, own, *(x[chosen] for x in examples))
        changes, state = clipped_adam(rate).update(grad, state)
        return optax.apply_updates(theta, changes), state

    def of(rows: np.ndarray) -> Weights:
        return {path: x[rows] for path, x in zoo.params.items()}

    valid, valid_loss = of(split.valid), jax.jit(mean_loss)
    tried = [
        early_stopped(
            theta,
            clipped_adam(rate).init(theta),
            lambda theta, state, rows, key, rate=rate: update(theta, state, rate, of(rows), key),
            lambda theta: float(valid_loss(theta, valid, *examples)),
            split.train,
            jax.random.key(seed),
            options,
        )
        for rate in rates
    ]
    best = min(tried, key=lambda own: own[1])[0]
    return lambda weights: mapped(best, weights)


def _equivariant_map(
    zoo: Zoo, split: Split, width: int, fixed_axes: str, seed: int
) -> tuple[Callable[[PyTree, Weights], Weights], PyTree]:
    """The map as a function of its parameters and a network's weights; parameters to start from."""
    scales = {path: x[split.train].std() + 1e-8 for path, x in zoo.params.items()}

    def change(weights: Weights) -> Weights:
        layers = UNF(
            (width, width, 1), zoo.spec, fixed_axes=fixed_axes, balanced=True, zero_last=True
        )
        return layers({path: (x / scales[path])[..., None] for path, x in weights.items()})

    network = hk.without_apply_rng(hk.transform(change))

    def mapped(theta: PyTree, weights: Weights) -> Weights:
        changes = network.apply(theta, weights)
        return {path: x + scales[path] * changes[path][..., 0] for path, x in weights.items()}

    first = {path: jnp.asarray(x[0]) for path, x in zoo.params.items()}
    return mapped, network.init(jax.random.key(seed), first)
