"""Suites of inner tasks that need no download: to train on, held out, and held out and large.

Each task is a line of `HELD_OUT`, `LARGE` or `TRAINING`: on the digits, on the documentation's
bytes, or of the ecosystem. No shipped theta was trained on a held-out one: they lie off the offline
tasks and the lines of `TRAINING`, in widths, depths, batches, activations, normalizations or
architecture.
"""

from __future__ import annotations

import fnmatch
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from unf_lopt import ecosystem
from unf_lopt.ecosystem.gin_decorator import configurable
from unf_lopt.tasks import networks as nets
from unf_lopt.tasks.augmentation import augmented
from unf_lopt.tasks.cross_entropy import ImageTask, LanguageModelTask
from unf_lopt.tasks.data import digits_datasets, docs_datasets
from unf_lopt.tasks.reconstruction import ImageAutoencoder
from unf_lopt.tasks.rnn_lm import docs_rnn
from unf_lopt.tasks.transformer_lm import docs_transformer

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


def _in_other_units(maker: Maker, level: str = "tensor", largest: float = 10.0) -> Maker:
    """Every inner run with weights in another unit, up to ``largest``, as of :func:`augmented`."""
    return lambda name: augmented(_as_family(maker(name), name), math.log(largest), level)


HELD_OUT: dict[str, Maker] = {
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
    "digits_conv_10_relu": _digits(nets.conv((10,)), 32),
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

# Networks of a tenth to three million parameters, some hundred times those that a theta was trained
# on. For a GPU: two cores take hours for them.
LARGE: dict[str, Maker] = {
    "digits_mlp_512x512": _digits(nets.mlp((512, 512)), 128),
    "digits_conv_64x64x64": _digits(nets.conv((64,) * 3), 128),
    "bytes_lstm_256": _bytes(nets.recurrent("lstm", (256,)), 64, 32),
    "bytes_transformer_4x256": _bytes(nets.transformer(4, 256, 8), 128, 8),
}


# What one theta for anything is trained on: the kinds of the held-out suite in other sizes, some in
# units in which no step size is known beforehand.
TRAINING: dict[str, Maker] = {
    "linear_4x4": _digits(nets.linear(2), 32),
    "mlp_32": _digits(nets.mlp((32,)), 128),
    "mlp_24_units": _in_other_units(_digits(nets.mlp((24,)))),
    "mlp_32x16_unit": _in_other_units(_digits(nets.mlp((32, 16))), "global"),
    "mlp_48x48_gelu": _digits(nets.mlp((48, 48), "gelu"), 32),
    "mlp_32_sigmoid": _digits(nets.mlp((32,), "sigmoid")),
    "conv_8_units": _in_other_units(_digits(nets.conv((8,)), 32)),
    "conv_8x12": _digits(nets.conv((8, 12)), 32),
    "conv_8x8x8_units": _in_other_units(_digits(nets.conv((8,) * 3))),
    "conv_12x12_gelu": _digits(nets.conv((12, 12), "gelu"), 32),
    "conv_8_5x5": _digits(nets.conv((8,), kernel=5), 32),
    "conv_groupnorm": _digits(nets.conv((8, 8), "relu", "group")),
    "conv_batchnorm": _digits(nets.conv((12,), "relu", "batch"), 32),
    "conv_residual": _digits(nets.conv((8,) * 3, "gelu", residual=True)),
    "patches_4heads": _digits(nets.patches(1, 24, 4), 32),
    "experts_8x8": _digits(nets.experts(8, 8)),
    "ae_linear": _autoencoder(12),
    "ae_denoising": _autoencoder(32, activation="tanh", kind="denoising"),
    "bigram": _bytes(nets.bigram(12), batch_size=32),
    "window": _bytes(nets.window(3, 8, 32), batch_size=32),
    "gru_24": _bytes(nets.recurrent("gru", (24,))),
    "rnn_unit": _in_other_units(lambda name: docs_rnn(batch_size=16), "global", 3.0),
    "transformer_6heads": _bytes(nets.transformer(1, 24, 6), 12, 16),
    "transformer_units": _in_other_units(lambda name: docs_transformer(batch_size=8), largest=3.0),
    # Wider and deeper ones, so that step sizes are known as powers of the width.
    "mlp_256x256": _digits(nets.mlp((256, 256)), 32),
    "lstm_128": _bytes(nets.recurrent("lstm", (128,)), 16, 8),
    "transformer_4x64": _bytes(nets.transformer(4, 64, 2), 16, 4),
    "transformer_2x96": _bytes(nets.transformer(2, 96, 3), 16, 4),
}


def _as_family(made: Any, name: str) -> ecosystem.TaskFamily:
    if isinstance(made, ecosystem.Task):
        return ecosystem.single_task_to_family(made, name=name)
    made._name = name  # the ecosystem's families take none
    return made


def suite_family(name: str, suite: Mapping[str, Maker] = HELD_OUT) -> ecosystem.TaskFamily:
    """The task family of a line of a suite, with readers of its own.

    Raises:
      ValueError: there is no such line.
    """
    if name not in suite:
        raise ValueError(f"only={name!r}: no such task in the suite; there are {', '.join(suite)}.")
    return _as_family(suite[name](name), name)


def _selected(suite: Mapping[str, Maker], only: Sequence[str]) -> tuple[ecosystem.TaskFamily, ...]:
    for pattern in only:
        if not fnmatch.filter(suite, pattern):
            suite_family(pattern, suite)  # which says what there is
    wanted = functools.reduce(set.union, (fnmatch.filter(suite, own) for own in only), set())
    return tuple(suite_family(name, suite) for name in suite if name in wanted)


@configurable()
def held_out(
    only: Sequence[str] = ("*",), *, large: bool = False
) -> tuple[ecosystem.TaskFamily, ...]:
    """The held-out suite, or some of it, for `evaluate.tasks`.

    Args:
      only: names of `HELD_OUT`, or patterns such as ``"bytes_*"``.
      large: whether they are of `LARGE`, the held-out tasks of a size for GPUs, instead.

    Returns:
      The task families, in the order of the table.

    Raises:
      ValueError: a name or pattern fits none.
    """
    return _selected(LARGE if large else HELD_OUT, only)


@configurable()
def training_suite(only: Sequence[str] = ("*",)) -> tuple[ecosystem.TaskFamily, ...]:
    """Many kinds of task to train one theta on, or some of them, for `train.task_families`.

    Args:
      only: names of `TRAINING`, or patterns such as ``"conv_*"``.

    Returns:
      The task families, in the order of the table.

    Raises:
      ValueError: a name or pattern fits none.
    """
    return _selected(TRAINING, only)
