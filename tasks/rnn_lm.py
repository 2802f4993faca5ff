"""The paper's third inner task: a recurrent network that predicts the next byte of a text."""

import haiku as hk
import jax
import jax.numpy as jnp

from unf_lopt import ecosystem
from unf_lopt.ecosystem.gin_decorator import configurable
from unf_lopt.tasks.cross_entropy import LanguageModelTask, require_sizes
from unf_lopt.tasks.data import ByteVocabulary, docs_datasets
from unf_lopt.tasks.data.prepared import require_prepared
from unf_lopt.tasks.registration import family_of

LENGTH, BATCH_SIZE = 16, 64
EMBEDDING_SIZE, HIDDEN_SIZE = 32, 64


class RNNLanguageModel(LanguageModelTask):
    """Next-token cross-entropy of an identity-initialized ReLU recurrence.

    With tokens x_t, embeddings E [vocabulary, e] and h_0 learned, the state is
    h_t = relu(E[x_t] U + a + h_(t-1) W + b) in R^h and the logits are h_t V + c. The parameters
    are those of the ecosystem's recurrent language models: `embed/embeddings`,
    `irnn/linear` (U, a), `irnn/linear_1` (W, which starts as the identity, and b), `linear`
    (V, c) and `~/initial_state_0` [1, h]. Permuting the hidden units, together in both axes of
    W, and permuting the channels of the embedding leave the loss as it is.

    Source: Le, Jaitly, Hinton, "A Simple Way to Initialize Recurrent Networks of Rectified
    Linear Units" (arXiv 1504.00941), as the ecosystem's `rnn.IRNN`.

    Args:
      datasets: as of `LanguageModelTask`.
      embedding_size: channels of the embedding.
      hidden_size: units of the recurrence.
      name: what the task is called in logs and summaries.

    Raises:
      ValueError: a size is not a positive integer.
    """

    def __init__(
        self,
        datasets: "ecosystem.Datasets",
        embedding_size: int,
        hidden_size: int,
        name: str = "RNNLanguageModel",
    ):
        require_sizes("RNNLanguageModel", embedding_size=embedding_size, hidden_size=hidden_size)

        def network(tokens: jax.Array, vocab_size: int) -> jax.Array:
            embedded = hk.Embed(vocab_size, embedding_size)(tokens)
            core = ecosystem.load("tasks.rnn").IRNN(hidden_size)
            start = hk.get_parameter("initial_state_0", (1, hidden_size), init=jnp.zeros)
            start = jnp.broadcast_to(start, (len(tokens), hidden_size))
            states, _ = hk.dynamic_unroll(core, embedded, start, time_major=False)
            return hk.Linear(vocab_size)(states)

        super().__init__(datasets, network, name)


@configurable()
def docs_rnn(
    embedding_size: int = EMBEDDING_SIZE,
    hidden_size: int = HIDDEN_SIZE,
    length: int = LENGTH,
    batch_size: int = BATCH_SIZE,
    data_seed: int = 0,
) -> RNNLanguageModel:
    """The paper's RNN on the bytes of CPython's documentation.

    Args:
      embedding_size: channels of the embedding.
      hidden_size: units of the recurrence.
      length: bytes of a window.
      batch_size: windows a batch.
      data_seed: seed of the order of batches; the splits do not depend on it.

    Returns:
      The task, with readers of its own.
    """
    name = f"RNNLM_docsbytes_Patch{length}_IRNN{hidden_size}_Embed{embedding_size}"
    datasets = docs_datasets(length, batch_size, data_seed)
    return RNNLanguageModel(datasets, embedding_size, hidden_size, name=name)


docs_rnn_family = family_of(docs_rnn)


@configurable()
def RNNLM_docsbytes_Patch16_IRNN64_Embed32(data_seed: int = 0) -> RNNLanguageModel:
    """The paper's RNN on CPython's documentation, named as the ecosystem names its tasks.

    Args:
      data_seed: seed of the order of batches.

    Returns:
      The task.
    """
    return docs_rnn(EMBEDDING_SIZE, HIDDEN_SIZE, LENGTH, BATCH_SIZE, data_seed)


@configurable()
def lm1b_rnn() -> RNNLanguageModel:
    """The paper's RNN: the bytes of LM1B, length 16, batch 64.

    The data are the ecosystem's `lm1b_bytes_datasets`, the first bytes of every sentence; their
    readers cannot be positioned.

    Returns:
      The task.

    Raises:
      FileNotFoundError: LM1B has not been prepared on this machine; nothing is downloaded.
    """
    require_prepared("lm1b", stand_in="RNNLM_docsbytes_Patch16_IRNN64_Embed32")
    datasets = ecosystem.text_datasets("lm1b", ByteVocabulary(), BATCH_SIZE, LENGTH)
    name = "RNNLM_lm1bbytes_Patch16_IRNN64_Embed32"
    return RNNLanguageModel(datasets, EMBEDDING_SIZE, HIDDEN_SIZE, name=name)


RNNLM_lm1bbytes_Patch16_IRNN64_Embed32 = configurable("RNNLM_lm1bbytes_Patch16_IRNN64_Embed32")(
    lm1b_rnn
)
