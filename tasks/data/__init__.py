"""Data of the inner tasks: readers that can be resumed, and what they read."""

from unf_lopt.tasks.data.byte_vocabulary import ByteVocabulary
from unf_lopt.tasks.data.digits import digits_datasets, digits_splits
from unf_lopt.tasks.data.docs import DocsText, docs_datasets, docs_splits, docs_text
from unf_lopt.tasks.data.reader import (
    BatchReader,
    PositionedReader,
    array_datasets,
    positioned_datasets,
)
from unf_lopt.tasks.data.windows import WindowReader, window_datasets

__all__ = [
    "BatchReader",
    "ByteVocabulary",
    "DocsText",
    "PositionedReader",
    "WindowReader",
    "array_datasets",
    "digits_datasets",
    "digits_splits",
    "docs_datasets",
    "docs_splits",
    "docs_text",
    "positioned_datasets",
    "window_datasets",
]
