"""Positioned readers: their order is a function of (seed, split, number) and of nothing else."""

import concurrent.futures
import sys

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unf_lopt import ecosystem
from unf_lopt.tasks import data


def rows_reader(examples=1000, batch_size=7, **kwargs):
    """A reader whose batches say which rows they hold."""
    return data.BatchReader({"row": np.arange(examples)}, batch_size, **kwargs)


def windows_reader(tokens=1000, length=4, batch_size=7, **kwargs):
    """A reader whose batches say which places of the text they hold."""
    return data.WindowReader(np.arange(tokens), length, batch_size, **kwargs)


every_reader = pytest.mark.parametrize("make_reader", [rows_reader, windows_reader])


def rows(batches):
    return [tuple(batch["row"] if "row" in batch else batch["obs"].flat) for batch in batches]


def toy_datasets(seed=0):
    splits = {
        split: {"image": np.full((20, 2, 2, 1), number, np.float32), "label": np.arange(20)}
        for number, split in enumerate(ecosystem.SPLITS)
    }
    return data.array_datasets(splits, batch_size=3, num_classes=20, seed=seed)


@given(
    examples=st.integers(1, 60),
    batch_size=st.integers(1, 60),
    seed=st.integers(0, 2**70),
    split=st.sampled_from(ecosystem.SPLITS),
    epoch=st.integers(0, 5),
)
def test_an_epoch_holds_no_example_twice_and_whole_batches_only(
    examples, batch_size, seed, split, epoch
):
    batch_size = min(batch_size, examples)
    reader = rows_reader(examples, batch_size, seed=seed, split=split)
    first = epoch * reader.batches_per_epoch
    drawn = [reader.batch(first + place)["row"] for place in range(reader.batches_per_epoch)]
    assert {batch.size for batch in drawn} == {batch_size}
    assert np.unique(drawn).size == np.size(drawn) > examples - batch_size


@every_reader
@given(numbers=st.lists(st.integers(0, 10**6), min_size=1, max_size=8), seed=st.integers(0, 9))
def test_a_batch_depends_on_seed_split_and_number_only(make_reader, numbers, seed):
    used = make_reader(seed=seed)
    in_one_reader = rows(used.batch(number) for number in numbers)
    in_new_readers = rows(make_reader(seed=seed).batch(number) for number in numbers)
    assert in_one_reader == in_new_readers


@every_reader
def test_seeds_splits_and_epochs_have_orders_of_their_own(make_reader):
    readers = [make_reader(seed=seed, split=split) for seed in (0, 1) for split in ecosystem.SPLITS]
    per_epoch = rows_reader().batches_per_epoch
    drawn = rows(reader.batch(epoch * per_epoch) for reader in readers for epoch in range(3))
    assert len(set(drawn)) == len(drawn) == 24


def test_iteration_is_the_sequence_of_batches_and_counts_them():
    reader = rows_reader()
    per_epoch = reader.batches_per_epoch
    drawn = rows(next(reader) for _ in range(2 * per_epoch + 3))
    assert drawn == rows(reader.batch(number) for number in range(len(drawn)))
    assert reader.position == len(drawn)


def test_a_window_is_consecutive_text_and_its_targets_are_one_ahead():
    batch = windows_reader(length=4).batch(3)
    assert batch["obs"].shape == batch["target"].shape == (7, 4)
    np.testing.assert_array_equal(np.diff(batch["obs"], axis=1), 1)
    np.testing.assert_array_equal(batch["target"], batch["obs"] + 1)


def test_every_window_of_the_text_comes_equally_often():
    """Also the first and the last: 5 windows of 4 tokens in a text of 8."""
    starts = windows_reader(tokens=8, length=3, batch_size=10_000).batch(0)["obs"][:, 0]
    counts = np.bincount(starts)
    assert counts.shape == (5,)
    np.testing.assert_allclose(counts, 2000, atol=6 * np.sqrt(2000))


def test_a_text_of_one_window_is_long_enough():
    batch = windows_reader(tokens=5, length=4, batch_size=2).batch(0)
    np.testing.assert_array_equal(batch["target"], [[1, 2, 3, 4]] * 2)


def test_arrays_stay_aligned_and_batches_are_copies():
    images = np.random.default_rng(0).normal(size=(50, 2, 2)).astype(np.float32)
    before = images.copy()
    reader = data.BatchReader({"image": images, "row": np.arange(50)}, 8)
    batch = next(reader)
    np.testing.assert_array_equal(batch["image"], before[batch["row"]])
    batch["image"][:] = 0
    np.testing.assert_array_equal(images, before)


@every_reader
def test_a_reader_set_to_a_position_goes_on_as_if_it_had_never_stopped(make_reader):
    uninterrupted, killed, resumed = make_reader(), make_reader(), make_reader()
    expected = rows(next(uninterrupted) for _ in range(400))
    for _ in range(171):
        next(killed)
    resumed.position = killed.position
    assert rows(next(resumed) for _ in range(400 - 171)) == expected[171:]


@every_reader
def test_a_reader_of_another_seed_starts_anew_and_leaves_the_first_alone(make_reader):
    reader = make_reader(seed=1, split="test")
    first = rows([next(reader)])
    twin = reader.with_seed(2)
    assert (reader.position, twin.position) == (1, 0)
    assert rows([next(twin)]) == rows([make_reader(seed=2, split="test").batch(0)]) != first
    assert rows([reader.with_seed(1).batch(0)]) == first


@every_reader
def test_threads_draw_every_batch_exactly_once(make_reader):
    reader = make_reader()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that threads interrupt each other within a draw
    try:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(lambda: [next(reader) for _ in range(250)]) for _ in range(8)]
            drawn = rows(batch for job in jobs for batch in job.result())
    finally:
        sys.setswitchinterval(interval)
    assert reader.position == 2000
    assert sorted(drawn) == sorted(rows(reader.batch(number) for number in range(2000)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rows_reader(10, 11), r"'train' has 10 examples.*from 1 to 10"),
        (lambda: rows_reader(10, 0), r"batch_size=0"),
        (lambda: rows_reader(seed=-1), r"BatchReader\(seed=-1\)"),
        (lambda: rows_reader(split="valid"), r"'valid'.*train, inner_valid, outer_valid, test"),
        (lambda: data.BatchReader({}, 1), r"at least one array"),
        (lambda: data.BatchReader({"a": np.ones(3), "b": np.ones(4)}, 1), r"'a': 3, 'b': 4"),
        (lambda: setattr(rows_reader(), "position", -1), r"BatchReader.position = -1"),
        (lambda: windows_reader(5, 5), r"length=5.*'train' has 5 tokens.*from 1 to 4"),
        (lambda: windows_reader(length=0), r"WindowReader\(length=0\)"),
        (lambda: windows_reader(batch_size=0), r"WindowReader\(batch_size=0\)"),
        (lambda: windows_reader(seed=-1), r"WindowReader\(seed=-1\)"),
        (lambda: windows_reader(split="valid"), r"'valid'.*train, inner_valid, outer_valid, test"),
        (lambda: setattr(windows_reader(), "position", -1), r"WindowReader.position = -1"),
    ],
)
def test_what_cannot_be_read_is_an_error(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def draw(family, steps):
    """Batches as the ecosystem's outer training draws them."""
    get_batches = ecosystem.load("training").get_batches
    return get_batches(family, (steps, 4), split="train", numpy=True)


def family_on(datasets):
    task = ecosystem.QuadraticTask()
    task.datasets = datasets
    return ecosystem.single_task_to_family(task)


def test_vectorized_draws_resume_from_saved_positions():
    uninterrupted, killed, resumed = (family_on(toy_datasets()) for _ in range(3))
    expected = draw(uninterrupted, 5)
    draw(killed, 2)
    next(killed.datasets.test)
    saved = ecosystem.positions(killed.datasets)
    assert saved == {"train": 8, "inner_valid": 0, "outer_valid": 0, "test": 1}
    ecosystem.set_positions(resumed.datasets, saved)
    rest = draw(resumed, 3)
    assert rest["image"].shape == (3, 4, 3, 2, 2, 1)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[2:]), rest, expected)


def test_the_abstract_batch_describes_the_batches():
    datasets = toy_datasets()
    for split in ecosystem.SPLITS:
        found = jax.tree.map(lambda x: (x.shape, x.dtype), next(datasets.split(split)))
        assert found == jax.tree.map(lambda x: (x.shape, x.dtype), datasets.abstract_batch)


def test_fresh_data_leave_the_original_alone():
    family = family_on(toy_datasets())
    draw(family, 2)
    before = ecosystem.positions(family.datasets)
    twin = ecosystem.with_fresh_data(family, seed=1)
    assert set(ecosystem.positions(twin.datasets).values()) == {0}
    drawn = draw(twin, 3)
    assert ecosystem.positions(family.datasets) == before
    assert ecosystem.positions(twin.datasets)["train"] == 12
    np.testing.assert_array_equal(drawn["label"], draw(family_on(toy_datasets(1)), 3)["label"])
    assert not np.array_equal(drawn["label"], draw(family_on(toy_datasets(0)), 3)["label"])


def test_a_task_without_data_has_nothing_to_position():
    task = ecosystem.QuadraticTask()
    assert ecosystem.positions(task.datasets) == {}
    ecosystem.set_positions(task.datasets, {})
    assert ecosystem.with_fresh_data(task, seed=1).datasets is None


def test_the_ecosystems_own_readers_cannot_be_positioned():
    own = ecosystem.Datasets(*(ecosystem.ThreadSafeIterator(iter(())) for _ in ecosystem.SPLITS))
    assert ecosystem.positions(own) is None
    with pytest.raises(ValueError, match="cannot be positioned"):
        ecosystem.set_positions(own, dict.fromkeys(ecosystem.SPLITS, 0))
    with pytest.raises(ValueError, match="cannot be started anew"):
        ecosystem.fresh_datasets(own, seed=1)


def test_positions_of_other_data_are_refused():
    with pytest.raises(ValueError, match="saved for other data"):
        ecosystem.set_positions(toy_datasets(), {"train": 3})
