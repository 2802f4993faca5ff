"""Time of finding the symmetries of a loss, by the number of its equations.

Transformers of growing depth and residual networks, as Haiku builds them; nothing is computed,
the losses are traced and their jaxprs walked. Prints a table, the time that one more equation
costs at each size, and the exponent of a power law through the Transformers; writes JSON.

    python benchmarks/inference.py --output=runs/inference.json
"""

import argparse
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from unf_lopt.symmetry.inference import TracedLoss, infer_traced, trace_loss

VOCABULARY, WIDTH, HEADS, LENGTH = 97, 32, 4, 16


def transformer_loss(tokens: jax.Array, layers: int) -> jax.Array:
    """Next-token loss of a causal pre-norm Transformer with tied embeddings."""

    def norm(x: jax.Array) -> jax.Array:
        return hk.LayerNorm(-1, create_scale=True, create_offset=True)(x)

    embedding = hk.Embed(VOCABULARY, WIDTH)
    positions = hk.get_parameter("positions", [LENGTH, WIDTH], init=jnp.zeros)
    x = embedding(tokens) + positions
    mask = jnp.tril(jnp.ones((1, 1, LENGTH, LENGTH)))
    for _ in range(layers):
        h = norm(x)
        scale = hk.initializers.VarianceScaling()
        x += hk.MultiHeadAttention(HEADS, WIDTH // HEADS, w_init=scale)(h, h, h, mask)
        x += hk.nets.MLP([4 * WIDTH, WIDTH], activation=jax.nn.gelu)(norm(x))
    logits = norm(x) @ embedding.embeddings.T
    targets = jax.nn.one_hot(jnp.roll(tokens, -1), VOCABULARY)
    return -jnp.mean(jnp.sum(targets * jax.nn.log_softmax(logits), axis=-1))


def traced_transformer(layers: int) -> TracedLoss:
    """The loss above, traced."""
    model = hk.without_apply_rng(hk.transform(lambda tokens: transformer_loss(tokens, layers)))
    tokens = jax.ShapeDtypeStruct((2, LENGTH), jnp.int32)
    params = jax.eval_shape(model.init, jax.random.key(0), tokens)
    return trace_loss(model.apply, params, [tokens])


def traced_resnet(network: Callable[..., Any]) -> TracedLoss:
    """The classification loss of one of Haiku's residual networks in training mode, traced."""

    def loss(image: jax.Array, label: jax.Array) -> jax.Array:
        logits = network(10, resnet_v2=True)(image, is_training=True)
        return -jnp.mean(jnp.sum(jax.nn.one_hot(label, 10) * jax.nn.log_softmax(logits), axis=-1))

    model = hk.without_apply_rng(hk.transform_with_state(loss))
    batch = (
        jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32),
        jax.ShapeDtypeStruct((2,), jnp.int32),
    )
    params, state = jax.eval_shape(model.init, jax.random.key(0), *batch)
    return trace_loss(model.apply, params, [state, *batch], state_argnum=0)


def count_equations(jaxpr: Any) -> int:
    """Equations of a jaxpr, those of inner ones included."""
    inner = sum(count_equations(sub) for sub in jax.extend.core.subjaxprs(jaxpr))
    return len(jaxpr.eqns) + inner


def measure(make: Callable[[], TracedLoss], repeats: int) -> dict[str, Any]:
    """Figures of one loss."""
    started = time.perf_counter()
    traced = make()
    trace_seconds = time.perf_counter() - started
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        spec = infer_traced(traced).spec
        seconds.append(time.perf_counter() - started)
    return {
        "parameters": len(traced.paths),
        "groups": len(spec.groups),
        "equations": count_equations(traced.jaxpr.jaxpr),
        "trace_seconds": trace_seconds,
        "infer_seconds": float(np.median(seconds)),
        "without_rule": sorted(spec.provenance.without_rule),
    }


def main() -> None:
    """Runs the measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depths", type=int, nargs="*", default=[1, 2, 4, 8, 16, 32, 48, 96])
    parser.add_argument("--resnets", nargs="*", default=["ResNet18", "ResNet50", "ResNet152"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/inference.json"))
    args = parser.parse_args()
    results = {}
    for depth in args.depths:
        name = f"Transformer, {depth} layers"
        results[name] = measure(lambda depth=depth: traced_transformer(depth), args.repeats)
    transformers = list(results.values())
    for name in args.resnets:
        network = getattr(hk.nets, name)
        results[name] = measure(lambda network=network: traced_resnet(network), args.repeats)
    table = Table("loss", "parameters", "groups", "equations", "trace", "infer", "µs/equation")
    for name, figures in results.items():
        table.add_row(
            name,
            str(figures["parameters"]),
            str(figures["groups"]),
            f"{figures['equations']:,}",
            f"{figures['trace_seconds']:.2f} s",
            f"{figures['infer_seconds'] * 1e3:.1f} ms",
            f"{figures['infer_seconds'] / figures['equations'] * 1e6:.1f}",
        )
    Console().print(table)
    record: dict[str, Any] = {"results": results}
    if len(transformers) > 1:
        equations, seconds = (
            np.log([figures[key] for figures in transformers])
            for key in ("equations", "infer_seconds")
        )
        record["exponent"] = float(np.polyfit(equations, seconds, 1)[0])
        print(f"Transformers: time grows as equations^{record['exponent']:.2f}")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
