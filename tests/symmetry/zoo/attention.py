"""Transformers and their relatives."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from tests.symmetry.zoo.case import case, problem
from tests.symmetry.zoo.data import (
    cross_entropy,
    dense,
    labels,
    layer_norm,
    sequences,
)


def _words(n):
    return (labels(n.batch, n.time, classes=n.vocabulary),)


def _causal(logits):
    mask = np.tril(np.ones(logits.shape[-2:], bool))
    return jnp.where(mask, logits, -1e9)


def _attend(q, k, v, mask=lambda logits: logits):
    """``[batch, time, heads, width]`` each; heads' outputs side by side."""
    logits = jnp.einsum("bthw,bshw->bhts", q, k) / np.sqrt(q.shape[-1])
    out = jnp.einsum("bhts,bshw->bthw", jax.nn.softmax(mask(logits)), v)
    return out.reshape(*out.shape[:2], -1)


def _heads(x, count):
    return x.reshape(*x.shape[:-1], count, -1)


def _rms_norm(scale, x):
    return x * jax.lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-5) * scale


def _language_loss(h, embedding, words):
    return cross_entropy(h[:, :-1] @ embedding.T, words[:, 1:])


@case(trap=True, batch=3, time=5, vocabulary=11, stream=6, heads=2, keys=3, values=4, hidden=7)
def transformer(n):
    """Two blocks, normalized before; embeddings tied to the output; learned positions."""

    def attention(layer, x):
        q, k, v = (_heads(dense(layer[name], x), n.heads) for name in "qkv")
        return dense(layer["out"], _attend(q, k, v, _causal))

    def loss(params, words):
        h = params["embedding"][words] + params["positions"]
        for block in (params["block0"], params["block1"]):
            h = h + attention(block, layer_norm(block["norm1"], h))
            inner = jax.nn.gelu(dense(block["up"], layer_norm(block["norm2"], h)))
            h = h + dense(block["down"], inner)
        return _language_loss(layer_norm(params["norm"], h), params["embedding"], words)

    blocks = "".join(
        f"""
        block{i}/norm1/scale   stream
        block{i}/norm1/offset  stream
        block{i}/q/w     stream, heads{i}*keys{i}
        block{i}/q/b     heads{i}*keys{i}
        block{i}/k/w     stream, heads{i}*keys{i}
        block{i}/k/b     heads{i}*keys{i}
        block{i}/v/w     stream, heads{i}*values{i}
        block{i}/v/b     heads{i}*values{i}
        block{i}/out/w   heads{i}*values{i}, stream
        block{i}/out/b   stream
        block{i}/norm2/scale   stream
        block{i}/norm2/offset  stream
        block{i}/up/w    stream, hidden{i}
        block{i}/up/b    hidden{i}
        block{i}/down/w  hidden{i}, stream
        block{i}/down/b  stream
        """
        for i in range(2)
    )
    table = f"""
        embedding  [vocabulary], stream
        positions  [time], stream
        {blocks}
        norm/scale   stream
        norm/offset  stream
    """
    # A bias of keys adds the same to every logit of a query, here as in the other cases.
    return problem(n, loss, table, _words(n), without_effect=("block0/k/b", "block1/k/b"))


def _packed(n, unpacked, **options):
    def loss(params, x, y):
        h = x @ params["in"]
        h = h + _attend(*unpacked(h @ params["qkv"])) @ params["out"]
        return cross_entropy(jnp.tanh(h).mean(1) @ params["last"], y)

    table = """
        in    [features], stream
        qkv   stream, heads*keys + heads*keys + heads*values
        out   heads*values, stream
        last  stream, [classes]
    """
    return problem(n, loss, table, sequences(n), **options)


@case(trap={"kinds": 3}, batch=3, time=4, features=5, stream=6, heads=2, keys=3, classes=4, kinds=3)
def packed_then_split(n):
    """Queries, keys and values from one matrix, cut apart before the heads are."""
    n.values = n.keys

    def unpacked(x):
        return (_heads(part, n.heads) for part in jnp.split(x, 3, axis=-1))

    return _packed(n, unpacked)


@case(trap={"kinds": 3}, batch=3, time=4, features=5, stream=6, heads=2, keys=5, classes=4, kinds=3)
def packed_by_reshape(n):
    """The same matrix as an array of kinds, heads and width."""
    n.values = n.keys

    def unpacked(x):
        x = x.reshape(n.batch, n.time, n.kinds, n.heads, n.keys)
        return (x[:, :, kind] for kind in range(3))

    why = "one axis of the array is the width of all three kinds, so they share a permutation"
    return _packed(n, unpacked, not_found=why)


@case(trap=True, batch=3, time=5, vocabulary=7, stream=6, heads=2, width=4, values=3)
def rotary(n):
    """Rotary positions tell the places of queries and keys apart."""

    def rotated(x):
        half = n.width // 2
        angles = np.arange(n.time)[:, None] * 10.0 ** -np.arange(half)
        cos, sin = (f(angles)[:, None].astype(np.float32) for f in (np.cos, np.sin))
        a, b = x[..., :half], x[..., half:]
        return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)

    def loss(params, words):
        h = params["embedding"][words]
        q, k, v = (_heads(_rms_norm(params["norm"], h) @ params[name], n.heads) for name in "qkv")
        h = h + _attend(rotated(q), rotated(k), v, _causal) @ params["out"]
        return _language_loss(h, params["embedding"], words)

    table = """
        embedding  [vocabulary], stream
        norm       stream
        q          stream, heads*[width]
        k          stream, heads*[width]
        v          stream, heads*values
        out        heads*values, stream
    """
    return problem(n, loss, table, _words(n))


def _grouped_query(n, attend):
    def loss(params, words):
        h = params["embedding"][words] + params["positions"]
        x = _rms_norm(params["norm1"], h)
        h = h + attend(params, x) @ params["out"]
        x = _rms_norm(params["norm2"], h)
        h = h + (jax.nn.silu(x @ params["gate"]) * (x @ params["up"])) @ params["down"]
        return _language_loss(h, params["embedding"], words)

    table = """
        embedding  [vocabulary], stream
        positions  [time], stream
        norm1  stream
        q      stream, shared*queries*keys
        k      stream, shared*keys
        v      stream, shared*values
        out    shared*queries*values, stream
        norm2  stream
        gate   stream, hidden
        up     stream, hidden
        down   hidden, stream
    """
    return problem(n, loss, table, _words(n))


GROUPED = dict(
    batch=2, time=4, vocabulary=9, stream=5, shared=2, queries=3, keys=4, values=6, hidden=7
)


@case(trap=True, **GROUPED)
def grouped_query(n):
    """Several queries share keys and values; a gated MLP follows."""

    def attend(params, x):
        q = (x @ params["q"]).reshape(n.batch, n.time, n.shared, n.queries, n.keys)
        k, v = (_heads(x @ params[name], n.shared) for name in "kv")
        logits = _causal(jnp.einsum("btgqw,bsgw->bgqts", q, k))
        out = jnp.einsum("bgqts,bsgw->btgqw", jax.nn.softmax(logits), v)
        return out.reshape(n.batch, n.time, -1)

    return _grouped_query(n, attend)


@case(trap=True, **GROUPED)
def grouped_query_by_repeating(n):
    """The same, keys and values repeated for every query that shares them."""

    def attend(params, x):
        k, v = (jnp.repeat(_heads(x @ params[name], n.shared), n.queries, 2) for name in "kv")
        return _attend(_heads(x @ params["q"], n.shared * n.queries), k, v, _causal)

    return _grouped_query(n, attend)


@case(trap=True, batch=3, time=4, features=5, stream=6, heads=2, keys=3, values=4, classes=2)
def multi_query(n):
    """One head of keys and values for all queries."""

    def loss(params, x, y):
        h = jnp.tanh(x @ params["in"])
        q = _heads(h @ params["q"], n.heads)
        logits = jnp.einsum("bthw,bsw->bhts", q, h @ params["k"])
        out = jnp.einsum("bhts,bsw->bthw", jax.nn.softmax(logits), h @ params["v"])
        h = h + out.reshape(n.batch, n.time, -1) @ params["out"]
        return cross_entropy(h.mean(1) @ params["last"], y)

    table = """
        in    [features], stream
        q     stream, heads*keys
        k     stream, keys
        v     stream, values
        out   heads*values, stream
        last  stream, [classes]
    """
    return problem(n, loss, table, sequences(n))


@case(trap=True, batch=3, time=4, features=5, stream=6, heads=2, keys=3, values=4, classes=2)
def talking_heads(n):
    """Heads mix before the softmax and after it."""

    def loss(params, x, y):
        h = x @ params["in"]
        q, k, v = (_heads(h @ params[name], n.heads) for name in "qkv")
        logits = jnp.einsum("bthw,bshw,hg->bgts", q, k, params["before"])
        weights = jnp.einsum("bgts,gf->bfts", jax.nn.softmax(logits), params["after"])
        out = jnp.einsum("bfts,bsfw->btfw", weights, v).reshape(n.batch, n.time, -1)
        return cross_entropy(jnp.tanh(h + out @ params["out"]).mean(1) @ params["last"], y)

    table = """
        in      [features], stream
        q       stream, heads*keys
        k       stream, heads*keys
        before  heads, heads1
        after   heads1, heads2
        v       stream, heads2*values
        out     heads2*values, stream
        last    stream, [classes]
    """
    return problem(n, loss, table, sequences(n))


@case(trap=True, batch=3, time=4, features=5, stream=6, heads=2, keys=3, values=4, classes=2)
def relative_positions(n):
    """A learned bias for every distance and head."""

    def loss(params, x, y):
        h = x @ params["in"]
        q, k, v = (_heads(h @ params[name], n.heads) for name in "qkv")
        distance = np.arange(n.time)[:, None] - np.arange(n.time) + n.time - 1
        bias = params["bias"][distance].transpose(2, 0, 1)
        h = jnp.tanh(h + _attend(q, k, v, lambda logits: logits + bias) @ params["out"])
        return cross_entropy(h.mean(1) @ params["last"], y)

    table = """
        in    [features], stream
        q     stream, heads*keys
        k     stream, heads*keys
        v     stream, heads*values
        bias  [distances], heads
        out   heads*values, stream
        last  stream, [classes]
    """
    n.distances = 2 * n.time - 1
    return problem(n, loss, table, sequences(n))


@case(trap=True, batch=3, time=4, features=5, heads=2, keys=3, values=4, classes=2)
def linear_attention(n):
    """Keys and values are summed before queries read them."""

    def loss(params, x, y):
        h = x @ params["in"]
        q, k, v = (_heads(h @ params[name], n.heads) for name in "qkv")
        q, k = jax.nn.elu(q) + 1, jax.nn.elu(k) + 1
        memory = jnp.cumsum(jnp.einsum("bthk,bthv->bthkv", k, v), axis=1)
        out = jnp.einsum("bthk,bthkv->bthv", q, memory)
        out = out / (jnp.einsum("bthk,bthk->bth", q, jnp.cumsum(k, 1))[..., None] + 1)
        h = jnp.tanh(out.reshape(n.batch, n.time, -1) @ params["out"])
        return cross_entropy(h.mean(1) @ params["last"], y)

    table = """
        in    [features], stream
        q     stream, heads*keys
        k     stream, heads*keys
        v     stream, heads*values
        out   heads*values, hidden
        last  hidden, [classes]
    """
    n.stream, n.hidden = 6, 7
    return problem(n, loss, table, sequences(n))


@case(trap=True, batch=3, time=4, features=5, stream=6, latents=3, keys=2, values=7, classes=4)
def latent_queries(n):
    """Learned queries that read the data and are pooled: they are a set."""

    def loss(params, x, y):
        h = jnp.tanh(x @ params["in"])
        q, k, v = params["latents"] @ params["q"], h @ params["k"], h @ params["v"]
        weights = jax.nn.softmax(jnp.einsum("lw,btw->blt", q, k))
        z = params["latents"] + jnp.einsum("blt,btw->blw", weights, v) @ params["out"]
        return cross_entropy(jnp.max(jnp.tanh(z), axis=1) @ params["last"], y)

    table = """
        in       [features], stream
        latents  latents, hidden
        q        hidden, keys
        k        stream, keys
        v        stream, values
        out      values, hidden
        last     hidden, [classes]
    """
    n.hidden = n.stream + 2
    return problem(n, loss, table, sequences(n))


@case(trap=True, batch=3, time=4, features=5, prompts=3, keys=2, classes=4)
def soft_prompts(n):
    """Learned tokens before those of the data: without positions, they are a set."""

    def loss(params, x, y):
        prompts = jnp.broadcast_to(params["prompts"], (n.batch, n.prompts, n.features))
        x = jnp.concatenate([prompts, x], axis=1)
        weights = jax.nn.softmax(jnp.einsum("btk,bsk->bts", x @ params["q"], x @ params["k"]))
        return cross_entropy(jnp.tanh(weights @ x).mean(1) @ params["last"], y)

    table = """
        prompts  prompts, [features]
        q        [features], keys
        k        [features], keys
        last     [features], [classes]
    """
    return problem(n, loss, table, sequences(n))
