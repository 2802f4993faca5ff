"""Networks of many kinds for the held-out suite, each a function of its inputs in Haiku."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import haiku as hk
import jax
import jax.numpy as jnp

from unf_lopt._options import check_option
from unf_lopt.tasks.convolution import PatchConv2D

Activation = Callable[[jax.Array], jax.Array]
Network = Callable[[jax.Array, int], jax.Array]  # from inputs and the number of classes to logits

ACTIVATIONS: dict[str, Activation] = {
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "leaky_relu": jax.nn.leaky_relu,
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "softplus": jax.nn.softplus,
    "swish": jax.nn.swish,
    "tanh": jnp.tanh,
}

NORMS = ("batch", "group", "layer", "rms")


def activation_of(name: str) -> Activation:
    """The activation of a name in `ACTIVATIONS`.

    Raises:
      ValueError: there is none of this name.
    """
    check_option("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]


def normalized(x: jax.Array, kind: str | None) -> jax.Array:
    """Layer, root-mean-square, group or batch normalization with learned scales; None for none.

    That of the batch takes the statistics of the batch at hand, in evaluations too.

    Raises:
      ValueError: there is no such kind.
    """
    if kind is None:
        return x
    check_option("norm", kind, NORMS)
    if kind == "rms":
        return hk.RMSNorm(axis=-1)(x)
    if kind == "layer":
        return hk.LayerNorm(axis=-1, create_scale=True, create_offset=True)(x)
    if kind == "group":
        return hk.GroupNorm(groups=4)(x)
    axes = tuple(range(x.ndim - 1))  # "batch"
    scale = hk.get_parameter("batch_scale", x.shape[-1:], init=jnp.ones)
    offset = hk.get_parameter("batch_offset", x.shape[-1:], init=jnp.zeros)
    centred = x - x.mean(axes)
    return centred * jax.lax.rsqrt(jnp.mean(centred**2, axes) + 1e-5) * scale + offset


class Normalized(hk.Module):
    """A normalization in a module of its own, so that several have parameters of their own.

    Args:
      kind: as of `normalized`.
    """

    def __init__(self, kind: str | None):
        super().__init__(name="normalized")
        self._kind = kind

    def __call__(self, x: jax.Array) -> jax.Array:
        """The same shape."""
        return normalized(x, self._kind)


def mlp(
    sizes: Sequence[int], activation: str = "relu", norm: str | None = None, residual: bool = False
) -> Network:
    """Dense layers; residual ones add to a stream of the first layer's width."""
    act = activation_of(activation)

    def network(inputs: jax.Array, classes: int) -> jax.Array:
        x = hk.Flatten()(inputs)
        for number, size in enumerate(sizes):
            made = act(Normalized(norm)(hk.Linear(size)(x)))
            x = x + made if residual and number else made
        return hk.Linear(classes)(x)

    return network


def linear(pool: int) -> Network:
    """A linear model of the means over squares of an image, ``pool`` pixels wide."""

    def network(image: jax.Array, classes: int) -> jax.Array:
        means = hk.avg_pool(image, (pool, pool, 1), (pool, pool, 1), "VALID")
        return hk.Linear(classes)(hk.Flatten()(means))

    return network


def conv(
    channels: Sequence[int],
    activation: str = "relu",
    norm: str | None = None,
    residual: bool = False,
    kernel: int = 3,
) -> Network:
    """Convolutions, the first with stride 2, global average pool, and a dense layer."""
    act = activation_of(activation)

    def network(image: jax.Array, classes: int) -> jax.Array:
        x = image
        for number, size in enumerate(channels):
            made = PatchConv2D(size, kernel_size=kernel, stride=1 if number else 2)(x)
            made = act(Normalized(norm)(made))
            x = x + made if residual and number else made
        return hk.Linear(classes)(x.mean(axis=(1, 2)))

    return network


def experts(count: int, hidden: int) -> Network:
    """A mixture: dense networks of one hidden layer, mixed by a softmax of the input."""

    def network(inputs: jax.Array, classes: int) -> jax.Array:
        x = hk.Flatten()(inputs)
        weights = jax.nn.softmax(hk.Linear(count, name="gate")(x))
        init = hk.initializers.VarianceScaling(1.0)
        first = hk.get_parameter("first", (count, x.shape[-1], hidden), init=init)
        last = hk.get_parameter("last", (count, hidden, classes), init=init)
        made = jnp.einsum("bch,cho->bco", jax.nn.relu(jnp.einsum("bi,cih->bch", x, first)), last)
        return jnp.einsum("bc,bco->bo", weights, made)

    return network


def patches(blocks: int, width: int, heads: int, norm: str = "layer") -> Network:
    """A Vision Transformer on patches of 2x2 pixels, with learned positions."""

    def network(image: jax.Array, classes: int) -> jax.Array:
        batch, height, _, _ = image.shape
        x = image.reshape(batch, height // 2, 2, height // 2, 2).transpose(0, 1, 3, 2, 4)
        x = hk.Linear(width)(x.reshape(batch, -1, 4))
        x += hk.get_parameter("positions", x.shape[1:], init=hk.initializers.TruncatedNormal(0.1))
        for _ in range(blocks):
            x = _block(x, heads, norm, mask=None)
        return hk.Linear(classes)(Normalized(norm)(x).mean(axis=1))

    return network


def mixer(blocks: int, width: int) -> Network:
    """An MLP-Mixer on the rows of an image: dense layers over rows and over channels by turns."""

    def network(image: jax.Array, classes: int) -> jax.Array:
        x = hk.Linear(width)(image[..., 0])
        for _ in range(blocks):
            over = Normalized("layer")(x).swapaxes(1, 2)
            x += hk.nets.MLP((2 * width, x.shape[1]), activation=jax.nn.gelu)(over).swapaxes(1, 2)
            x += hk.nets.MLP((2 * width, width), activation=jax.nn.gelu)(Normalized("layer")(x))
        return hk.Linear(classes)(x.mean(axis=1))

    return network


def recurrent(core: str, sizes: Sequence[int], embedding: int = 24) -> Network:
    """Layers of GRU, LSTM or plain tanh recurrence over embedded tokens."""
    cores = {"gru": hk.GRU, "lstm": hk.LSTM, "vanilla": hk.VanillaRNN}

    def network(tokens: jax.Array, vocabulary: int) -> jax.Array:
        x = hk.Embed(vocabulary, embedding)(tokens)
        for size in sizes:
            own = cores[core](size)
            x, _ = hk.dynamic_unroll(own, x, own.initial_state(len(tokens)), time_major=False)
        return hk.Linear(vocabulary)(x)

    return network


def transformer(blocks: int, width: int, heads: int, norm: str = "layer") -> Network:
    """A decoder with learned positions; the width of a head is the width over the heads."""

    def network(tokens: jax.Array, vocabulary: int) -> jax.Array:
        x = hk.Embed(vocabulary, width)(tokens)
        x += hk.get_parameter("positions", x.shape[1:], init=hk.initializers.TruncatedNormal(0.1))
        mask = jnp.tril(jnp.ones((1, 1, x.shape[1], x.shape[1]), bool))
        for _ in range(blocks):
            x = _block(x, heads, norm, mask)
        return hk.Linear(vocabulary)(Normalized(norm)(x))

    return network


def window(context: int, embedding: int, hidden: int) -> Network:
    """Bengio's model: a dense network on the embeddings of the last few tokens."""

    def network(tokens: jax.Array, vocabulary: int) -> jax.Array:
        x = hk.Embed(vocabulary, embedding)(tokens)
        padded = jnp.pad(x, ((0, 0), (context - 1, 0), (0, 0)))
        length = x.shape[1]
        seen = [padded[:, place : place + length] for place in range(context)]
        x = jnp.tanh(hk.Linear(hidden)(jnp.concatenate(seen, axis=-1)))
        return hk.Linear(vocabulary)(x)

    return network


def bigram(embedding: int) -> Network:
    """The next token from the last one alone, by a product of two tables."""

    def network(tokens: jax.Array, vocabulary: int) -> jax.Array:
        return hk.Linear(vocabulary)(hk.Embed(vocabulary, embedding)(tokens))

    return network


def _block(x: jax.Array, heads: int, norm: str, mask: jax.Array | None) -> jax.Array:
    """Attention and a dense network, each added to the stream, normalized in front."""
    width, init = x.shape[-1], hk.initializers.VarianceScaling(1.0)
    seen = Normalized(norm)(x)
    attention = hk.MultiHeadAttention(heads, width // heads, w_init=init, model_size=width)
    x += attention(seen, seen, seen, mask=mask)
    return x + hk.nets.MLP((2 * width, width), activation=jax.nn.gelu)(Normalized(norm)(x))
