"""Data sets in the files that TensorFlow Datasets keeps them in, with contents made up here."""

import numpy as np
import tensorflow_datasets as tfds

SENTENCES = [
    "A colourless green idea sleeps furiously.",
    "Oui.",
    "Ça va ?",
    "No 1 knows: 2 + 2 = 4!",
]


def write(name, folder, **splits):
    """Writes a data set, as `download_and_prepare` would, from lists of examples."""
    builder = tfds.builder(name, data_dir=folder)
    builder.data_path.mkdir(parents=True)
    writer = tfds.core.SequentialWriter(builder.info, max_examples_per_shard=10_000)
    writer.initialize_splits(list(splits))
    writer.add_examples(splits)
    writer.close_all()


def write_images(name, folder, shape):
    """Random images of ten classes."""
    random = np.random.default_rng(0)

    def examples(count):
        images = random.integers(0, 256, (count, *shape), dtype=np.uint8)
        ids = {"id": ""} if name.startswith("cifar") else {}
        return [{"image": image, "label": i % 10, **ids} for i, image in enumerate(images)]

    write(name, folder, train=examples(1300), test=examples(130))


def write_lm1b(folder):
    """Few sentences, often."""
    write(
        "lm1b",
        folder,
        train=[{"text": text} for text in 100 * SENTENCES],
        test=[{"text": text} for text in 20 * SENTENCES],
    )
