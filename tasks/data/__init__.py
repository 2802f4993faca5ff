"""Data of the inner tasks: readers that can be resumed, and what they read."""

from unf_lopt.tasks.data.digits import digits_datasets, digits_splits
from unf_lopt.tasks.data.reader import BatchReader, array_datasets

__all__ = ["BatchReader", "array_datasets", "digits_datasets", "digits_splits"]
