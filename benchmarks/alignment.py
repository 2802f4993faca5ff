"""Loss barriers between networks that were trained apart, before and after alignment.

Every network is trained twice on scikit-learn's digits, from other initial parameters and with
other batches; recurrent networks and Transformers read an image row by row. The spec is inferred
from the loss. The barrier is of the test loss, see :func:`unf_lopt.weights.loss_barrier`.

``python benchmarks/alignment.py [--only=mlp,cnn] [--pairs=2]``
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from unf_lopt import infer_spec
from unf_lopt.weights import align, loss_barrier

BATCH = 128


def mlp(*sizes: int) -> Callable[[jax.Array], jax.Array]:
    """A classifier with hidden layers of these sizes."""
    return lambda x: hk.nets.MLP([*sizes, 10])(hk.Flatten()(x))


def cnn(x: jax.Array) -> jax.Array:
    """Two convolutions and a linear layer on means over positions."""
    x = x[..., None]
    for channels in (16, 16):
        x = jax.nn.relu(hk.Conv2D(channels, 3)(x))
    return hk.Linear(10)(jnp.mean(x, axis=(1, 2)))


def gru(x: jax.Array) -> jax.Array:
    """A recurrent network of 64 units that reads rows."""
    core = hk.GRU(64)
    state = core.initial_state(len(x))
    for row in jnp.moveaxis(x, 1, 0):
        _, state = core(row, state)
    return hk.Linear(10)(state)


def transformer(x: jax.Array) -> jax.Array:
    """Two blocks of width 32 with four heads, on rows."""
    x = hk.Linear(32)(x) + hk.get_parameter(
        "position", (8, 32), init=hk.initializers.RandomNormal()
    )

    def norm(x: jax.Array) -> jax.Array:
        return hk.LayerNorm(-1, create_scale=True, create_offset=True)(x)

    for _ in range(2):
        attended = hk.MultiHeadAttention(4, 8, w_init_scale=1.0, model_size=32)
        y = norm(x)
        x = x + attended(y, y, y)
        x = x + hk.nets.MLP([64, 32])(norm(x))
    return hk.Linear(10)(jnp.mean(norm(x), axis=1))


# By name: the network, and the steps it is trained for.
NETWORKS = {
    "mlp_64_64": (mlp(64, 64), 1500),
    "mlp_512": (mlp(512), 1500),
    "cnn": (cnn, 4000),
    "gru": (gru, 3000),
    "transformer": (transformer, 3000),
}


def digits() -> tuple[np.ndarray, ...]:
    """Train and test images in [0, 1], ``[n, 8, 8]``, and their labels."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).reshape(-1, 8, 8).astype(np.float32)
    return tuple(train_test_split(images, labels, test_size=0.25, random_state=0, stratify=labels))


def train(loss: Any, init: Any, data: tuple[np.ndarray, np.ndarray], steps: int, seed: int) -> Any:
    """Parameters after Adam with cosine decay."""
    x, y = map(jnp.asarray, data)
    optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, steps))
    init_key, data_key = jax.random.split(jax.random.key(seed))

    def step(carry: Any, key: jax.Array) -> tuple[Any, None]:
        params, state = carry
        rows = jax.random.randint(key, (BATCH,), 0, len(x))
        updates, state = optimizer.update(jax.grad(loss)(params, x[rows], y[rows]), state, params)
        return (optax.apply_updates(params, updates), state), None

    params = init(init_key, x[:1])
    keys = jax.random.split(data_key, steps)
    carry = (params, optimizer.init(params))
    return jax.jit(lambda carry: jax.lax.scan(step, carry, keys)[0][0])(carry)


def measure(name: str, pairs: int) -> None:
    """Prints a row for every pair."""
    network, steps = NETWORKS[name]
    model = hk.without_apply_rng(hk.transform(network))
    x, test_x, y, test_y = digits()

    def loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        logits = model.apply(params, x)
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, y))

    def test_loss(params: Any) -> jax.Array:
        return loss(params, jnp.asarray(test_x), jnp.asarray(test_y))

    for pair in range(pairs):
        seeds = (2 * pair, 2 * pair + 1)
        a, b = jax.block_until_ready([train(loss, model.init, (x, y), steps, i) for i in seeds])
        spec = infer_spec(loss, a, x[:4], y[:4])
        start = time.perf_counter()
        aligned = spec.permute(b, align(spec, a, b, num_starts=4))
        seconds = time.perf_counter() - start
        before, after = (loss_barrier(test_loss, a, own) for own in (b, aligned))
        unchanged = abs(test_loss(aligned) - test_loss(b)) / test_loss(b)
        print(
            f"| `{name}` | {pair} | {test_loss(a):.3f}, {test_loss(b):.3f} | {before:.3f} "
            f"| {after:.3f} | {unchanged:.0e} | {seconds:.1f} |",
            flush=True,
        )


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(NETWORKS), help="names, separated by commas")
    parser.add_argument("--pairs", type=int, default=2)
    options = parser.parse_args()
    print("| network | pair | test losses | barrier | aligned | loss changed by | seconds |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name in options.only.split(","):
        measure(name, options.pairs)


if __name__ == "__main__":
    main()
