"""The text of CPython's own documentation, which comes with every installation of Python."""

import dataclasses
import functools
import hashlib
import logging
import platform
import re
from collections.abc import Mapping

import numpy as np

from unf_lopt import ecosystem
from unf_lopt.tasks.data.byte_vocabulary import ByteVocabulary
from unf_lopt.tasks.data.windows import window_datasets

SPLIT_SHARES = {"train": 0.85, "inner_valid": 0.05, "outer_valid": 0.05, "test": 0.05}

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class DocsText:
    """The text, and what identifies it.

    Attributes:
      text: UTF-8.
      sha256: its SHA-256, in hexadecimal.
      python: the version of Python that it comes with.
    """

    text: bytes
    sha256: str
    python: str

    def __str__(self) -> str:
        return (
            f"pydoc_data.topics of Python {self.python}, {len(self.text)} bytes, "
            f"SHA-256 {self.sha256}"
        )


@functools.cache
def docs_text() -> DocsText:
    """The language reference that `help("topics")` shows, as one text.

    The topics are joined in the order of their names, by paragraphs (what blank lines separate).
    Topics quote whole sections of each other: a paragraph is kept where it comes first and left
    out afterwards, so that no paragraph of one split is in another. On Python 3.11.7 this takes
    the text from 466 to 374 kB. It differs from one version of Python to the next, so its
    SHA-256 is logged and goes with the data (`extra_info["source"]`).

    Returns:
      The text with its SHA-256 and the version of Python.

    Raises:
      ImportError: this Python comes without `pydoc_data`, as a few stripped ones do.
    """
    try:
        from pydoc_data.topics import topics
    except ModuleNotFoundError as error:
        raise ImportError(
            "docs_text(): this Python comes without pydoc_data, the text that help() shows; "
            "it is part of the standard library, so install Python's complete one."
        ) from error

    paragraphs = (
        paragraph
        for name in sorted(topics)
        for paragraph in re.split(r"\n\n+", topics[name].strip("\n"))
    )
    text = "\n\n".join(dict.fromkeys(paragraphs)).encode()
    found = DocsText(text, hashlib.sha256(text).hexdigest(), platform.python_version())
    _log.info("%s", found)
    return found


@functools.cache
def docs_splits() -> Mapping[str, np.ndarray]:
    """The text as tokens of `ByteVocabulary`, in four ranges one after the other.

    Returns:
      For each split [n] int32, read-only; their shares of the text are `SPLIT_SHARES`.
    """
    tokens = ByteVocabulary().encode(docs_text().text)
    tokens.flags.writeable = False
    ends = np.cumsum([round(share * len(tokens)) for share in SPLIT_SHARES.values()])
    return dict(zip(SPLIT_SHARES, np.split(tokens, ends[:-1]), strict=True))


def docs_datasets(length: int, batch_size: int, seed: int = 0) -> "ecosystem.Datasets":
    """A new set of positioned readers over random windows of the text.

    Every call returns readers of its own at position 0; the text is shared.

    Args:
      length: bytes that a model reads of a window.
      batch_size: windows a batch.
      seed: seed of the order of batches. The splits do not depend on it.

    Returns:
      A `Datasets` of batches `{"obs": [batch_size, length] int32, "target": [batch_size,
      length] int32}`, the target one byte ahead; `extra_info` has `vocab_size` and `source`,
      which identifies the text.

    Raises:
      ValueError: as of `WindowReader`.
    """
    return window_datasets(
        docs_splits(),
        length,
        batch_size,
        seed=seed,
        vocab_size=ByteVocabulary.vocab_size,
        source=str(docs_text()),
    )
