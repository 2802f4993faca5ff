"""Text as bytes, with the numbers that the ecosystem's byte data sets give them."""

from typing import Any

import numpy as np


class ByteVocabulary:
    """Byte b is token b + 3; 0 is padding, 1 the end of a text, 2 an unknown token.

    These are the numbers of `seqio.ByteVocabulary`, which the ecosystem's `lm1b_bytes_datasets`
    uses, so that a model of one text fits the other; seqio itself is not needed.
    """

    special_tokens = 3
    vocab_size = 256 + special_tokens

    def encode(self, text: bytes) -> np.ndarray:
        """The tokens of a text, [n] int32."""
        return np.frombuffer(text, np.uint8).astype(np.int32) + self.special_tokens

    def encode_tf(self, text: Any) -> Any:
        """The tokens of a scalar string tensor of TensorFlow, [n] int32."""
        import tensorflow as tf  # whoever reads arrays need not wait for it

        return tf.cast(tf.io.decode_raw(text, tf.uint8), tf.int32) + self.special_tokens
