"""What the tests of tasks share."""

import pytest
import tensorflow_datasets as tfds

from unf_lopt import ecosystem


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    """An empty data folder, where a TFDS_DATA_DIR set before its import would have pointed."""
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path))
    forget = ecosystem.load("tasks.datasets.base").dataset_lru_cache_clear
    forget()
    yield tmp_path
    forget()
