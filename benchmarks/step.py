"""One whole training step with our optimizers against Adam's: time and memory, interleaved.

A step is the loss, its gradient and the optimizer, compiled as one program that gives its buffers
back. The networks are an MLP 784-512-512-10 (batch 128), a CNN, an LSTM and a Transformer of four
layers and width 256 (batch 8 × 128). Time is the median of rounds in which the optimizers take
turns, over Adam's of the same round. Memory is of the optimizer's update alone: what the compiled
program needs beside its arguments and results, and its state, over the size of the parameters.

    python benchmarks/step.py --networks mlp lstm --only controller --output=runs/step.json
"""

import argparse
import dataclasses
import functools
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
from rich.console import Console
from rich.table import Table

from unf_lopt import to_optax
from unf_lopt.optimizers import LearnedOptimizer, mixed_step, unf_controller

NUM_STEPS = 1000
Loss = Callable[[Any, Any], jax.Array]


@dataclasses.dataclass(frozen=True)
class Network:
    """A loss with parameters and a batch, random ones: time does not depend on them."""

    loss: Loss
    params: Any
    batch: Any


def _classes(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def _network(forward: Callable[[jax.Array], jax.Array], x: Any, labels: Any) -> Network:
    transformed = hk.without_apply_rng(hk.transform(forward))
    params = transformed.init(jax.random.key(0), x)
    return Network(
        lambda own, batch: _classes(transformed.apply(own, batch[0]), batch[1]), params, (x, labels)
    )


def mlp() -> Network:
    """784-512-512-10, batch 128."""
    x = jax.random.normal(jax.random.key(1), (128, 784))
    labels = jax.random.randint(jax.random.key(2), (128,), 0, 10)
    return _network(lambda x: hk.nets.MLP((512, 512, 10))(x), x, labels)


def cnn() -> Network:
    """Three convolutions of 32, 64 and 64 channels and a dense layer, 28 × 28 images, batch 64."""

    def forward(x: jax.Array) -> jax.Array:
        for channels in (32, 64, 64):
            x = jax.nn.relu(hk.Conv2D(channels, 3, stride=2)(x))
        return hk.Linear(10)(x.mean((1, 2)))

    x = jax.random.normal(jax.random.key(1), (64, 28, 28, 1))
    return _network(forward, x, jax.random.randint(jax.random.key(2), (64,), 0, 10))


def lstm() -> Network:
    """An LSTM of 256 units over 256 tokens, batch 32 × 32."""

    def forward(tokens: jax.Array) -> jax.Array:
        core = hk.LSTM(256)
        x = hk.Embed(256, 128)(tokens)
        out, _ = hk.dynamic_unroll(core, x, core.initial_state(32), time_major=False)
        return hk.Linear(256)(out)

    tokens = jax.random.randint(jax.random.key(1), (32, 32), 0, 256)
    return _network(forward, tokens, tokens)


def transformer() -> Network:
    """Four layers of width 256 and four heads over 256 tokens, batch 8 × 128."""

    def forward(tokens: jax.Array) -> jax.Array:
        x = hk.Embed(256, 256)(tokens)
        mask = jnp.tril(jnp.ones((1, 1, 128, 128)))
        for _ in range(4):
            own = hk.LayerNorm(-1, True, True)(x)
            init = hk.initializers.VarianceScaling(1.0)
            x += hk.MultiHeadAttention(4, 64, w_init=init, model_size=256)(own, own, own, mask)
            own = hk.LayerNorm(-1, True, True)(x)
            x += hk.Linear(256)(jax.nn.gelu(hk.Linear(1024)(own)))
        return hk.Linear(256)(hk.LayerNorm(-1, True, True)(x))

    tokens = jax.random.randint(jax.random.key(1), (8, 128), 0, 256)
    return _network(forward, tokens, tokens)


NETWORKS = {"mlp": mlp, "cnn": cnn, "lstm": lstm, "transformer": transformer}


def _ours(optimizer: LearnedOptimizer, network: Network) -> optax.GradientTransformation:
    theta = optimizer.init(jax.random.key(0))
    return to_optax(
        theta,
        network.loss,
        network.params,
        network.batch,
        optimizer=optimizer,
        num_steps=NUM_STEPS,
    )


# The first is what all are compared with.
OPTIMIZERS: dict[str, Callable[[Network], optax.GradientTransformation]] = {
    "adam": lambda network: optax.adam(1e-3),
    "adamw": lambda network: optax.adamw(1e-3),
    "muon": lambda network: optax.contrib.muon(1e-3),
    "Adam's direction": functools.partial(_ours, mixed_step(directions=("adam",))),
    "two directions": functools.partial(_ours, mixed_step()),
    "controller": functools.partial(_ours, unf_controller()),
    "controller, hypergradient": functools.partial(_ours, unf_controller(hypergradient=True)),
    "controller, rows and columns": functools.partial(_ours, unf_controller(rows_and_columns=True)),
    "functional of entries": functools.partial(_ours, mixed_step(functional=8)),
    "controller, orthogonalized": functools.partial(
        _ours, unf_controller(directions=("adam", "orthogonalized"))
    ),
    "controller, orthogonalized in a subspace": functools.partial(
        _ours,
        unf_controller(
            directions=("adam", "orthogonalized"),
            newton_schulz="minimax",
            newton_schulz_steps=3,
            dense_newton_schulz_steps=2,
            orthogonalized_rank=16,
        ),
    ),
}


class Contestant:
    """A training loop of one optimizer on one network."""

    def __init__(self, network: Network, optimizer: optax.GradientTransformation):
        optimizer = optax.with_extra_args_support(optimizer)

        def step(params: Any, state: Any, batch: Any) -> tuple[Any, Any]:
            loss, grad = jax.value_and_grad(network.loss)(params, batch)
            updates, state = optimizer.update(grad, state, params, value=loss)
            return optax.apply_updates(params, updates), state

        self._step = jax.jit(step, donate_argnums=(0, 1))
        self._batch = network.batch
        self._params = jax.tree.map(jnp.array, network.params)
        self._state = jax.jit(optimizer.init)(self._params)
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(network.params))
        self.state = sum(leaf.nbytes for leaf in jax.tree.leaves(self._state)) / size
        update = jax.jit(
            lambda grad, state, params: optimizer.update(
                grad, state, params, value=jnp.float32(1.0)
            ),
            donate_argnums=(0, 1),
        )
        compiled = update.lower(network.params, self._state, network.params).compile()
        self.temporary = compiled.memory_analysis().temp_size_in_bytes / size
        self.seconds: list[float] = []

    def round(self, steps: int) -> None:
        """Takes steps and notes the seconds of one."""
        started = time.perf_counter()
        for _ in range(steps):
            self._params, self._state = self._step(self._params, self._state, self._batch)
        jax.block_until_ready(self._params)
        self.seconds.append((time.perf_counter() - started) / steps)


def measure(network: Network, chosen: list[str], rounds: int, steps: int) -> dict[str, Any]:
    """The figures of all optimizers on a network."""
    running = {name: Contestant(network, OPTIMIZERS[name](network)) for name in chosen}
    for contestant in running.values():
        contestant.round(steps)  # compiles
        contestant.seconds.clear()
    for _ in range(rounds):
        for contestant in running.values():
            contestant.round(steps)
    reference = np.array(running[chosen[0]].seconds)
    return {
        name: {
            "seconds": float(np.median(contestant.seconds)),
            "over_adam": float(np.median(np.array(contestant.seconds) / reference)),
            "state_over_parameters": contestant.state,
            "temporaries_over_parameters": contestant.temporary,
        }
        for name, contestant in running.items()
    }


def main() -> None:
    """Measures, prints a table a network and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="*", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--only", nargs="*", choices=OPTIMIZERS, default=list(OPTIMIZERS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=32, help="of a round")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/step.json"))
    args = parser.parse_args()
    chosen = [*dict.fromkeys([*list(OPTIMIZERS)[:1], *args.only])]
    results = {}
    for name in args.networks:
        network = NETWORKS[name]()
        count = sum(leaf.size for leaf in jax.tree.leaves(network.params))
        results[name] = measure(network, chosen, args.rounds, args.steps)
        table = Table(
            "optimizer", "step", "over Adam's", "state", "temporaries", title=f"{name}, {count:,}"
        )
        for own, figures in results[name].items():
            table.add_row(
                own,
                f"{figures['seconds'] * 1e3:.2f} ms",
                f"{figures['over_adam']:.2f}",
                f"{figures['state_over_parameters']:.2f}",
                f"{figures['temporaries_over_parameters']:.2f}",
            )
        Console().print(table)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    record = {"device": str(jax.devices()[0]), "jax": jax.__version__, "results": results}
    args.output.write_text(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
