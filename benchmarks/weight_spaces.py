"""The weight spaces that layers are measured on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import haiku as hk
import jax
import jax.numpy as jnp
from inference import traced_resnet, traced_transformer

from unf_lopt import PermutationSpec, infer_spec
from unf_lopt.symmetry.inference import infer_traced

# A spec, and the contestants that are left out because they would take hours there.
Case = tuple[PermutationSpec, tuple[str, ...]]
_TERM_BY_TERM = ("einsum per term", "the authors' layer")


def mlp(widths: Sequence[int]) -> Case:
    """Weights and biases of an MLP, inputs and outputs fixed."""
    names, params = {}, {}
    for layer, (rows, columns) in enumerate(itertools.pairwise(widths)):
        names[f"linear_{layer}"] = {
            "w": (f"units_{layer}", f"units_{layer + 1}"),
            "b": (f"units_{layer + 1}",),
        }
        params[f"linear_{layer}"] = {
            "w": jax.ShapeDtypeStruct((rows, columns), "float32"),
            "b": jax.ShapeDtypeStruct((columns,), "float32"),
        }
    fixed = {"units_0", f"units_{len(widths) - 1}"}
    return PermutationSpec.from_names(names, params, fixed), ()


def irnn() -> Case:
    """A character model: embedding 256 to 64, ReLU recurrence 128, softmax of 256."""

    def loss(tokens: jax.Array) -> jax.Array:
        inputs = hk.Embed(256, 64)(tokens)
        core = hk.VanillaRNN(128)
        states, _ = hk.dynamic_unroll(core, inputs, core.initial_state(None))
        logits = jax.nn.log_softmax(hk.Linear(256)(states))
        return -jnp.mean(jnp.take_along_axis(logits[:-1], tokens[1:, None], axis=-1))

    model = hk.without_apply_rng(hk.transform(loss))
    tokens = jax.ShapeDtypeStruct((16,), jnp.int32)
    params = jax.eval_shape(model.init, jax.random.key(0), tokens)
    return infer_spec(model.apply, params, tokens), ()


def transformer(layers: int) -> Case:
    """The Transformer of ``inference.py``: width 32, 4 heads, tied embeddings of 97 tokens."""
    left_out = _TERM_BY_TERM if layers > 2 else ()
    return infer_traced(traced_transformer(layers)).spec, left_out


def resnet50() -> Case:
    """Haiku's ResNet-50 (v2) with ten classes."""
    left_out = ("full", *_TERM_BY_TERM)
    return infer_traced(traced_resnet(hk.nets.ResNet50)).spec, left_out


CASES: dict[str, Callable[[], Case]] = {
    "MLP 784-32-10": lambda: mlp((784, 32, 10)),
    "MLP, 8 layers of 32": lambda: mlp((32,) * 9),
    "IRNN 256/64/128": irnn,
    "Transformer, 2 layers": lambda: transformer(2),
    "Transformer, 12 layers": lambda: transformer(12),
    "Transformer, 48 layers": lambda: transformer(48),
    "ResNet-50": resnet50,
}
