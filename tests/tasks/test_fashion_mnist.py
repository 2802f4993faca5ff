"""FashionMNIST: an answer at once where it is missing, the ecosystem's task where it is there."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds

from unf_lopt import ecosystem
from unf_lopt.tasks import image_mlp

KEY = jax.random.PRNGKey(0)


def write_fashion_mnist(folder):
    """Random images in the files that TensorFlow Datasets keeps FashionMNIST in."""
    random = np.random.default_rng(0)

    def examples(count):
        images = random.integers(0, 256, (count, 28, 28, 1), dtype=np.uint8)
        return [{"image": image, "label": number % 10} for number, image in enumerate(images)]

    builder = tfds.builder("fashion_mnist", data_dir=folder)
    builder.data_path.mkdir(parents=True)
    writer = tfds.core.SequentialWriter(builder.info, max_examples_per_shard=10_000)
    writer.initialize_splits(["train", "test"])
    writer.add_examples({"train": examples(200), "test": examples(130)})
    writer.close_all()


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    """An empty data folder, where a TFDS_DATA_DIR set before its import would have pointed."""
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path))
    forget = ecosystem.load("tasks.datasets.base").dataset_lru_cache_clear
    forget()
    yield tmp_path
    forget()


def test_missing_data_are_named_at_once_and_nothing_is_downloaded(tmp_path):
    call = "from unf_lopt.tasks.data.prepared import require_prepared as require\n"
    call += "require('fashion_mnist', stand_in='ImageMLP_Digits8_Relu32')"
    outcome = subprocess.run(
        [sys.executable, "-c", call],
        env={**os.environ, "TFDS_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert outcome.returncode == 1
    error = outcome.stderr[outcome.stderr.index("FileNotFoundError") :]
    assert "data set fashion_mnist" in error
    assert f"{tmp_path}/fashion_mnist/3.0.1" in error
    assert f"TFDS_DATA_DIR: {tmp_path}" in error
    assert "tfds.builder('fashion_mnist', data_dir='FOLDER').download_and_prepare()" in error
    assert "@ImageMLP_Digits8_Relu32()" in error
    assert list(tmp_path.iterdir()) == []


def test_the_task_says_so_too(data_dir):
    with pytest.raises(FileNotFoundError, match=r"fashion_mnist is not on this machine"):
        image_mlp.fashion_mnist_mlp()
    assert list(data_dir.iterdir()) == []


def test_prepared_data_give_the_ecosystems_task(data_dir):
    write_fashion_mnist(data_dir)
    task = image_mlp.fashion_mnist_mlp()
    assert type(task).__module__ == "learned_optimization.tasks.fixed.image_mlp"
    batch = next(task.datasets.train)
    assert batch["image"].shape == (128, 8, 8, 1)
    assert 2 < task.loss(task.init(KEY), KEY, batch) < 4
    family = ecosystem.single_task_to_family(task)
    assert ecosystem.spec_of(family) == ecosystem.spec_of(image_mlp.digits_mlp_family())
    assert ecosystem.positions(family.datasets) is None
