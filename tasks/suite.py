"""The held-out suite: inner tasks for evaluation that no shipped theta was trained on.

Each is a line of `SUITE`. All are small, need no download, and lie off the offline tasks on which
optimizers are trained: other widths, depths, batches, activations, normalizations and
architectures, on the digits and on the documentation's bytes, and tasks of the ecosystem.
"""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Callable, Sequence
from typing import Any

from unf_lopt import ecosystem
from unf_lopt.ecosystem.gin_decorator import configurable
from unf_lopt.tasks import networks as nets
from unf_lopt.tasks.cross_entropy import ImageTask, LanguageModelTask
from unf_lopt.tasks.data import digits_datasets, docs_datasets
from unf_lopt.tasks.reconstruction import ImageAutoencoder

Maker = Callable[[str], Any]  # from a name to a task or a task family


def _digits(network: nets.Network, batch_size: int = 64) -> Maker:
    return lambda name: ImageTask(digits_datasets(batch_size), network, name)


def _bytes(network: nets.Network, length: int = 16, batch_size: int = 16) -> Maker:
    return lambda name: LanguageModelTask(docs_datasets(length, batch_size), network, name)


def _autoencoder(*sizes: int, batch_size: int = 64, **options: str) -> Maker:
    return lambda name: ImageAutoencoder(digits_datasets(batch_size), sizes, name=name, **options)


def _quadratic(kind: str, **options: Any) -> Maker:
    return lambda name: getattr(ecosystem.load("tasks.quadratics"), kind)(**options)


def _rescaled(network: nets.Network, scale: float) -> Maker:
    """The ecosystem's `ReparamWeights`: the same network, parameters in another unit."""

    def make(name: str) -> Any:
        task = _digits(network)(name)
        return ecosystem.load("tasks.task_augmentation").ReparamWeights(task, scale)

    return make


SUITE: dict[str, Maker] = {
    # Dense networks on digits.
    "digits_linear": _digits(nets.mlp(())),
    "digits_mlp_16_tanh": _digits(nets.mlp((16,), "tanh"), 128),
    "digits_mlp_128_relu": _digits(nets.mlp((128,)), 32),
    "digits_mlp_64x64_gelu": _digits(nets.mlp((64, 64), "gelu"), 16),
    "digits_mlp_48_sigmoid": _digits(nets.mlp((48,), "sigmoid"), 128),
    "digits_mlp_24x5_relu": _digits(nets.mlp((24,) * 5)),
    "digits_mlp_40x40_elu": _digits(nets.mlp((40, 40), "elu"), 256),
    "digits_mlp_layernorm": _digits(nets.mlp((64, 32), "swish", "layer")),
    "digits_mlp_batchnorm": _digits(nets.mlp((64, 32), "relu", "batch")),
    "digits_mlp_rmsnorm": _digits(nets.mlp((48, 48), "softplus", "rms")),
    "digits_mlp_residual": _digits(nets.mlp((32,) * 6, "gelu", residual=True)),
    "digits_mlp_rescaled": _rescaled(nets.mlp((36,), "leaky_relu"), 0.3),
    # Convolutions.
    "digits_conv_8_relu": _digits(nets.conv((8,)), 32),
    "digits_conv_16x16x16_gelu": _digits(nets.conv((16,) * 3, "gelu")),
    "digits_conv_5x5": _digits(nets.conv((12,), kernel=5)),
    "digits_conv_groupnorm": _digits(nets.conv((8, 16), "relu", "group"), 32),
    "digits_conv_batchnorm": _digits(nets.conv((8, 16), "swish", "batch")),
    "digits_conv_residual": _digits(nets.conv((12,) * 4, residual=True)),
    # Attention, mixers and mixtures on digits.
    "digits_patches_2heads": _digits(nets.patches(1, 16, 2), 32),
    "digits_patches_8heads": _digits(nets.patches(1, 32, 8, "rms"), 32),
    "digits_mixer": _digits(nets.mixer(2, 16)),
    "digits_experts_4x16": _digits(nets.experts(4, 16)),
    "digits_experts_12x6": _digits(nets.experts(12, 6), 128),
    # Autoencoders.
    "digits_ae_linear": _autoencoder(8),
    "digits_ae_32x8x32_tanh": _autoencoder(32, 8, 32, activation="tanh"),
    "digits_ae_64x16x64_relu": _autoencoder(64, 16, 64, batch_size=128),
    "digits_ae_denoising": _autoencoder(48, activation="gelu", kind="denoising"),
    "digits_vae_32x4x32": _autoencoder(32, 4, 32, activation="swish", kind="variational"),
    # Language models on bytes.
    "bytes_bigram": _bytes(nets.bigram(16), batch_size=32),
    "bytes_window": _bytes(nets.window(4, 12, 48), batch_size=32),
    "bytes_gru_32": _bytes(nets.recurrent("gru", (32,))),
    "bytes_gru_48_long": _bytes(nets.recurrent("gru", (48,)), 32, 8),
    "bytes_lstm_32": _bytes(nets.recurrent("lstm", (32,))),
    "bytes_lstm_24x24": _bytes(nets.recurrent("lstm", (24, 24)), 12, 16),
    "bytes_rnn_tanh": _bytes(nets.recurrent("vanilla", (48,)), 12, 32),
    "bytes_transformer_1head": _bytes(nets.transformer(1, 32, 1)),
    "bytes_transformer_2heads": _bytes(nets.transformer(2, 24, 2), 12, 16),
    "bytes_transformer_8heads": _bytes(nets.transformer(1, 48, 8, "rms"), 16, 8),
    # The ecosystem's that need no data.
    "quadratic_10": _quadratic("FixedDimQuadraticFamily", dim=10),
    "quadratic_sum": _quadratic("SumQuadraticTask"),
    "quadratic_noisy_16": _quadratic("NoisyQuadraticFamily", dim=16, cov=0.1),
}


def suite_family(name: str) -> ecosystem.TaskFamily:
    """The task family of a line of the suite, with readers of its own.

    Raises:
      ValueError: there is no such line.
    """
    if name not in SUITE:
        raise ValueError(f"held_out(only={name!r}): no such task; there are {', '.join(SUITE)}.")
    made = SUITE[name](name)
    if isinstance(made, ecosystem.Task):
        return ecosystem.single_task_to_family(made, name=name)
    made._name = name  # the ecosystem's families take none
    return made


@configurable()
def held_out(only: Sequence[str] = ("*",)) -> tuple[ecosystem.TaskFamily, ...]:
    """The suite, or some of it, for `evaluate.tasks`.

    Args:
      only: names of `SUITE`, or patterns such as ``"bytes_*"``.

    Returns:
      The task families, in the order of the table.

    Raises:
      ValueError: a name or pattern fits none.
    """
    for pattern in only:
        if not fnmatch.filter(SUITE, pattern):
            suite_family(pattern)  # which says what there is
    wanted = functools.reduce(set.union, (fnmatch.filter(SUITE, own) for own in only), set())
    return tuple(suite_family(name) for name in SUITE if name in wanted)
