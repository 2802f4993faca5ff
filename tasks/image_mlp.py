"""The paper's first inner task: an MLP that classifies 8x8 images."""

from collections.abc import Sequence

import haiku as hk
import jax

from unf_lopt import ecosystem
from unf_lopt.ecosystem.gin_decorator import configurable
from unf_lopt.tasks.cross_entropy import ImageTask, require_several_sizes
from unf_lopt.tasks.data import digits_datasets
from unf_lopt.tasks.data.prepared import require_prepared
from unf_lopt.tasks.registration import family_of


class ImageMLP(ImageTask):
    """Cross-entropy of a ReLU MLP on flattened images; its parameters are a Haiku MLP's.

    With image pixels x in R^p, widths h_1..h_L and c classes, layer i is `w_i` [h_(i-1), h_i] and
    `b_i` [h_i], under `mlp/~/linear_i`. Permuting the units of a hidden layer, together in the
    columns of `w_i`, in `b_i` and in the rows of `w_(i+1)`, leaves the loss as it is.

    Args:
      datasets: as of `ImageTask`.
      hidden_sizes: the widths of the hidden layers.
      name: what the task is called in logs and summaries.

    Raises:
      ValueError: a width is not a positive integer.
    """

    def __init__(
        self, datasets: "ecosystem.Datasets", hidden_sizes: Sequence[int], name: str = "ImageMLP"
    ):
        require_several_sizes("ImageMLP", hidden_sizes=hidden_sizes)

        def network(image: jax.Array, num_classes: int) -> jax.Array:
            return hk.nets.MLP((*hidden_sizes, num_classes))(hk.Flatten()(image))

        super().__init__(datasets, network, name)


@configurable()
def digits_mlp(
    hidden_sizes: Sequence[int] = (32,), batch_size: int = 128, data_seed: int = 0
) -> ImageMLP:
    """A ReLU MLP on scikit-learn's handwritten digits, 8x8 pixels, with readers of its own.

    Args:
      hidden_sizes: the widths of the hidden layers; (32,) is the paper's 64-32-10.
      batch_size: images a batch, at most 256.
      data_seed: seed of the order of batches; the splits do not depend on it.

    Returns:
      The task.
    """
    require_several_sizes("digits_mlp", hidden_sizes=hidden_sizes)
    widths = "x".join(map(str, hidden_sizes))
    name = f"ImageMLP_Digits8_Relu{widths}"
    return ImageMLP(digits_datasets(batch_size, data_seed), hidden_sizes, name=name)


digits_mlp_family = family_of(digits_mlp)


@configurable()
def ImageMLP_Digits8_Relu32(data_seed: int = 0) -> ImageMLP:
    """The paper's 64-32-10 MLP on 8x8 digits, batch 128, named as the ecosystem names its tasks.

    Args:
      data_seed: seed of the order of batches.

    Returns:
      The task.
    """
    return digits_mlp((32,), 128, data_seed)


@configurable()
def fashion_mnist_mlp() -> "ecosystem.Task":
    """The ecosystem's `ImageMLP_FashionMnist8_Relu32`, once its data are known to be there.

    The paper's MLP on FashionMNIST at 8x8. Where the data are missing, the ecosystem's own name
    would start a download; this one never does. Its readers cannot be positioned.

    Returns:
      The ecosystem's task.

    Raises:
      FileNotFoundError: FashionMNIST has not been prepared on this machine.
    """
    require_prepared("fashion_mnist", stand_in="ImageMLP_Digits8_Relu32")
    return ecosystem.load("tasks.fixed.image_mlp").ImageMLP_FashionMnist8_Relu32()
