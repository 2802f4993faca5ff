"""CPython's documentation: its own text, in splits that share nothing."""

import hashlib
import logging
import platform
import subprocess
import sys
from pydoc_data.topics import topics

import numpy as np
import pytest

from unf_lopt import ecosystem
from unf_lopt.tasks import data
from unf_lopt.tasks.data import docs


def decode(tokens):
    return (tokens - data.ByteVocabulary.special_tokens).astype(np.uint8).tobytes()


def test_the_splits_are_the_text_cut_in_four():
    splits = data.docs_splits()
    assert list(splits) == list(ecosystem.SPLITS)
    assert b"".join(map(decode, splits.values())) == data.docs_text().text
    total = sum(map(len, splits.values()))
    for split, share in docs.SPLIT_SHARES.items():
        assert len(splits[split]) == pytest.approx(share * total, abs=2)
        assert splits[split].dtype == np.int32
        assert splits[split].min() >= data.ByteVocabulary.special_tokens
        with pytest.raises(ValueError, match="read-only"):
            splits[split][0] = 0
    assert min(map(len, splits.values())) > 10_000


def test_every_paragraph_of_every_topic_is_there_once():
    whole = "\n\n".join(topics[name] for name in sorted(topics))
    expected = [part.strip("\n") for part in whole.split("\n\n") if part.strip("\n")]
    found = data.docs_text().text.decode().split("\n\n")
    assert found == list(dict.fromkeys(expected))
    assert len(found) < len(expected)


def test_the_text_is_identified_and_the_same_in_another_process():
    text = data.docs_text()
    assert text.sha256 == hashlib.sha256(text.text).hexdigest()
    assert text.python == platform.python_version()
    call = "from unf_lopt.tasks import data; print(data.docs_text())"
    other = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True)
    assert other.stdout.strip() == str(text), other.stderr
    source = ecosystem.data_source(data.docs_datasets(16, 4))
    assert source == str(text)
    assert text.sha256 in source
    assert f"Python {text.python}" in source


def test_the_text_is_logged(caplog):
    docs.docs_text.cache_clear()
    with caplog.at_level(logging.INFO, logger="unf_lopt.tasks.data.docs"):
        text = data.docs_text()
    assert str(text) in caplog.text


def test_a_python_without_the_text_is_an_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(ImportError, match=r"docs_text\(\).*standard library"):
        docs.docs_text.__wrapped__()


def test_batches_are_windows_of_the_split():
    datasets = data.docs_datasets(length=16, batch_size=64, seed=3)
    assert datasets.extra_info["vocab_size"] == 259
    for split in ecosystem.SPLITS:
        batch = next(datasets.split(split))
        text = decode(data.docs_splits()[split])
        for obs, target in zip(batch["obs"], batch["target"], strict=True):
            assert decode(obs) + decode(target[-1:]) in text
        told = {name: (x.shape, x.dtype) for name, x in datasets.abstract_batch.items()}
        assert {name: (x.shape, x.dtype) for name, x in batch.items()} == told
    assert ecosystem.positions(datasets) == dict.fromkeys(ecosystem.SPLITS, 1)


def test_windows_that_do_not_fit_are_an_error():
    shortest = min(map(len, data.docs_splits().values()))
    with pytest.raises(ValueError, match=f"length={shortest}.*choose a length from 1 to"):
        data.docs_datasets(shortest, 4)
