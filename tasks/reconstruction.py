"""Inner tasks that reconstruct their inputs: autoencoders, denoising and variational ones too."""

from __future__ import annotations

from collections.abc import Sequence

import haiku as hk
import jax
import jax.numpy as jnp
import optax

from unf_lopt import ecosystem
from unf_lopt._options import check_option
from unf_lopt.tasks.cross_entropy import Batch, Params, require_several_sizes
from unf_lopt.tasks.networks import activation_of

KINDS = ("plain", "denoising", "variational")
_NOISE = 0.3  # standard deviation of a denoising autoencoder's, in units of a pixel's range


class ImageAutoencoder(ecosystem.Task):
    """Cross-entropy of the pixels, in nats a pixel, that a dense autoencoder gives back.

    With x in [0, 1]^p the loss is the mean over pixels of −x·log y − (1 − x)·log(1 − y). A
    variational one adds the divergence of its code from a standard normal distribution, over p.

    Args:
      datasets: batches as of `ImageTask`.
      sizes: the widths of the hidden layers; the narrowest is the code.
      activation: a key of `ACTIVATIONS`.
      kind: in `KINDS`; "denoising" is of pixels with normal noise.
      name: what the task is called in logs and summaries.

    Raises:
      ValueError: there are no widths, one is not a positive integer, or there is no such activation
        or kind.
    """

    def __init__(
        self,
        datasets: ecosystem.Datasets,
        sizes: Sequence[int],
        activation: str = "relu",
        kind: str = "plain",
        name: str = "ImageAutoencoder",
    ):
        super().__init__()
        require_several_sizes("ImageAutoencoder", sizes=sizes)
        if not len(sizes):
            raise ValueError("ImageAutoencoder(sizes=()): the code's width at least is needed.")
        check_option("kind", kind, KINDS)
        self.datasets = datasets
        self._network = hk.transform(self._loss)
        self._sizes, self._activation, self._kind = tuple(sizes), activation_of(activation), kind
        self._name = name

    @property
    def name(self) -> str:
        """What the task is called in logs and summaries."""
        return self._name

    def init(self, key: jax.Array) -> Params:
        """The initial parameters that the network's modules give themselves."""
        image = self.datasets.abstract_batch["image"]
        return self._network.init(key, jnp.zeros(image.shape, image.dtype))

    def loss(self, params: Params, key: jax.Array, data: Batch) -> jax.Array:
        """Mean over images and pixels, a scalar; noise is drawn from `key`."""
        return self._network.apply(params, key, data["image"])

    def normalizer(self, loss: jax.Array) -> jax.Array:
        """The loss in [0, 2]; nan is the top."""
        return jnp.nan_to_num(jnp.clip(loss, 0, 2), nan=2.0)

    def _loss(self, image: jax.Array) -> jax.Array:
        pixels = hk.Flatten()(image)
        count, x, extra = pixels.shape[-1], pixels, jnp.zeros(())
        code = self._sizes.index(min(self._sizes))
        if self._kind == "denoising":
            x = pixels + _NOISE * jax.random.normal(hk.next_rng_key(), x.shape)
        for number, size in enumerate(self._sizes):
            if number == code and self._kind == "variational":
                x, extra = self._code(x, size)
            else:
                x = self._activation(hk.Linear(size)(x))
        logits = hk.Linear(count)(x)
        return optax.sigmoid_binary_cross_entropy(logits, pixels).mean() + extra / count

    def _code(self, x: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
        """A normal code, and the mean of its divergence from the standard one, in nats."""
        mean, log_std = hk.Linear(size, name="mean")(x), hk.Linear(size, name="log_std")(x)
        noise = jax.random.normal(hk.next_rng_key(), mean.shape)
        divergence = 0.5 * (mean**2 + jnp.exp(2 * log_std) - 1) - log_std
        return mean + jnp.exp(log_std) * noise, divergence.sum(axis=-1).mean()
