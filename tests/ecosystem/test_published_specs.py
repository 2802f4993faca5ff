"""Published hand-written specs are tested as any other; the ones that are wrong are shown to be."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.paper_specs import transformer_names
from unf_lopt import PermutationSpec, SymmetryError, ecosystem, infer_spec, verify_spec

HEADS, WIDTH, VOCABULARY, LENGTH = 4, 32, 11, 6


def built(heads, layers, width):
    """The loss of the ecosystem's Transformer, its parameters' shapes, its other arguments."""
    module = ecosystem.load("tasks.transformer").Transformer

    def forward(tokens):
        network = module(heads, layers, width, VOCABULARY, dropout_rate=0.0)
        logits = network(tokens, jnp.ones(tokens.shape), is_training=True)
        targets = jax.nn.one_hot(jnp.roll(tokens, -1), VOCABULARY)
        return -jnp.mean(jnp.sum(targets * jax.nn.log_softmax(logits), -1))

    model = hk.transform(forward)
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, (2, LENGTH))
    key = jax.random.PRNGKey(0)
    return model.apply, jax.eval_shape(model.init, key, tokens), (key, tokens)


@pytest.fixture(scope="module")
def transformer():
    """Of two layers, on which the paper's Transformer task is built."""
    return built(HEADS, 2, WIDTH)


def test_the_authors_transformer_spec_is_no_symmetry(transformer):
    loss_fn, params, args = transformer
    spec = PermutationSpec.from_names(transformer_names(), params, {"vocabulary", "classes"})
    with pytest.raises(SymmetryError, match=r"stream_|inner_"):
        verify_spec(spec, loss_fn, params, *args, maximality=False)


def test_neither_is_it_with_one_residual_stream(transformer):
    loss_fn, params, args = transformer
    one_stream = PermutationSpec.from_names(
        transformer_names(), params, {"vocabulary", "classes"}
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


def test_a_spec_that_fixes_everything_is_not_maximal():
    loss_fn, params, args = built(2, 1, 8)
    spec = infer_spec(loss_fn, params, *args)
    fixed = PermutationSpec(spec.paths, spec.axes, spec.sizes, frozenset(spec.spaces))
    assert verify_spec(fixed, loss_fn, params, *args).maximal == "not maximal"
