"""Pictures as factors of one network: what each multiplies the weights of a common base by.

Yang, Salzmann and Süsstrunk, "Weight space representation learning via neural field adaptation",
arXiv 2512.01759: multiplicative low-rank adapters of a base that was trained as an autodecoder.
"""

from __future__ import annotations

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from unf_lopt._options import check_numbers
from unf_lopt.symmetry import infer_spec
from unf_lopt.weights.implicit import Implicit, Params, pixels
from unf_lopt.weights.training import train_network
from unf_lopt.weights.zoo import Population


@dataclasses.dataclass(frozen=True)
class Adapters:
    """Two factors for every layer of a base network, ``W ⊙ (1 + A·B)``, one model for every image.

    All start from the same factors, with B = 0: from the base itself. So their order within a
    factor is common, and the weights of different images can be compared entry by entry.

    Attributes:
      hidden: units of each of the base's two hidden layers, a SIREN as of :class:`Implicit`.
      frequency: ω of the base.
      rank: columns of A, and rows of B.
      num_steps: of Adam for an image, each on all pixels. Many fit it better, and factors that
        differ more from image to image: they are read less well.
      learning_rate: of Adam.
      base_images: the first images, which the base is trained on with factors for each; models are
        of the others.
      base_steps: of Adam for the base, at the same rate.

    Raises:
      ValueError: at construction, for a number that is not positive.
    """

    hidden: int = 16
    frequency: float = 10.0
    rank: int = 2
    num_steps: int = 100
    learning_rate: float = 1e-2
    base_images: int = 400
    base_steps: int = 500

    def __post_init__(self) -> None:
        check_numbers(self)

    def digits(self, images: np.ndarray, labels: np.ndarray) -> Population:
        """Factors of images, drawn with replacement: models of one image belong together.

        What all share is the base.

        Args:
          images: ``[n, height, width]``, values from 0 to 1.
          labels: ``[n]``, whole numbers: what is to be predicted.

        Raises:
          ValueError: the base takes all images.
        """
        if len(images) <= self.base_images:
            raise ValueError(
                f"Adapters(base_images={self.base_images}): must be below {len(images)}, the "
                "number of images, so that some are left."
            )
        places, values = pixels(images)
        classes, start = jnp.asarray(labels), self.init()

        def loss(params: Params, base: Params, values: jax.Array) -> jax.Array:
            fitted = self._field.values(self.adapted(base, params), places)
            return jnp.mean(jnp.square(fitted - values))

        def model(key: jax.Array, base: Params) -> tuple[Params, dict[str, jax.Array]]:
            signal_key, step_key = jax.random.split(key)
            index = jax.random.randint(signal_key, (), self.base_images, len(values))
            params = train_network(
                lambda params, _: loss(params, base, values[index]),
                start,
                step_key,
                num_steps=self.num_steps,
                learning_rate=self.learning_rate,
            )
            fit = loss(params, base, values[index])
            return params, {"digit": classes[index], "image": index, "loss": fit}

        def base() -> Params:
            return self._base(places, values[: self.base_images])

        shapes = jax.eval_shape(base)
        return Population(
            "adapters",
            dataclasses.asdict(self),
            infer_spec(loss, start, shapes, values[0]),
            jax.vmap(model, (0, None)),
            "digit",
            group="image",
            shared=base,
        )

    def init(self) -> Params:
        """The factors that every image starts from; A is Gaussian, B is 0."""
        sizes = [2, self.hidden, self.hidden, 1]
        params = {}
        for layer, (rows, columns) in enumerate(itertools.pairwise(sizes)):
            key = jax.random.fold_in(jax.random.key(1), layer)
            params[f"a_{layer}"] = jax.random.normal(key, (rows, self.rank))
            params[f"b_{layer}"] = jnp.zeros((self.rank, columns))
        return params

    def adapted(self, base: Params, params: Params) -> Params:
        """The base with every weight times one and the product of its factors; biases stay."""
        factors = {
            f"w_{layer}": 1 + params[f"a_{layer}"] @ params[f"b_{layer}"] for layer in range(3)
        }
        return {name: x * factors.get(name, 1.0) for name, x in base.items()}

    @property
    def _field(self) -> Implicit:
        return Implicit(self.hidden, self.frequency)

    def _base(self, places: jax.Array, values: jax.Array) -> Params:
        """One network for all images ``[n, pixels]``, trained with factors for each."""
        key = jax.random.key(0)

        def loss(params: dict[str, Params], _: jax.Array) -> jax.Array:
            def fitted(own: Params) -> jax.Array:
                return self._field.values(self.adapted(params["base"], own), places)

            return jnp.mean(jnp.square(jax.vmap(fitted)(params["own"]) - values))

        own = jax.tree.map(lambda x: jnp.stack([x] * len(values)), self.init())
        trained = train_network(
            loss,
            {"base": self._field.init(key, 2), "own": own},
            key,
            num_steps=self.base_steps,
            learning_rate=self.learning_rate,
        )
        return trained["base"]
