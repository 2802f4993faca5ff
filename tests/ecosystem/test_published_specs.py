"""Published hand-written specs are tested as any other; the ones that are wrong are shown to be."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unf_lopt import PermutationSpec, SymmetryError, ecosystem, infer_spec, verify_spec

HEADS, WIDTH, VOCABULARY, LENGTH = 4, 32, 11, 6


@pytest.fixture(scope="module")
def transformer():
    """The ecosystem's two-layer Transformer, on which the paper's Transformer task is built."""
    module = ecosystem.load("tasks.transformer").Transformer

    def forward(tokens):
        network = module(HEADS, 2, WIDTH, VOCABULARY, dropout_rate=0.0)
        logits = network(tokens, jnp.ones(tokens.shape), is_training=True)
        targets = jax.nn.one_hot(jnp.roll(tokens, -1), VOCABULARY)
        return -jnp.mean(jnp.sum(targets * jax.nn.log_softmax(logits), -1))

    model = hk.transform(forward)
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, (2, LENGTH))
    key = jax.random.PRNGKey(0)
    return model.apply, jax.eval_shape(model.init, key, tokens), (key, tokens)


def published_names():
    """Zhou et al.'s released spec: a stream of its own for every block, heads left out.

    The hidden units of a block's MLP share a space with the channels of its attention.
    """
    names = {"transformer/embed": {"embeddings": ("vocabulary", "stream_0")}}
    for layer in range(2):
        stream, inner, after = f"stream_{layer}", f"inner_{layer}", f"stream_{layer + 1}"
        block = f"transformer/h{layer}"
        into = {"w": (stream, inner), "b": (inner,)}
        names |= {f"{block}_attn/{name}": into for name in ("query", "key", "value")}
        names[f"{block}_attn/linear"] = {"w": (inner, stream), "b": (stream,)}
        names |= {f"{block}_ln_{n}": {"scale": (stream,), "offset": (stream,)} for n in (1, 2)}
        names[f"{block}_mlp/linear"] = into
        names[f"{block}_mlp/linear_1"] = {"w": (inner, after), "b": (after,)}
    names["transformer/h_f"] = {"scale": ("stream_2",), "offset": ("stream_2",)}
    names["transformer/linear"] = {"w": ("stream_2", "classes"), "b": ("classes",)}
    return names


def test_the_authors_transformer_spec_is_no_symmetry(transformer):
    loss_fn, params, args = transformer
    spec = PermutationSpec.from_names(published_names(), params, {"vocabulary", "classes"})
    with pytest.raises(SymmetryError, match="stream_|inner_"):
        verify_spec(spec, loss_fn, params, *args, maximality=False)


def test_neither_is_it_with_one_residual_stream(transformer):
    loss_fn, params, args = transformer
    one_stream = PermutationSpec.from_names(
        published_names(), params, {"vocabulary", "classes"}
    ).renamed(lambda name: "stream" if name.startswith("stream_") else name)
    sizes = tuple(dict(one_stream.sizes).items())
    spec = PermutationSpec(one_stream.paths, one_stream.axes, sizes, one_stream.fixed)
    with pytest.raises(SymmetryError, match="inner_"):
        verify_spec(spec, loss_fn, params, *args, maximality=False)


def test_the_spec_that_is_found_is_one(transformer):
    loss_fn, params, args = transformer
    spec = infer_spec(loss_fn, params, *args)
    # The stream; for each block heads, key width, value width and hidden units.
    assert sorted(spec.groups.values()) == sorted([WIDTH, *2 * [HEADS, 32, 32, 4 * WIDTH]])
    assert verify_spec(spec, loss_fn, params, *args, maximality=False).certified


def test_a_spec_that_fixes_everything_is_not_maximal(transformer):
    loss_fn, params, args = transformer
    spec = infer_spec(loss_fn, params, *args)
    fixed = PermutationSpec(spec.paths, spec.axes, spec.sizes, frozenset(spec.spaces))
    assert verify_spec(fixed, loss_fn, params, *args).maximal == "not maximal"
