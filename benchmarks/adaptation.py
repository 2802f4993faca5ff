"""Classifiers of digits, made into classifiers of shifted digits by a map of their weights.

The networks are those of a zoo of :class:`unf_lopt.weights.Classifiers`. The map is learned on some
of them and on shifted training images; the test accuracy on shifted images is that of others.
Beside it: the weights unchanged, and after some steps of Adam on shifted training images.

``python benchmarks/adaptation.py --dir=runs/digits_mlp [--models=300] [--splits=2]``
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from unf_lopt.weights import (
    Classifiers,
    FitOptions,
    build_zoo,
    digits_apart,
    fit_adaptation,
    population_of,
    split_models,
)
from unf_lopt.weights.training import train_network

FINE_TUNING = (1, 10, 100)  # steps
BATCH = 32


def shifted(images: np.ndarray, columns: int) -> np.ndarray:
    """Images moved to the right; what comes in is empty."""
    return np.pad(images, ((0, 0), (0, 0), (columns, 0)))[:, :, : images.shape[2]]


def fine_tuned(loss: Any, data: Any, steps: int) -> Any:
    """A function of weights: Adam on batches of some data."""
    images, labels = map(jnp.asarray, data)

    def on_a_batch(weights: Any, key: jax.Array) -> jax.Array:
        rows = jax.random.randint(key, (BATCH,), 0, len(images))
        return loss(weights, images[rows], labels[rows])

    def tuned(weights: Any) -> Any:
        key = jax.random.key(0)
        return train_network(on_a_batch, weights, key, num_steps=steps, learning_rate=3e-3)

    return tuned


def main() -> None:
    """Prints the mean accuracy of every way, and its standard error over splits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", required=True, help="folder of the zoo; trained if not there")
    parser.add_argument("--models", type=int, default=300)
    parser.add_argument("--splits", type=int, default=2)
    parser.add_argument("--columns", type=int, default=1, help="that images are shifted by")
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rate", type=float, default=3e-3, help="of fitting the map")
    options = parser.parse_args()
    zoo = build_zoo(options.dir, population_of("digits_mlp"), options.models)
    own = Classifiers(**{own.name: zoo.settings[own.name] for own in fields(Classifiers)})
    train, test = digits_apart()
    new_train, new_test = ((shifted(x, options.columns), y) for x, y in (train, test))

    def accuracy(weights: Any, data: Any) -> jax.Array:
        return jnp.mean(jnp.argmax(own.logits(weights, data[0]), -1) == data[1])

    fitting = FitOptions(width=options.width, epochs=options.epochs)
    ways = {"unchanged": lambda weights: weights}
    ways |= {f"Adam, {n} steps": fine_tuned(own.loss, new_train, n) for n in FINE_TUNING}
    found: dict[str, list[float]] = {}
    for seed in range(options.splits):
        split = split_models(len(zoo), seed)
        for fixed_axes in ("free", "exchangeable"):
            ways[f"equivariant map, fixed axes {fixed_axes}"] = fit_adaptation(
                zoo,
                own.loss,
                new_train,
                split,
                fitting,
                fixed_axes=fixed_axes,
                rates=(options.rate,),
                seed=seed,
            )
        tests = {path: x[split.test] for path, x in zoo.params.items()}
        before = jax.vmap(lambda weights: accuracy(weights, test))(tests)
        found.setdefault("unchanged, on images as they were", []).append(float(jnp.mean(before)))
        for name, way in ways.items():
            after = jax.jit(jax.vmap(lambda weights, way=way: accuracy(way(weights), new_test)))
            found.setdefault(name, []).append(float(jnp.mean(after(tests))))
            print(f"split {seed}: {name} {found[name][-1]:.3f}", flush=True)
    print("\n| weights | test accuracy, mean ± standard error |\n|---|---:|")
    for name, each in found.items():
        error = scipy.stats.sem(each) if len(each) > 1 else 0.0
        print(f"| {name} | {np.mean(each):.3f} ± {error:.3f} |")


if __name__ == "__main__":
    main()
