"""A look whether TensorFlow Datasets has a data set on disk, without ever starting a download."""

import os


def require_prepared(dataset: str, *, stand_in: str) -> None:
    """Raises unless TensorFlow Datasets can read a data set without the network.

    It looks where TensorFlow Datasets itself would: for the version that its code asks for, below
    the folder TFDS_DATA_DIR or, where that is not set, ~/tensorflow_datasets.

    Args:
      dataset: its name in TensorFlow Datasets, such as "fashion_mnist".
      stand_in: the gin name of a task that needs no download, for the message.

    Raises:
      FileNotFoundError: the data set is not there.
    """
    # Imported here: whoever uses other data need not wait for it.
    import tensorflow_datasets as tfds

    builder = tfds.builder(dataset)
    if builder.is_prepared():
        return
    variable = os.environ.get("TFDS_DATA_DIR", "not set")
    raise FileNotFoundError(
        f"The data set {dataset} is not on this machine: nothing in {builder.data_path} "
        f"(TFDS_DATA_DIR: {variable}).\n"
        "  To get it, where there is network:\n"
        "    pip install tensorflow tensorflow-datasets importlib_resources\n"
        '    python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('{dataset}', data_dir='FOLDER').download_and_prepare()\"\n"
        "  then bring FOLDER here and set TFDS_DATA_DIR to it before Python starts.\n"
        f"  To go on without it: the task @{stand_in}() is of the same kind and needs no download."
    )
