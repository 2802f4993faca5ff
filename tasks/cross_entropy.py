"""What the inner tasks have in common: the cross-entropy of a Haiku network's logits."""

import math
from collections.abc import Callable, MutableMapping, Sequence

import haiku as hk
import jax
import jax.numpy as jnp
import optax

from unf_lopt import ecosystem

Params = MutableMapping[str, MutableMapping[str, jax.Array]]
Batch = dict[str, jax.Array]


class CrossEntropyTask(ecosystem.Task):
    """Mean cross-entropy, in nats, of the logits that a network gives to every label.

    A subclass names the arrays of a batch: `inputs`, for the network, and `labels`, integers
    below `datasets.extra_info[classes]`; and `padding`, the value of inputs whose labels do not
    count, or None where all do.

    Args:
      datasets: the batches, with `abstract_batch` and `extra_info`.
      network: from the inputs [batch, ...] and the number of classes to logits [*labels.shape,
        classes]; calls Haiku modules.
      name: what the task is called in logs and summaries.
    """

    inputs: str
    labels: str
    classes: str
    padding: int | None = None

    def __init__(
        self,
        datasets: "ecosystem.Datasets",
        network: Callable[[jax.Array, int], jax.Array],
        name: str,
    ):
        super().__init__()
        self.datasets = datasets
        self._num_classes = datasets.extra_info[self.classes]
        self._network = hk.transform(lambda inputs: network(inputs, self._num_classes))
        self._name = name

    @property
    def name(self) -> str:
        """What the task is called in logs and summaries."""
        return self._name

    def init(self, key: jax.Array) -> Params:
        """The initial parameters that the network's modules give themselves."""
        inputs = self.datasets.abstract_batch[self.inputs]
        return self._network.init(key, jnp.zeros(inputs.shape, inputs.dtype))

    def loss(self, params: Params, key: jax.Array, data: Batch) -> jax.Array:
        """Mean cross-entropy in nats, a scalar; the result does not depend on `key`."""
        return self.loss_and_aux(params, key, data)[0]

    def loss_and_aux(
        self, params: Params, key: jax.Array, data: Batch
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The loss, and `{"accuracy": share of the labels that have the largest logit}`."""
        inputs, labels = data[self.inputs], data[self.labels]
        logits = self._network.apply(params, key, inputs)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        correct = jnp.argmax(logits, axis=-1) == labels
        counts = None if self.padding is None else inputs != self.padding
        return jnp.mean(losses, where=counts), {"accuracy": jnp.mean(correct, where=counts)}

    def normalizer(self, loss: jax.Array) -> jax.Array:
        """The loss in [0, 1.5 ln(classes)], as in the ecosystem's image tasks; nan is the top."""
        top = 1.5 * math.log(self._num_classes)
        return jnp.nan_to_num(jnp.clip(loss, 0, top), nan=top)


class ImageTask(CrossEntropyTask):
    """Classification of images.

    The batches are `{"image": [batch, height, width, channels] float32, "label": [batch] int32}`,
    with `extra_info["num_classes"]`.
    """

    inputs, labels, classes = "image", "label", "num_classes"


class LanguageModelTask(CrossEntropyTask):
    """Prediction of every next token of a text; from padding, token 0, nothing is predicted.

    The batches are `{"obs": [batch, length] int32, "target": [batch, length] int32}`, with
    `extra_info["vocab_size"]`.
    """

    inputs, labels, classes, padding = "obs", "target", "vocab_size", 0


def require_sizes(call: str, **sizes: int) -> None:
    """Checks sizes that a network was asked for.

    Args:
      call: what was called, for the message.
      **sizes: by the name of the argument.

    Raises:
      ValueError: a size is not a positive integer.
    """
    for name, value in sizes.items():
        _require_positive(call, name, value, (value,))


def require_several_sizes(call: str, **sizes: Sequence[int]) -> None:
    """Checks arguments that are one size for each layer.

    Args:
      call: what was called, for the message.
      **sizes: by the name of the argument.

    Raises:
      ValueError: an argument is no sequence, or a size is not a positive integer.
    """
    for name, value in sizes.items():
        is_several = isinstance(value, Sequence) and not isinstance(value, str)
        _require_positive(call, name, value, value if is_several else (None,))


def _require_positive(call: str, name: str, value: object, sizes: Sequence[object]) -> None:
    if not all(isinstance(size, int) and size >= 1 for size in sizes):
        raise ValueError(
            f"{call}({name}={value!r}): sizes are positive integers, such as 32, and "
            "several of them a tuple, such as (32,) or (16, 32)."
        )
