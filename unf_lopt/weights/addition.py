"""Recurrent networks that learned to add: how well do their weights say they do?

Zhou, Finn and Harrison, "Universal Neural Functionals", arXiv 2402.05232, section 4.1.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from unf_lopt._options import check_numbers
from unf_lopt.symmetry import infer_spec
from unf_lopt.weights.training import glorot, log_uniform, train_network
from unf_lopt.weights.zoo import Population

_PLUS, _EQUALS, _VOCABULARY = 10, 11, 12
_MOST_DIGITS = 9  # numbers are of 32 bits
Params = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Addition:
    """Sequence-to-sequence GRUs on sums of two numbers, written digit by digit.

    The encoder reads ``12+34=``, the decoder writes the answer, last digit first. Learning rate,
    batch size and, through them, success vary from model to model.

    Attributes:
      hidden: units of both GRUs.
      embedding: channels of a character.
      digits: of each of the two numbers.
      num_steps: of training.
      smallest_batch: sums a step are a whole number, its logarithm uniform between this
      largest_batch: and this.
      lowest_rate: the learning rate is log-uniform between this
      highest_rate: and this.

    Raises:
      ValueError: at construction, for a number that is not positive, or an empty range.
    """

    hidden: int = 24
    embedding: int = 8
    digits: int = 2
    num_steps: int = 2500
    smallest_batch: int = 16
    largest_batch: int = 48
    lowest_rate: float = 5e-4
    highest_rate: float = 3e-2

    def __post_init__(self) -> None:
        check_numbers(self)
        if self.digits > _MOST_DIGITS:
            raise ValueError(f"Addition(digits={self.digits}): must be at most {_MOST_DIGITS}.")
        for low, high in (("smallest_batch", "largest_batch"), ("lowest_rate", "highest_rate")):
            first, last = getattr(self, low), getattr(self, high)
            if first > last:
                raise ValueError(f"Addition({low}={first}, {high}={last}): must not be above it.")

    def population(self) -> Population:
        """How the zoo's models are made; the label is ``success``, a share from 0 to 1."""
        return Population(
            "addition",
            dataclasses.asdict(self),
            infer_spec(self.loss, jax.eval_shape(self.init, jax.random.key(0)), *self._example()),
            jax.vmap(self._model),
            "success",
        )

    def init(self, key: jax.Array) -> Params:
        """Parameters of a model before training."""
        keys = iter(jax.random.split(key, 6))
        h, e = self.hidden, self.embedding
        params = {"embedding": jax.random.normal(next(keys), (_VOCABULARY, e))}
        for part in ("encoder", "decoder"):
            params[f"{part}_input"] = glorot(next(keys), e, 3 * h)
            params[f"{part}_hidden"] = glorot(next(keys), h, 3 * h)
            params[f"{part}_bias"] = jnp.zeros(3 * h)
        params["output"] = glorot(next(keys), h, 10)
        params["output_bias"] = jnp.zeros(10)
        return params

    def loss(
        self,
        params: Params,
        question: Int[Array, "n characters"],
        answer: Int[Array, "n digits"],
        weights: Float[Array, " n"] | None = None,
    ) -> Float[Array, ""]:
        """Cross entropy of the answer's digits, with the right ones before each given.

        Args:
          params: of a model.
          question: 2·digits + 2 characters.
          answer: digits + 1 of them, the last digit first.
          weights: of the sums in the mean; None for the same of all.
        """
        given = jnp.concatenate([jnp.full_like(answer[:, :1], _EQUALS), answer[:, :-1]], 1)
        inputs = _inputs(params, "decoder")

        def step(state: jax.Array, tokens: tuple[jax.Array, jax.Array]) -> tuple[Any, Any]:
            state = _gru(params, "decoder", state, inputs[tokens[0]])
            logits = state @ params["output"] + params["output_bias"]
            return state, optax.softmax_cross_entropy_with_integer_labels(logits, tokens[1])

        _, losses = jax.lax.scan(step, self._read(params, question), (given.T, answer.T))
        return jnp.average(jnp.mean(losses, axis=0), weights=weights)

    def success(
        self, params: Params, question: Int[Array, "n characters"], answer: Int[Array, "n digits"]
    ) -> Float[Array, ""]:
        """The share of sums whose whole answer is right, written without help."""
        inputs = _inputs(params, "decoder")

        def step(carry: tuple[jax.Array, jax.Array], right: jax.Array) -> tuple[Any, Any]:
            state = _gru(params, "decoder", carry[0], inputs[carry[1]])
            token = jnp.argmax(state @ params["output"] + params["output_bias"], -1)
            return (state, token), token == right

        start = self._read(params, question), jnp.full(len(question), _EQUALS)
        return jnp.mean(jnp.all(jax.lax.scan(step, start, answer.T)[1], axis=0))

    def sums(
        self, key: jax.Array, count: int
    ) -> tuple[Int[Array, "{count} 2*{self.digits}+2"], Int[Array, "{count} {self.digits}+1"]]:
        """Random questions and their answers."""
        numbers = jax.random.randint(key, (2, count), 0, 10**self.digits)
        places = 10 ** jnp.arange(self.digits - 1, -1, -1)
        first, second = (own[:, None] // places % 10 for own in numbers)
        plus, equals = (jnp.full((count, 1), token) for token in (_PLUS, _EQUALS))
        question = jnp.concatenate([first, plus, second, equals], 1)
        answer = (numbers[0] + numbers[1])[:, None] // 10 ** jnp.arange(self.digits + 1) % 10
        return question, answer

    def _model(self, key: jax.Array) -> tuple[Params, dict[str, jax.Array]]:
        """A trained model and its columns."""
        init_key, rate_key, batch_key, data_key, test_key = jax.random.split(key, 5)
        rate = log_uniform(rate_key, self.lowest_rate, self.highest_rate)
        # Half a sum more at either end, so that the ends are drawn as often as what is between.
        batch = log_uniform(batch_key, self.smallest_batch - 0.5, self.largest_batch + 0.5)
        batch = jnp.clip(jnp.round(batch), self.smallest_batch, self.largest_batch)
        # All models are one program: each draws the largest batch and counts its first sums.
        weights = (jnp.arange(self.largest_batch) < batch).astype(jnp.float32)

        def loss(params: Params, key: jax.Array) -> jax.Array:
            return self.loss(params, *self.sums(key, self.largest_batch), weights)

        params = train_network(
            loss, self.init(init_key), data_key, num_steps=self.num_steps, learning_rate=rate
        )
        test = self.sums(test_key, 1000)
        success = self.success(params, *test)
        columns = {
            "success": success,
            "loss": self.loss(params, *test),
            "learning_rate": rate,
            "batch_size": batch.astype(jnp.int32),
        }
        return params, columns

    def _read(
        self, params: Params, question: Int[Array, "n characters"]
    ) -> Float[Array, "n hidden"]:
        """The encoder's last state."""
        inputs = _inputs(params, "encoder")

        def step(state: jax.Array, token: jax.Array) -> tuple[jax.Array, None]:
            return _gru(params, "encoder", state, inputs[token]), None

        return jax.lax.scan(step, jnp.zeros((len(question), self.hidden)), question.T)[0]

    def _example(self) -> tuple[jax.Array, jax.Array]:
        return self.sums(jax.random.key(0), 3)


def _inputs(params: Params, part: str) -> Float[Array, "characters gates"]:
    """What each character adds to the three gates."""
    return params["embedding"] @ params[f"{part}_input"] + params[f"{part}_bias"]


def _gru(
    params: Params, part: str, state: Float[Array, "n hidden"], inputs: Float[Array, "n 3*hidden"]
) -> Float[Array, "n hidden"]:
    """A step of a gated recurrent unit (Cho et al., arXiv 1406.1078)."""
    update, reset, candidate = jnp.split(inputs, 3, -1)
    of_update, of_reset, of_candidate = jnp.split(state @ params[f"{part}_hidden"], 3, -1)
    update, reset = jax.nn.sigmoid(update + of_update), jax.nn.sigmoid(reset + of_reset)
    return update * state + (1 - update) * jnp.tanh(candidate + reset * of_candidate)
