"""Networks that are pictures: a SIREN for every image, or for every sine.

Sitzmann et al., "Implicit neural representations with periodic activation functions", arXiv
2006.09661; as tasks on weights: Navon et al., arXiv 2301.12780, section 7.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from unf_lopt._options import check_numbers, check_option
from unf_lopt.symmetry import infer_spec
from unf_lopt.weights.training import train_network
from unf_lopt.weights.zoo import Population

Params = dict[str, jax.Array]

INITIALIZATIONS = ("own", "shared")
_SINE_SAMPLES = 64


def pixels(
    images: Float[np.ndarray, "n height width"],
) -> tuple[Float[Array, "pixels 2"], Float[Array, "n pixels"]]:
    """Coordinates of pixels from −1 to 1, and their values in every image."""
    sides = [jnp.linspace(-1.0, 1.0, size) for size in images.shape[1:]]
    places = jnp.stack(jnp.meshgrid(*sides, indexing="ij"), -1).reshape(-1, 2)
    return places, jnp.asarray(images.reshape(len(images), -1))


@dataclasses.dataclass(frozen=True)
class Implicit:
    """A network from coordinates to values, one for every signal.

    Attributes:
      hidden: units of each of the two hidden layers.
      frequency: ω in ``sin(ω·(W·x + b))``.
      num_steps: of Adam, each on all coordinates.
      learning_rate: of Adam.
      initialization: ``"own"``: random for every network; ``"shared"``: all start from one.

    Raises:
      ValueError: at construction, for a number that is not positive or another initialization.
    """

    hidden: int = 16
    frequency: float = 10.0
    num_steps: int = 500
    learning_rate: float = 3e-3
    initialization: str = "own"

    def __post_init__(self) -> None:
        check_option("initialization", self.initialization, INITIALIZATIONS)
        check_numbers(self)

    def digits(
        self, images: Float[np.ndarray, "n height width"], labels: Integer[np.ndarray, " n"]
    ) -> Population:
        """Networks of images, drawn with replacement: models of one image belong together.

        Args:
          images: values from 0 to 1.
          labels: what is to be predicted.
        """
        places, values = pixels(images)
        classes = jnp.asarray(labels)

        def signal(key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
            index = jax.random.randint(key, (), 0, len(values))
            return values[index], {"digit": classes[index], "image": index}

        return self._population("images", places, signal, "digit", group="image")

    def sines(self) -> Population:
        """Networks of ``a·sin(f·x)``, f from 0.5 to 10 and a from 0 to 10; both are predicted."""
        places = jnp.linspace(-jnp.pi, jnp.pi, _SINE_SAMPLES)[:, None]

        def signal(key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
            low, high = jnp.array([0.5, 0.0]), jnp.array([10.0, 10.0])
            frequency, amplitude = jax.random.uniform(key, (2,), minval=low, maxval=high)
            values = amplitude * jnp.sin(frequency * places[:, 0])
            return values, {"wave": jnp.stack([frequency, amplitude])}

        return self._population("sines", places / jnp.pi, signal, "wave")

    def init(self, key: jax.Array, inputs: int) -> Params:
        """Uniform weights, as section 3.2 of arXiv 2006.09661 has them."""
        sizes = [inputs, self.hidden, self.hidden, 1]
        params = {}
        for layer, (rows, columns) in enumerate(itertools.pairwise(sizes)):
            bound = jnp.sqrt(6.0 / rows) / self.frequency if layer else 1.0 / rows
            own = jax.random.fold_in(key, layer)
            params[f"w_{layer}"] = jax.random.uniform(
                own, (rows, columns), minval=-bound, maxval=bound
            )
            params[f"b_{layer}"] = jnp.zeros(columns)
        return params

    def values(self, params: Params, places: Float[Array, "n inputs"]) -> Float[Array, " n"]:
        """What a network gives at coordinates."""
        x = places
        for layer in range(2):
            x = jnp.sin(self.frequency * (x @ params[f"w_{layer}"] + params[f"b_{layer}"]))
        return (x @ params["w_2"] + params["b_2"])[:, 0]

    def _population(
        self,
        name: str,
        places: Float[Array, "n inputs"],
        signal: Callable[[jax.Array], tuple[jax.Array, dict[str, jax.Array]]],
        label: str,
        group: str | None = None,
    ) -> Population:
        inputs = places.shape[1]

        def loss(params: Params, values: jax.Array) -> jax.Array:
            return jnp.mean(jnp.square(self.values(params, places) - values))

        def model(key: jax.Array) -> tuple[Params, dict[str, jax.Array]]:
            init_key, signal_key, step_key = jax.random.split(key, 3)
            values, columns = signal(signal_key)
            start = jax.random.key(0) if self.initialization == "shared" else init_key
            params = train_network(
                lambda params, _: loss(params, values),
                self.init(start, inputs),
                step_key,
                num_steps=self.num_steps,
                learning_rate=self.learning_rate,
            )
            return params, {**columns, "loss": loss(params, values)}

        params = jax.eval_shape(lambda: self.init(jax.random.key(0), inputs))
        spec = infer_spec(loss, params, jnp.zeros(len(places)))
        return Population(name, dataclasses.asdict(self), spec, jax.vmap(model), label, group)
