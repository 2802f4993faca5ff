"""The vocabulary of word pieces that the ecosystem's LM1B tasks read from a bucket of Google's."""

import importlib.util
import os
import pathlib
from typing import Any

BUCKET_PATH = "t5-data/vocabs/cc_all.32000/sentencepiece.model"
EXTRA_IDS = 100


def sentence_piece_vocabulary(path: str | os.PathLike[str] | None = None, *, stand_in: str) -> Any:
    """The vocabulary of the ecosystem's `lm1b_32k_datasets`, from a file on this machine.

    With the published file: 32,000 pieces and 100 extra tokens, 0 is padding.

    Args:
      path: the file; by default `t5-data/vocabs/cc_all.32000/sentencepiece.model` in the data
        folder of TensorFlow Datasets.
      stand_in: the gin name of a task that needs no such file, for the message.

    Returns:
      A `seqio.SentencePieceVocabulary`.

    Raises:
      FileNotFoundError: the file is not there.
      ImportError: seqio is not installed.
    """
    # Imported here: whoever uses other data need not wait for it.
    from tensorflow_datasets.core import constants

    folder = pathlib.Path(constants.DATA_DIR).expanduser()
    path = folder / BUCKET_PATH if path is None else pathlib.Path(path)
    to_go_on = f"To go on without it: the task @{stand_in}() reads bytes."
    if not path.is_file():
        raise FileNotFoundError(
            f"The vocabulary of LM1B's word pieces is not on this machine: no file {path}.\n"
            "  To get it, where there is network:\n"
            f"    curl --create-dirs -o {path} https://storage.googleapis.com/{BUCKET_PATH}\n"
            f"  {to_go_on}"
        )
    if importlib.util.find_spec("seqio") is None:
        raise ImportError(
            "LM1B's word pieces are read by seqio, which is not installed:\n"
            "    pip install --no-deps seqio tensorflow-text sentencepiece editdistance pyglove "
            "ml-collections clu\n"
            "(without dependencies, because theirs is a second copy of TensorFlow).\n"
            f"  {to_go_on}"
        )
    return importlib.import_module("seqio").SentencePieceVocabulary(str(path), EXTRA_IDS)
