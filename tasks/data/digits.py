"""Handwritten digits at 8x8 pixels, which come with every installation of scikit-learn."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from unf_lopt import ecosystem
from unf_lopt.tasks.data import reader

NUM_CLASSES = 10
SPLIT_SIZES = {"train": 1029, "inner_valid": 256, "outer_valid": 256, "test": 256}

# One fixed division of the images, so that results are comparable; the order of batches has a
# seed of its own.
_SPLIT_SEED = 0


@functools.cache
def digits_splits() -> Mapping[str, Mapping[str, np.ndarray]]:
    """The 1,797 images of scikit-learn's digits in four splits that do not overlap.

    The splits are stratified: the share of each class is that of the whole, to within two images.
    Their sizes are those of `SPLIT_SIZES`: with batches of 128, the three smaller splits hold
    two batches each and training eight, and 5 training images wait for the next epoch. No two
    of the images are identical, so no image of one split appears in another.

    Returns:
      For each split `{"image": [n, 8, 8, 1] float32 in [0, 1] (sixteenths),
      "label": [n] int32 in 0..9}`, read-only.

    Raises:
      ImportError: scikit-learn is not installed.

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
    Learning Repository (1998), of which `sklearn.datasets.load_digits` ships the test set. Who
    wrote which digit is not recorded, so the same hands write in all four splits.
    """
    # Imported here because it takes a second that a user of the readers alone need not wait.
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ModuleNotFoundError as error:
        raise ImportError(
            "digits_splits(): the digits come with scikit-learn, which is not installed: "
            "pip install 'unf_lopt[experiments]'"
        ) from error

    digits: Any = load_digits()  # a Bunch, whose attributes no annotation names
    arrays = {
        "image": (digits.images[..., None] / 16).astype(np.float32),
        "label": digits.target.astype(np.int32),
    }
    rest = np.arange(len(digits.target))
    rows = {}
    for split in ("test", "outer_valid", "inner_valid"):
        rest, rows[split] = train_test_split(
            rest,
            test_size=SPLIT_SIZES[split],
            stratify=digits.target[rest],
            random_state=_SPLIT_SEED,
        )
    rows["train"] = rest
    return {
        split: {name: _read_only(array[rows[split]]) for name, array in arrays.items()}
        for split in reader.SPLITS
    }


def digits_datasets(batch_size: int = 128, seed: int = 0) -> "ecosystem.Datasets":
    """A new set of positioned readers over the digits.

    Every call returns readers of its own at position 0; the images are shared.

    Args:
      batch_size: images a batch, at most 256.
      seed: seed of the order of batches. The splits do not depend on it.

    Returns:
      A `Datasets` of batches `{"image": [batch_size, 8, 8, 1] float32,
      "label": [batch_size] int32}`.
    """
    return reader.array_datasets(digits_splits(), batch_size, num_classes=NUM_CLASSES, seed=seed)


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
