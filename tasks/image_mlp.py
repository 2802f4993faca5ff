"""The paper's first inner task: an MLP that classifies 8x8 images."""

import math
from collections.abc import Sequence

import gin
import haiku as hk
import jax
import jax.numpy as jnp

from unf_lopt import ecosystem
from unf_lopt.tasks.data import digits_datasets
from unf_lopt.tasks.data.prepared import require_prepared

Params = dict[str, dict[str, jax.Array]]
Batch = dict[str, jax.Array]


class ImageMLP(ecosystem.Task):
    """Cross-entropy of a ReLU MLP on flattened images; its parameters are a Haiku MLP's.

    With image pixels x in R^p, widths h_1..h_L and c classes, layer i is `w_i` [h_(i-1), h_i] and
    `b_i` [h_i], under `mlp/~/linear_i`. Permuting the units of a hidden layer, together in the
    columns of `w_i`, in `b_i` and in the rows of `w_(i+1)`, leaves the loss as it is.

    Args:
      datasets: batches `{"image": [batch, height, width, channels] float32, "label": [batch]
        int32}`, with `abstract_batch` and `extra_info["num_classes"]`.
      hidden_sizes: the widths of the hidden layers.
      name: what the task is called in logs and summaries.

    Raises:
      ValueError: a width is not a positive integer.
    """

    def __init__(
        self, datasets: "ecosystem.Datasets", hidden_sizes: Sequence[int], name: str = "ImageMLP"
    ):
        super().__init__()
        if not all(isinstance(size, int) and size > 0 for size in hidden_sizes):
            raise ValueError(
                f"ImageMLP(hidden_sizes={hidden_sizes!r}): pass the widths of the hidden layers, "
                "positive integers such as (32,)."
            )
        self.datasets = datasets
        self._hidden_sizes = tuple(hidden_sizes)
        self._num_classes = datasets.extra_info["num_classes"]
        self._name = name
        sizes = (*self._hidden_sizes, self._num_classes)
        self._network = hk.without_apply_rng(
            hk.transform(lambda image: hk.nets.MLP(sizes)(hk.Flatten()(image)))
        )

    @property
    def name(self) -> str:
        """What the task is called in logs and summaries."""
        return self._name

    def init(self, key: jax.Array) -> Params:
        """Haiku's initial parameters: truncated normal weights of scale 1/sqrt(inputs), no bias."""
        image = self.datasets.abstract_batch["image"]
        return self._network.init(key, jnp.zeros(image.shape, image.dtype))

    def loss(self, params: Params, key: jax.Array, data: Batch) -> jax.Array:
        """Mean cross-entropy in nats, a scalar; `key` is not used."""
        return self.loss_and_aux(params, key, data)[0]

    def loss_and_aux(
        self, params: Params, key: jax.Array, data: Batch
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The loss, and `{"accuracy": share of the batch classified correctly}`."""
        del key
        logits = self._network.apply(params, data["image"])
        labels = jax.nn.one_hot(data["label"], self._num_classes)
        losses = ecosystem.softmax_cross_entropy(logits=logits, labels=labels)
        correct = jnp.argmax(logits, axis=-1) == data["label"]
        return jnp.mean(losses), {"accuracy": jnp.mean(correct)}

    def normalizer(self, loss: jax.Array) -> jax.Array:
        """The loss in [0, 1.5 ln(classes)], as in the ecosystem's image tasks; nan is the top."""
        top = 1.5 * math.log(self._num_classes)
        return jnp.nan_to_num(jnp.clip(loss, 0, top), nan=top)


@gin.configurable(module="unf_lopt")
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
    widths = "x".join(map(str, hidden_sizes))
    name = f"ImageMLP_Digits8_Relu{widths}"
    return ImageMLP(digits_datasets(batch_size, data_seed), hidden_sizes, name=name)


@gin.configurable(module="unf_lopt")
def digits_mlp_family(
    hidden_sizes: Sequence[int] = (32,), batch_size: int = 128, data_seed: int = 0
) -> "ecosystem.TaskFamily":
    """The family that always gives `digits_mlp`, for what takes a family.

    Args:
      hidden_sizes: as of `digits_mlp`.
      batch_size: as of `digits_mlp`.
      data_seed: as of `digits_mlp`.

    Returns:
      The family, with the readers of its one task.
    """
    return ecosystem.single_task_to_family(digits_mlp(hidden_sizes, batch_size, data_seed))


@gin.configurable(module="unf_lopt")
def ImageMLP_Digits8_Relu32(data_seed: int = 0) -> ImageMLP:
    """The paper's 64-32-10 MLP on 8x8 digits, batch 128, named as the ecosystem names its tasks.

    Args:
      data_seed: seed of the order of batches.

    Returns:
      The task.
    """
    return digits_mlp((32,), 128, data_seed)


@gin.configurable(module="unf_lopt")
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
