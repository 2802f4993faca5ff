"""The paper's second inner task: a small convolutional network that classifies images."""

from collections.abc import Sequence

import haiku as hk
import jax
import jax.numpy as jnp

from unf_lopt import ecosystem
from unf_lopt.ecosystem.gin_decorator import configurable
from unf_lopt.tasks.convolution import PatchConv2D
from unf_lopt.tasks.cross_entropy import ImageTask, require_several_sizes
from unf_lopt.tasks.data import digits_datasets
from unf_lopt.tasks.data.prepared import require_prepared
from unf_lopt.tasks.registration import family_of


class ImageCNN(ImageTask):
    """Cross-entropy of 3x3 convolutions with ReLU, global average pool and a linear layer.

    With channels c_0 (the images' colours), c_1..c_L, layer i is `w` [3, 3, c_(i-1), c_i] and
    `b` [c_i], under `conv2_d`, `conv2_d_1`, ...; then `linear` [c_L, classes]. Permuting the
    channels c_i, together in layer i and in the inputs of layer i + 1, leaves the loss as it is.

    The network is that of the ecosystem's convolutional tasks (such as
    `Conv_Cifar10_16_32x64x64`): the first convolution has stride 2, all pad with zeros to keep
    the size.

    Args:
      datasets: as of `ImageTask`.
      channels: the channels of the convolutions.
      name: what the task is called in logs and summaries.

    Raises:
      ValueError: a number of channels is not a positive integer.
    """

    def __init__(
        self, datasets: "ecosystem.Datasets", channels: Sequence[int], name: str = "ImageCNN"
    ):
        require_several_sizes("ImageCNN", channels=channels)

        def network(image: jax.Array, num_classes: int) -> jax.Array:
            features = image
            for layer, size in enumerate(channels):
                convolution = PatchConv2D(size, kernel_size=3, stride=1 if layer else 2)
                features = jax.nn.relu(convolution(features))
            return hk.Linear(num_classes)(jnp.mean(features, axis=(1, 2)))

        super().__init__(datasets, network, name)


@configurable()
def digits_cnn(
    channels: Sequence[int] = (16, 32), batch_size: int = 128, data_seed: int = 0
) -> ImageCNN:
    """A convolutional network on scikit-learn's handwritten digits, 8x8 pixels of one colour.

    Args:
      channels: the channels of the convolutions; (16, 32) are the paper's.
      batch_size: images a batch, at most 256.
      data_seed: seed of the order of batches; the splits do not depend on it.

    Returns:
      The task, with readers of its own.
    """
    require_several_sizes("digits_cnn", channels=channels)
    name = f"Conv_Digits8_{'x'.join(map(str, channels))}"
    return ImageCNN(digits_datasets(batch_size, data_seed), channels, name=name)


digits_cnn_family = family_of(digits_cnn)


@configurable()
def Conv_Digits8_16x32(data_seed: int = 0) -> ImageCNN:
    """The paper's CNN on 8x8 digits, batch 128, named as the ecosystem names its tasks.

    Args:
      data_seed: seed of the order of batches.

    Returns:
      The task.
    """
    return digits_cnn((16, 32), 128, data_seed)


@configurable()
def cifar10_cnn() -> ImageCNN:
    """The paper's CNN: CIFAR-10 at 16x16, channels 16 and 32, batch 128.

    The data are the ecosystem's `cifar10_datasets`, whose readers cannot be positioned.

    Returns:
      The task.

    Raises:
      FileNotFoundError: CIFAR-10 has not been prepared on this machine; nothing is downloaded.
    """
    require_prepared("cifar10", stand_in="Conv_Digits8_16x32")
    images = ecosystem.load("tasks.datasets.image")
    datasets = images.cifar10_datasets(batch_size=128, image_size=(16, 16))
    return ImageCNN(datasets, (16, 32), name="Conv_Cifar10_16_16x32")


Conv_Cifar10_16_16x32 = configurable("Conv_Cifar10_16_16x32")(cifar10_cnn)
