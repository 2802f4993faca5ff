"""Classifiers with drawn hyperparameters: how well do their weights say they generalize?

As in Unterthiner et al., "Predicting neural network accuracy from weights", arXiv 2002.11448.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Integer

from unf_lopt._options import check_numbers, check_option
from unf_lopt.symmetry import infer_spec
from unf_lopt.weights.training import glorot, log_uniform, train_network
from unf_lopt.weights.zoo import Population

Params = dict[str, jax.Array]
NETWORKS = ("mlp", "cnn")


@dataclasses.dataclass(frozen=True)
class Classifiers:
    """MLPs or CNNs on images; learning rate, weight decay and the share of wrong labels vary.

    Attributes:
      network: ``"mlp"``: two hidden layers; ``"cnn"``: two convolutions of 3×3, the mean over
        positions, a linear layer.
      hidden: units, or channels, of both.
      num_steps: of training.
      batch_size: images a step.
      num_train: images a model is trained on, drawn for it.

    Raises:
      ValueError: at construction, for a number that is not positive or another network.
    """

    network: str = "mlp"
    hidden: int = 16
    num_steps: int = 500
    batch_size: int = 32
    num_train: int = 300

    def __post_init__(self) -> None:
        check_option("network", self.network, NETWORKS)
        check_numbers(self)

    def population(
        self, train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]
    ) -> Population:
        """How the zoo's models are made; the label is ``accuracy`` on all test images.

        Args:
          train: images ``[n, height, width]`` from 0 to 1, and labels ``[n]`` from 0 to 9.
          test: the same, others.
        """
        if self.num_train > len(train[0]):
            raise ValueError(
                f"Classifiers(num_train={self.num_train}): must be at most {len(train[0])}, the "
                "number of images."
            )
        images, labels = map(jnp.asarray, train)
        test_images, test_labels = map(jnp.asarray, test)

        def model(key: jax.Array) -> tuple[Params, dict[str, jax.Array]]:
            keys = jax.random.split(key, 8)
            rate = log_uniform(keys[0], 1e-4, 1e-1)
            decay = log_uniform(keys[1], 1e-5, 1e-1)
            wrong = jax.random.uniform(keys[2], maxval=0.5)
            rows = jax.random.choice(keys[3], len(images), (self.num_train,), replace=False)
            own = jnp.where(
                jax.random.uniform(keys[4], (self.num_train,)) < wrong,
                jax.random.randint(keys[5], (self.num_train,), 0, 10),
                labels[rows],
            )

            def loss(params: Params, key: jax.Array) -> jax.Array:
                chosen = jax.random.randint(key, (self.batch_size,), 0, self.num_train)
                weights = sum(jnp.sum(jnp.square(w)) for w in params.values())
                plain = self.loss(params, images[rows[chosen]], own[chosen])
                return plain + 0.5 * decay * weights

            params = train_network(
                loss,
                self.init(keys[6], images.shape[1:]),
                keys[7],
                num_steps=self.num_steps,
                learning_rate=rate,
            )
            logits = self.logits(params, test_images)
            columns = {
                "accuracy": jnp.mean(jnp.argmax(logits, -1) == test_labels),
                "test_loss": self.loss(params, test_images, test_labels),
                "learning_rate": rate,
                "weight_decay": decay,
                "wrong_labels": wrong,
            }
            return params, columns

        shapes = jax.eval_shape(lambda: self.init(jax.random.key(0), images.shape[1:]))
        spec = infer_spec(self.loss, shapes, images[:2], labels[:2])
        settings = dataclasses.asdict(self)
        return Population(f"digits_{self.network}", settings, spec, jax.vmap(model), "accuracy")

    def init(self, key: jax.Array, shape: tuple[int, ...]) -> Params:
        """Parameters of a model before training, for images of a shape."""
        h, keys = self.hidden, iter(jax.random.split(key, 3))
        if self.network == "mlp":
            first, second = (int(np.prod(shape)), h), (h, h)
        else:
            first, second = (3, 3, 1, h), (3, 3, h, h)
        return {
            "first": glorot(next(keys), *first),
            "first_bias": jnp.zeros(h),
            "second": glorot(next(keys), *second),
            "second_bias": jnp.zeros(h),
            "output": glorot(next(keys), h, 10),
            "output_bias": jnp.zeros(10),
        }

    def logits(
        self, params: Params, images: Float[Array, "n height width"]
    ) -> Float[Array, "n 10"]:
        """Of ten classes."""
        x = images.reshape(len(images), -1) if self.network == "mlp" else images[..., None]
        for layer in ("first", "second"):
            if self.network == "mlp":
                x = x @ params[layer]
            else:
                x = jax.lax.conv_general_dilated(
                    x, params[layer], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
                )
            x = jax.nn.relu(x + params[f"{layer}_bias"])
        if self.network == "cnn":
            x = jnp.mean(x, axis=(1, 2))
        return x @ params["output"] + params["output_bias"]

    def loss(
        self, params: Params, images: Float[Array, "n height width"], labels: Integer[Array, " n"]
    ) -> Float[Array, ""]:
        """Mean cross entropy."""
        logits = self.logits(params, images)
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))
