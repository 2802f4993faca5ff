"""The digits: real images, in splits that are disjoint, complete and always the same."""

import hashlib

import numpy as np
import pytest
from sklearn.datasets import load_digits

from unf_lopt import ecosystem
from unf_lopt.tasks import data

# Of all images and labels, split by split. After a deliberate change of the splits, which makes
# earlier results incomparable, take the new value from the failure.
FINGERPRINT = "7888c18d404f9534"


def test_the_splits_hold_every_image_once():
    splits = data.digits_splits()
    assert {name: len(split["label"]) for name, split in splits.items()} == {
        "train": 1029,
        "inner_valid": 256,
        "outer_valid": 256,
        "test": 256,
    }
    found = np.concatenate([splits[split]["image"].reshape(-1, 64) for split in ecosystem.SPLITS])
    labels = np.concatenate([splits[split]["label"] for split in ecosystem.SPLITS])
    original = load_digits()
    rows = {image.tobytes(): label for image, label in zip(found * 16, labels, strict=True)}
    expected = {
        image.tobytes(): label
        for image, label in zip(original.data.astype(np.float32), original.target, strict=True)
    }
    # Every original image is there with its label; as many keys as images: none is there twice.
    assert rows == expected
    assert len(rows) == len(found) == 1797


def test_every_split_has_the_classes_in_the_same_shares():
    whole = np.bincount(load_digits().target)
    for split in data.digits_splits().values():
        expected = whole * len(split["label"]) / whole.sum()
        assert np.all(np.abs(np.bincount(split["label"]) - expected) < 2)


def test_images_are_scaled_and_shared_read_only():
    for split in data.digits_splits().values():
        assert split["image"].dtype == np.float32
        assert split["image"].shape[1:] == (8, 8, 1)
        assert (split["image"].min(), split["image"].max()) == (0, 1)
        with pytest.raises(ValueError, match="read-only"):
            split["image"][0] = 0


def test_the_splits_are_the_same_everywhere():
    digest = hashlib.sha256()
    for split in ecosystem.SPLITS:
        digest.update(data.digits_splits()[split]["image"].tobytes())
        digest.update(data.digits_splits()[split]["label"].tobytes())
    assert digest.hexdigest()[:16] == FINGERPRINT


def test_batches_of_128_fit_and_a_batch_that_does_not_is_an_error():
    datasets = data.digits_datasets(128)
    batch = next(datasets.inner_valid)
    assert batch["image"].shape == (128, 8, 8, 1)
    assert (batch["label"].shape, batch["label"].dtype) == ((128,), np.int32)
    with pytest.raises(ValueError, match="'inner_valid' has 256 examples"):
        data.digits_datasets(257)
