"""The ecosystem's data sets of texts, also where `seqio` is not installed."""

import importlib.util
import sys
import types
from typing import Any

from unf_lopt import ecosystem


def load_language_module() -> types.ModuleType:
    """The ecosystem's `tasks.datasets.language`, on which its language models depend.

    It imports `seqio`, for its vocabularies. Where that is not installed, the module is imported
    all the same; its functions that make a vocabulary then fail, `text_datasets` does not.
    """
    name = "seqio"
    if importlib.util.find_spec(name) is not None:
        return ecosystem.load("tasks.datasets.language")
    # What the module's annotations name, while it is imported and no longer.
    absent = types.ModuleType(name)
    vars(absent)["vocabularies"] = types.SimpleNamespace(Vocabulary=Any)
    sys.modules[name] = absent
    try:
        return ecosystem.load("tasks.datasets.language")
    finally:
        del sys.modules[name]


def text_datasets(
    dataset: str, vocabulary: Any, batch_size: int, length: int
) -> "ecosystem.Datasets":
    """The ecosystem's readers of a text in TensorFlow Datasets.

    With LM1B these are its `lm1b_bytes_datasets` and `lm1b_32k_datasets`, for a vocabulary of
    one's own: the first `length + 1` tokens of every sentence, padded with 0.

    Args:
      dataset: its name in TensorFlow Datasets, such as "lm1b"; its examples have a "text".
      vocabulary: has `vocab_size` and `encode_tf`, from a scalar string tensor to tokens.
      batch_size: sentences a batch.
      length: tokens that a model reads.

    Returns:
      A `Datasets` of batches `{"obs": [batch_size, length] int32, "target": [batch_size, length]
      int32}`, which cannot be positioned; `extra_info` has `vocab_size` and `vocab`.
    """
    make = load_language_module()._make_datasets
    return make(dataset, vocabulary, batch_size, length)
