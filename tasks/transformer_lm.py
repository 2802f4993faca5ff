"""The paper's fourth inner task: a small Transformer that predicts the next token of a text."""

import jax

from unf_lopt import ecosystem
from unf_lopt.ecosystem.gin_decorator import configurable
from unf_lopt.tasks.cross_entropy import LanguageModelTask, require_sizes
from unf_lopt.tasks.data import docs_datasets
from unf_lopt.tasks.data.prepared import require_prepared
from unf_lopt.tasks.data.sentence_pieces import sentence_piece_vocabulary
from unf_lopt.tasks.registration import family_of

LENGTH, BATCH_SIZE = 8, 8
NUM_BLOCKS, WIDTH, NUM_HEADS = 2, 32, 4


class TransformerLanguageModel(LanguageModelTask):
    """Next-token cross-entropy of a decoder-only Transformer, the ecosystem's own module.

    With the stream x [length, width], each block adds attention(norm(x)) and then
    mlp(norm(x)) to it, with norms in front ("pre-norm"):

    - `h{i}_ln_1`, `h{i}_ln_2`: layer norms with scale and offset [width];
    - `h{i}_attn/query`, `key`, `value`: [width, heads x 32] and a bias, 32 channels a head
      whatever the width; causal attention; `h{i}_attn/linear`: [heads x 32, width] and a bias;
    - `h{i}_mlp/linear`, `linear_1`: [width, 4 width], GELU, [4 width, width], with biases.

    Before them `embed` [vocabulary, width], after them the norm `h_f` and `linear` [width,
    vocabulary] with a bias, which is not tied to the embedding. There are no positional
    encodings and no dropout: what knows about order is the causal mask alone. These are the 37
    tensors of the paper's weight space, and those of `TransformerLM_LM1B_MultiRuntime_2`.

    The loss does not change under permutations of the stream's channels (one permutation for
    the whole network) and, in each block, of the heads, of the channels of queries and keys
    within a head, of the channels of values within a head (the same for all heads), and of the
    MLP's hidden units.

    Args:
      datasets: as of `LanguageModelTask`.
      num_blocks: blocks.
      width: channels of the stream.
      num_heads: heads of each attention.
      name: what the task is called in logs and summaries.

    Raises:
      ValueError: a size is not a positive integer.
    """

    def __init__(
        self,
        datasets: "ecosystem.Datasets",
        num_blocks: int,
        width: int,
        num_heads: int,
        name: str = "TransformerLanguageModel",
    ):
        require_sizes(
            "TransformerLanguageModel", num_blocks=num_blocks, width=width, num_heads=num_heads
        )

        def network(tokens: jax.Array, vocab_size: int) -> jax.Array:
            transformer = ecosystem.load("tasks.transformer").Transformer(
                num_heads, num_blocks, width, vocab_size, dropout_rate=0.0
            )
            return transformer(tokens, mask=tokens != self.padding, is_training=True)

        super().__init__(datasets, network, name)


@configurable()
def docs_transformer(
    num_blocks: int = NUM_BLOCKS,
    width: int = WIDTH,
    num_heads: int = NUM_HEADS,
    length: int = LENGTH,
    batch_size: int = BATCH_SIZE,
    data_seed: int = 0,
) -> TransformerLanguageModel:
    """The paper's Transformer on the bytes of CPython's documentation.

    Args:
      num_blocks: blocks.
      width: channels of the stream.
      num_heads: heads of each attention, of 32 channels each.
      length: bytes of a window.
      batch_size: windows a batch.
      data_seed: seed of the order of batches; the splits do not depend on it.

    Returns:
      The task, with readers of its own.
    """
    name = f"TransformerLM_docsbytes_Patch{length}_{num_blocks}layer_{width}width"
    datasets = docs_datasets(length, batch_size, data_seed)
    return TransformerLanguageModel(datasets, num_blocks, width, num_heads, name=name)


docs_transformer_family = family_of(docs_transformer)


@configurable()
def TransformerLM_docsbytes_Patch8_2layer_32width(data_seed: int = 0) -> TransformerLanguageModel:
    """The paper's Transformer on CPython's documentation, named as the ecosystem names its tasks.

    Args:
      data_seed: seed of the order of batches.

    Returns:
      The task.
    """
    return docs_transformer(NUM_BLOCKS, WIDTH, NUM_HEADS, LENGTH, BATCH_SIZE, data_seed)


@configurable()
def lm1b_transformer(vocabulary: str | None = None) -> TransformerLanguageModel:
    """The paper's Transformer: LM1B in 32,100 word pieces, length 8, batch 8.

    The same task as the ecosystem's `TransformerLM_LM1B_MultiRuntime_2`, whose readers cannot be
    positioned. That one reads its vocabulary from a bucket of Google's; this one from a file.

    Args:
      vocabulary: as of `sentence_piece_vocabulary`.

    Returns:
      The task.

    Raises:
      FileNotFoundError: LM1B or its vocabulary is not on this machine; nothing is downloaded.
      ImportError: seqio, which reads the vocabulary, is not installed.
    """
    stand_in = "TransformerLM_docsbytes_Patch8_2layer_32width"
    require_prepared("lm1b", stand_in=stand_in)
    pieces = sentence_piece_vocabulary(vocabulary, stand_in=stand_in)
    datasets = ecosystem.text_datasets("lm1b", pieces, BATCH_SIZE, LENGTH)
    name = "TransformerLM_LM1B_MultiRuntime_2"
    return TransformerLanguageModel(datasets, NUM_BLOCKS, WIDTH, NUM_HEADS, name=name)
