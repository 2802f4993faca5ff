"""Models as Haiku and Flax write them."""

from __future__ import annotations

import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
from flax import nnx

from tests.symmetry.zoo.case import case, problem
from tests.symmetry.zoo.data import (
    classification,
    cross_entropy,
    labels,
    normal,
    ones_like,
    sequences,
    shapes_of,
)


def _left_out(**sizes):
    """For what this version of a library cannot build."""
    del sizes
    return lambda build: build


@case(batch=5, pixels=6, hidden=4, classes=3)
def haiku_mlp(n):
    net = hk.without_apply_rng(hk.transform(lambda x: hk.nets.MLP([n.hidden, n.classes])(x)))
    x, y = classification(n)
    params = shapes_of(net.init, jax.random.key(0), x)
    table = """
        mlp/~/linear_0/w  [pixels], hidden
        mlp/~/linear_0/b  hidden
        mlp/~/linear_1/w  hidden, [classes]
        mlp/~/linear_1/b  [classes]
    """
    return problem(
        n, lambda p, x, y: cross_entropy(net.apply(p, x), y), table, (x, y), params=params
    )


@(case if hasattr(nnx, "to_pure_dict") else _left_out)(batch=5, pixels=6, hidden=4, classes=3)
def nnx_mlp(n):
    class Model(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(n.pixels, n.hidden, rngs=rngs)
            self.norm = nnx.LayerNorm(n.hidden, rngs=rngs)
            self.last = nnx.Linear(n.hidden, n.classes, rngs=rngs)

        def __call__(self, x):
            return self.last(jax.nn.relu(self.norm(self.first(x))))

    graph, state = nnx.split(nnx.eval_shape(lambda: Model(nnx.Rngs(0))))

    def loss(params, x, y):
        return cross_entropy(nnx.merge(graph, params)(x), y)

    table = """
        first/kernel  [pixels], hidden
        first/bias    hidden
        norm/scale    hidden
        norm/bias     hidden
        last/kernel   hidden, [classes]
        last/bias     [classes]
    """
    return problem(n, loss, table, classification(n), params=nnx.to_pure_dict(state))


@case(batch=7, pixels=6, hidden=5, classes=3)
def haiku_batch_norm(n):
    def forward(x):
        h = hk.BatchNorm(True, True, 0.9)(hk.Linear(n.hidden)(x), is_training=True)
        return hk.Linear(n.classes)(jax.nn.relu(h))

    net = hk.without_apply_rng(hk.transform_with_state(forward))
    x, y = classification(n)
    params, state = shapes_of(net.init, jax.random.key(0), x)

    def loss(params, state, x, y):
        logits, state = net.apply(params, state, x)
        return cross_entropy(logits, y), state

    table = """
        linear/w           [pixels], hidden
        linear/b           hidden
        batch_norm/scale   1, hidden
        batch_norm/offset  1, hidden
        linear_1/w         hidden, [classes]
        linear_1/b         [classes]
    """
    state_table = """
        batch_norm/~/mean_ema/average  1, hidden
        batch_norm/~/mean_ema/hidden   1, hidden
        batch_norm/~/mean_ema/counter
        batch_norm/~/var_ema/average   1, hidden
        batch_norm/~/var_ema/hidden    1, hidden
        batch_norm/~/var_ema/counter
    """
    return problem(
        n,
        loss,
        table,
        (ones_like(state), x, y),
        params=params,
        state_argnum=0,
        state_table=state_table,
        without_effect=("linear/b",),
    )


@case(batch=7, pixels=6, hidden=5, classes=3)
def flax_batch_norm(n):
    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            h = nn.BatchNorm(use_running_average=False)(nn.Dense(n.hidden)(x))
            return nn.Dense(n.classes)(nn.relu(h))

    x, y = classification(n)
    variables = shapes_of(Model().init, jax.random.key(0), x)

    def loss(params, x, y, state):
        variables = {"params": params, "batch_stats": state}
        logits, new = Model().apply(variables, x, mutable=["batch_stats"])
        return cross_entropy(logits, y), new["batch_stats"], logits

    table = """
        Dense_0/kernel     [pixels], hidden
        Dense_0/bias       hidden
        BatchNorm_0/scale  hidden
        BatchNorm_0/bias   hidden
        Dense_1/kernel     hidden, [classes]
        Dense_1/bias       [classes]
    """
    return problem(
        n,
        loss,
        table,
        (x, y, ones_like(variables["batch_stats"])),
        params=variables["params"],
        state_argnum=2,
        has_aux=True,
        state_table="BatchNorm_0/mean  hidden\nBatchNorm_0/var   hidden",
        without_effect=("Dense_0/bias",),
    )


@case(trap=True, batch=3, time=4, features=5, stream=6, heads=2, width=3, classes=4)
def flax_attention(n):
    """Flax keeps heads and width as axes; out of one block without residual stream."""

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            qkv = n.heads * n.width
            attention = nn.MultiHeadDotProductAttention(
                n.heads, qkv_features=qkv, out_features=n.stream
            )
            return nn.Dense(n.classes)(attention(x, mask=nn.make_causal_mask(x[..., 0])).mean(1))

    x, y = sequences(n)
    params = shapes_of(Model().init, jax.random.key(0), x)["params"]
    cell = "MultiHeadDotProductAttention_0"
    table = f"""
        {cell}/query/kernel  [features], heads, keys
        {cell}/query/bias    heads, keys
        {cell}/key/kernel    [features], heads, keys
        {cell}/key/bias      heads, keys
        {cell}/value/kernel  [features], heads, values
        {cell}/value/bias    heads, values
        {cell}/out/kernel    heads, values, stream
        {cell}/out/bias      stream
        Dense_0/kernel       stream, [classes]
        Dense_0/bias         [classes]
    """
    return problem(
        n,
        lambda params, x, y: cross_entropy(Model().apply({"params": params}, x), y),
        table,
        (x, y),
        params=params,
        without_effect=(f"{cell}/key/bias",),
    )


@case(trap=True, batch=3, time=4, features=5, heads=2, width=3, stream=6, classes=4)
def haiku_attention(n):
    def forward(x):
        attention = hk.MultiHeadAttention(
            n.heads, n.width, w_init_scale=1.0, value_size=n.width, model_size=n.stream
        )
        return hk.Linear(n.classes, name="last")(attention(x, x, x).mean(1))

    net = hk.without_apply_rng(hk.transform(forward))
    x, y = sequences(n)
    cell = "multi_head_attention"
    table = f"""
        {cell}/query/w   [features], heads*keys
        {cell}/query/b   heads*keys
        {cell}/key/w     [features], heads*keys
        {cell}/key/b     heads*keys
        {cell}/value/w   [features], heads*values
        {cell}/value/b   heads*values
        {cell}/linear/w  heads*values, stream
        {cell}/linear/b  stream
        last/w           stream, [classes]
        last/b           [classes]
    """
    n.keys = n.values = n.width
    return problem(
        n,
        lambda params, x, y: cross_entropy(net.apply(params, x), y),
        table,
        (x, y),
        params=shapes_of(net.init, jax.random.key(0), x),
        without_effect=(f"{cell}/key/b",),
    )


@case(trap={"side": 4}, batch=2, side=4, colours=3, stream=6, heads=2, hidden=5, classes=7)
def flax_vision_transformer(n):
    """Flax: patches by a convolution, a class token, learned positions."""

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Conv(n.stream, (2, 2), (2, 2), padding="VALID", name="patch")(x)
            x = x.reshape(n.batch, -1, n.stream)
            token = self.param("token", nn.initializers.zeros, (1, 1, n.stream))
            x = jnp.concatenate([jnp.tile(token, (n.batch, 1, 1)), x], axis=1)
            x = x + self.param("positions", nn.initializers.zeros, (1, x.shape[1], n.stream))
            h = nn.LayerNorm(name="norm1")(x)
            width = n.heads * n.stream
            x = x + nn.MultiHeadDotProductAttention(n.heads, qkv_features=width, name="mix")(h)
            h = nn.gelu(nn.Dense(n.hidden, name="up")(nn.LayerNorm(name="norm2")(x)))
            x = x + nn.Dense(n.stream, name="down")(h)
            return nn.Dense(n.classes, name="last")(x[:, 0])

    x = normal(n.batch, n.side, n.side, n.colours)
    params = shapes_of(Model().init, jax.random.key(0), x)["params"]
    table = """
        patch/kernel      [rows], [columns], [colours], stream
        patch/bias        stream
        token             1, 1, stream
        positions         1, [places], stream
        norm1/scale       stream
        norm1/bias        stream
        mix/query/kernel  stream, heads, keys
        mix/query/bias    heads, keys
        mix/key/kernel    stream, heads, keys
        mix/key/bias      heads, keys
        mix/value/kernel  stream, heads, values
        mix/value/bias    heads, values
        mix/out/kernel    heads, values, stream
        mix/out/bias      stream
        norm2/scale       stream
        norm2/bias        stream
        up/kernel         stream, hidden
        up/bias           hidden
        down/kernel       hidden, stream
        down/bias         stream
        last/kernel       stream, [classes]
        last/bias         [classes]
    """
    return problem(
        n,
        lambda params, x, y: cross_entropy(Model().apply({"params": params}, x), y),
        table,
        (x, labels(n.batch, classes=n.classes)),
        params=params,
        without_effect=("mix/key/bias",),
    )


@case(trap=True, batch=3, tokens=4, features=5, stream=6, mixing=2, hidden=7, classes=3)
def flax_mixer(n):
    """Flax: tokens are places of the image, channels a stream."""

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x):
            h = nn.LayerNorm(name="norm1")(x).swapaxes(1, 2)
            h = nn.Dense(n.tokens, name="spread")(nn.gelu(nn.Dense(n.mixing, name="gather")(h)))
            x = x + h.swapaxes(1, 2)
            h = nn.gelu(nn.Dense(n.hidden, name="up")(nn.LayerNorm(name="norm2")(x)))
            return x + nn.Dense(n.stream, name="down")(h)

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Dense(n.stream, name="in")(x)
            for name in ("block0", "block1"):
                x = Block(name=name)(x)
            x = nn.LayerNorm(name="norm")(x)
            return nn.Dense(n.classes, name="last")(x.mean(1))

    x = normal(n.batch, n.tokens, n.features)
    params = shapes_of(Model().init, jax.random.key(0), x)["params"]
    layers = {
        "norm1": "stream",
        "norm2": "stream",
        "gather": "[tokens], mixing",
        "spread": "mixing, [tokens]",
        "up": "stream, hidden",
        "down": "hidden, stream",
    }
    lines = ["in/kernel  [features], stream", "in/bias  stream"]
    lines += ["norm/scale  stream", "norm/bias  stream"]
    lines += ["last/kernel  stream, [classes]", "last/bias  [classes]"]
    for i, (name, axes) in ((i, item) for i in range(2) for item in layers.items()):
        axes = axes.replace("mixing", f"mixing{i}").replace("hidden", f"hidden{i}")
        kind = "scale" if "norm" in name else "kernel"
        lines += [f"block{i}/{name}/{kind}  {axes}", f"block{i}/{name}/bias  {axes.split()[-1]}"]
    return problem(
        n,
        lambda params, x, y: cross_entropy(Model().apply({"params": params}, x), y),
        "\n".join(lines),
        (x, labels(n.batch, classes=n.classes)),
        params=params,
        # The same for all channels of a token, so that every layer norm takes it away.
        without_effect=("block0/spread/bias", "block1/spread/bias"),
    )


@case(batch=5, pixels=7, hidden=4, width=6, classes=3)
def haiku_dropout(n):
    """The rate is drawn on, with a key of the new kind."""

    def forward(x):
        h = jax.nn.relu(hk.Linear(n.hidden)(x))
        h = hk.dropout(hk.next_rng_key(), 0.3, h)
        h = jax.nn.relu(hk.Linear(n.width)(h))
        return hk.Linear(n.classes)(h)

    net = hk.transform(forward)
    x, y = normal(n.batch, n.pixels), labels(n.batch, classes=n.classes)
    table = """
        linear/w    [pixels], [hidden]
        linear/b    [hidden]
        linear_1/w  [hidden], width
        linear_1/b  width
        linear_2/w  width, [classes]
        linear_2/b  [classes]
    """
    return problem(
        n,
        lambda params, key, x, y: cross_entropy(net.apply(params, key, x), y),
        table,
        (jax.random.key(3), x, y),
        params=shapes_of(net.init, jax.random.key(0), x),
    )
