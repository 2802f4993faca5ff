"""The paper's data: an answer at once where they are missing, its tasks where they are there."""

import importlib.util
import os
import subprocess
import sys

import gin
import jax
import numpy as np
import pytest

from tests.configs import configure
from tests.tasks import prepared_data
from unf_lopt import ecosystem
from unf_lopt.tasks import image_cnn, image_mlp, rnn_lm, transformer_lm
from unf_lopt.tasks.data import ByteVocabulary
from unf_lopt.tasks.data.sentence_pieces import BUCKET_PATH

KEY = jax.random.PRNGKey(0)

# What each task reads, and the task to go on with where that is missing.
TASKS = {
    image_mlp.fashion_mnist_mlp: ("fashion_mnist/3.0.1", "ImageMLP_Digits8_Relu32"),
    image_cnn.cifar10_cnn: ("cifar10/3.0.2", "Conv_Digits8_16x32"),
    rnn_lm.lm1b_rnn: ("lm1b/1.1.0", "RNNLM_docsbytes_Patch16_IRNN64_Embed32"),
    transformer_lm.lm1b_transformer: (
        "lm1b/1.1.0",
        "TransformerLM_docsbytes_Patch8_2layer_32width",
    ),
}


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


@pytest.mark.parametrize("make_task", TASKS, ids=lambda make: make.__name__)
def test_the_tasks_say_so_too_and_name_one_that_is_there(make_task, data_dir):
    folder, stand_in = TASKS[make_task]
    with pytest.raises(FileNotFoundError) as error:
        make_task()
    assert f"{data_dir}/{folder}" in str(error.value)
    assert f"@{stand_in}()" in str(error.value)
    assert gin.get_configurable(stand_in)().name == stand_in
    assert list(data_dir.iterdir()) == []


def check(task, shapes):
    """The batches are as told, in every split, and the readers are the ecosystem's own."""
    for split in ecosystem.SPLITS:
        batch = next(task.datasets.split(split))
        assert {name: array.shape for name, array in batch.items()} == shapes
        told = {name: (x.shape, x.dtype) for name, x in task.datasets.abstract_batch.items()}
        assert {name: (x.shape, x.dtype) for name, x in batch.items()} == told
    assert ecosystem.positions(task.datasets) is None
    return batch


def spec_of(task):
    return ecosystem.spec_of(ecosystem.single_task_to_family(task))


def test_fashion_mnist_gives_the_ecosystems_task(data_dir):
    prepared_data.write_images("fashion_mnist", data_dir, (28, 28, 1))
    task = image_mlp.fashion_mnist_mlp()
    assert type(task).__module__ == "learned_optimization.tasks.fixed.image_mlp"
    batch = check(task, {"image": (128, 8, 8, 1), "label": (128,)})
    assert 2 < task.loss(task.init(KEY), KEY, batch) < 4
    assert spec_of(task) == ecosystem.spec_of(image_mlp.digits_mlp_family())


def test_cifar10_gives_the_papers_cnn(data_dir):
    prepared_data.write_images("cifar10", data_dir, (32, 32, 3))
    task = image_cnn.cifar10_cnn()
    batch = check(task, {"image": (128, 16, 16, 3), "label": (128,)})
    assert 2 < task.loss(task.init(KEY), KEY, batch) < 4
    assert task.init(KEY)["conv2_d"]["w"].shape == (3, 3, 3, 16)
    assert gin.get_configurable(task.name)().name == "Conv_Cifar10_16_16x32"


def test_lm1b_bytes_give_the_papers_rnn(data_dir):
    """Byte for byte what was written, in the encoding that the offline data have too."""
    prepared_data.write_lm1b(data_dir)
    task = rnn_lm.lm1b_rnn()
    batch = check(task, dict.fromkeys(("obs", "target"), (64, 16)))
    np.testing.assert_array_equal(batch["obs"][:, 1:], batch["target"][:, :-1])
    expected = {
        tuple(np.pad(tokens, (0, 17))[:17])
        for text in prepared_data.SENTENCES
        for tokens in [ByteVocabulary().encode(text.encode())]
    }
    windows = np.concatenate([batch["obs"], batch["target"][:, -1:]], axis=1)
    assert set(map(tuple, windows)) == expected
    assert 5 < task.loss(task.init(KEY), KEY, batch) < 12
    assert spec_of(task) == ecosystem.spec_of(rnn_lm.docs_rnn_family())
    assert gin.get_configurable(task.name)().name == "RNNLM_lm1bbytes_Patch16_IRNN64_Embed32"


@pytest.mark.parametrize(
    ("config", "groups"), [("cifar10_cnn.gin", [16, 32]), ("lm1b_rnn.gin", [32, 64])]
)
def test_the_configs_are_built_on_them(config, groups, data_dir):
    prepared_data.write_images("cifar10", data_dir, (32, 32, 3))
    prepared_data.write_lm1b(data_dir)
    configure(config=config)
    assert list(gin.get_bindings("train")["lopt"].spec.groups.values()) == groups


def test_padding_counts_for_nothing(data_dir):
    prepared_data.write_lm1b(data_dir)
    task = rnn_lm.lm1b_rnn()
    batch = dict(next(task.datasets.train))
    counts = batch["obs"] != 0
    assert not counts.all()
    loss, aux = task.loss_and_aux(task.init(KEY), KEY, batch)
    other = {**batch, "target": np.where(counts, batch["target"], 77)}
    assert task.loss_and_aux(task.init(KEY), KEY, other) == (loss, aux)
    # The ecosystem's class for such tasks, whose module needs the language data sets'.
    ecosystem.load_language_module()
    theirs = ecosystem.load("tasks.fixed.rnn_lm").TeacherForcedRNNLM(
        lambda: ecosystem.load("tasks.rnn").IRNN(64), 32, None, task.datasets
    )
    params = theirs.init(KEY)
    assert jax.tree.map(np.shape, params) == jax.tree.map(np.shape, task.init(KEY))
    np.testing.assert_allclose(
        task.loss(params, KEY, batch), theirs.loss(params, KEY, batch), rtol=1e-6
    )


def test_a_vocabulary_that_is_missing_is_named_and_not_downloaded(data_dir):
    prepared_data.write_lm1b(data_dir)
    with pytest.raises(FileNotFoundError) as error:
        transformer_lm.lm1b_transformer()
    for part in (
        f"no file {data_dir / BUCKET_PATH}",
        f"https://storage.googleapis.com/{BUCKET_PATH}",
        "@TransformerLM_docsbytes_Patch8_2layer_32width()",
    ):
        assert part in str(error.value)
    with pytest.raises(FileNotFoundError, match="no file elsewhere"):
        transformer_lm.lm1b_transformer(vocabulary="elsewhere")


def test_what_reads_the_vocabulary_is_named_where_it_is_missing(data_dir, monkeypatch):
    prepared_data.write_lm1b(data_dir)
    vocabulary = data_dir / "some.model"
    vocabulary.write_bytes(b"")
    find_spec = importlib.util.find_spec
    absent = lambda name, *rest: None if name == "seqio" else find_spec(name, *rest)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", absent)
    with pytest.raises(ImportError, match=r"seqio, which is not installed:\n.*--no-deps seqio"):
        transformer_lm.lm1b_transformer(vocabulary=str(vocabulary))


def test_word_pieces_give_the_papers_transformer(data_dir):
    """With a small vocabulary, trained here; only where seqio is installed."""
    pytest.importorskip("seqio")
    import sentencepiece

    prepared_data.write_lm1b(data_dir)
    path = data_dir / BUCKET_PATH
    path.parent.mkdir(parents=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(100 * prepared_data.SENTENCES),
        model_prefix=str(path.with_suffix("")),
        vocab_size=36,
        minloglevel=2,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
    )
    task = transformer_lm.lm1b_transformer()
    assert task.datasets.extra_info["vocab_size"] == 36 + 100
    batch = check(task, dict.fromkeys(("obs", "target"), (8, 8)))
    assert (task.name, batch["obs"].min()) == ("TransformerLM_LM1B_MultiRuntime_2", 0)
    assert 4 < task.loss(task.init(KEY), KEY, batch) < 8
    offline = ecosystem.spec_of(transformer_lm.docs_transformer_family())
    assert spec_of(task).groups == offline.groups


def test_bytes_are_numbered_as_in_seqio():
    """The real one where it is installed; else the numbers written down from it."""
    import tensorflow as tf

    vocabulary, text = ByteVocabulary(), "añb\x00\n"
    expected, size = [100, 198, 180, 101, 3, 13], 259
    if importlib.util.find_spec("seqio"):
        import seqio

        real = seqio.ByteVocabulary()
        assert (real.encode(text), real.vocab_size) == (expected, size)
    assert vocabulary.vocab_size == size
    assert vocabulary.encode(text.encode()).tolist() == expected
    found = vocabulary.encode_tf(tf.constant(text))
    assert (found.dtype, found.numpy().tolist()) == (tf.int32, expected)
