"""Random windows of one long text, for models that predict the next token."""

import operator
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unf_lopt import ecosystem
from unf_lopt.tasks.data.reader import Batch, PositionedReader, positioned_datasets


class WindowReader(PositionedReader):
    """Windows of consecutive tokens that start anywhere, each place equally likely.

    Batch number k is drawn by a generator seeded by (seed, split, k). Of a window of length + 1
    tokens the first `length` are what a model reads and the last `length` what it predicts.

    Args:
      tokens: the text of the split, [n] integers.
      length: tokens that a model reads of a window.
      batch_size: windows a batch; they may overlap.
      seed: as of `PositionedReader`.
      split: as of `PositionedReader`.

    Raises:
      ValueError: the text is shorter than one window, a size is below 1, the split is unknown or
        the seed is negative.
    """

    def __init__(
        self,
        tokens: np.ndarray,
        length: int,
        batch_size: int,
        *,
        seed: int = 0,
        split: str = "train",
    ):
        super().__init__(batch_size, seed=seed, split=split)
        length = operator.index(length)
        if self._batch_size < 1:
            raise ValueError(f"WindowReader(batch_size={batch_size}): must be at least 1.")
        if not 1 <= length < len(tokens):
            raise ValueError(
                f"WindowReader(length={length}): the split {split!r} has {len(tokens)} tokens, "
                f"and a window holds one more than its length; choose a length from 1 to "
                f"{len(tokens) - 1}."
            )
        self._tokens = tokens
        self._offsets = np.arange(length + 1)

    def batch(self, number: int) -> Batch:
        """Batch `number`: `{"obs": [batch_size, length], "target": [batch_size, length]}`."""
        places = len(self._tokens) - len(self._offsets) + 1
        starts = self.generator(number).integers(places, size=(self._batch_size, 1))
        windows = self._tokens.take(starts + self._offsets)
        return {"obs": windows[:, :-1], "target": windows[:, 1:]}

    def with_seed(self, seed: int) -> "WindowReader":
        """A reader of the same text and split at position 0, in the order of `seed`."""
        length = len(self._offsets) - 1
        return WindowReader(self._tokens, length, self._batch_size, seed=seed, split=self._split)

    @property
    def nbytes(self) -> int:
        """Bytes of the text."""
        return self._tokens.nbytes

    def on_device(self) -> "ecosystem.DeviceReader":
        """The text on the device; windows start anywhere, as those here do."""
        tokens, offsets = jnp.asarray(self._tokens), jnp.asarray(self._offsets)
        count_of_places = len(self._tokens) - len(self._offsets) + 1

        def places(key: jax.Array, start: jax.Array, count: int) -> jax.Array:
            def of_batch(number: jax.Array) -> jax.Array:
                own = jax.random.fold_in(key, number)
                return jax.random.randint(own, (self._batch_size,), 0, count_of_places)

            return jax.vmap(of_batch)(start + jnp.arange(count))

        def batch(starts: jax.Array) -> dict[str, jax.Array]:
            windows = tokens[starts[:, None] + offsets]
            return {"obs": windows[:, :-1], "target": windows[:, 1:]}

        return ecosystem.DeviceReader(places, batch)


def window_datasets(
    splits: Mapping[str, np.ndarray],
    length: int,
    batch_size: int,
    *,
    seed: int = 0,
    **extra_info: Any,
) -> "ecosystem.Datasets":
    """Positioned readers over random windows of a text for each split.

    Args:
      splits: for each of the ecosystem's splits its text, [n] integers.
      length: tokens that a model reads of a window.
      batch_size: windows a batch.
      seed: seed of the order.
      **extra_info: as of `positioned_datasets`; the ecosystem's tasks look for `vocab_size`.

    Returns:
      A `Datasets` of its own readers, all at position 0, with `abstract_batch` set.

    Raises:
      ValueError: as of `WindowReader`.
    """
    return positioned_datasets(
        lambda split: WindowReader(splits[split], length, batch_size, seed=seed, split=split),
        **extra_info,
    )
