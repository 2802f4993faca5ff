"""Held-out seeds and data, and numbers that make no sense."""

import itertools

import jax
import numpy as np
import pytest

from unf_lopt import ecosystem
from unf_lopt.evaluation.protocol import Protocol, positioned
from unf_lopt.tasks.image_mlp import digits_mlp_family


@pytest.mark.parametrize("seed", [0, 1])
def test_no_key_of_outer_training_is_used_whatever_its_seed(seed):
    held_out = Protocol(num_seeds=5, horizon=10, seed=seed).key
    for training_seed in range(5):
        key = jax.random.PRNGKey(training_seed)
        steps = jax.vmap(jax.random.fold_in, (None, 0))(key, np.arange(50_001))
        keys = np.concatenate([key[None], steps])
        assert not np.any(np.all(keys == held_out, axis=1))


def test_the_order_of_batches_is_its_own_and_the_same_for_every_optimizer():
    family = digits_mlp_family()
    protocol = Protocol(num_seeds=5, horizon=10)
    next(family.datasets.train)
    first, second = (next(protocol.fresh(family).datasets.train) for _ in range(2))
    np.testing.assert_array_equal(first["image"], second["image"])
    assert ecosystem.positions(family.datasets)["train"] == 1  # training's readers are left alone
    for data_seed in range(5):
        training = next(digits_mlp_family(data_seed=data_seed).datasets.train)
        assert np.any(first["image"] != training["image"])
    other = next(Protocol(num_seeds=5, horizon=10, seed=1).fresh(family).datasets.train)
    assert np.any(first["image"] != other["image"])


def test_readers_without_a_position_are_used_as_they_are():
    family = digits_mlp_family()
    batch = next(family.datasets.train)
    readers = {split: itertools.repeat(batch) for split in ecosystem.SPLITS}
    family.datasets = ecosystem.Datasets(**readers)
    assert not positioned(family)
    assert Protocol(num_seeds=5, horizon=10).fresh(family) is family


def test_evaluations_include_the_first_step_and_the_last():
    assert Protocol(num_seeds=1, horizon=20, eval_every=5).steps == [0, 5, 10, 15, 20]


def test_numbers_out_of_range_are_named():
    with pytest.raises(ValueError, match=r"horizon=25, eval_every=10.*the next is 30"):
        Protocol(num_seeds=5, horizon=25)
    with pytest.raises(ValueError, match="num_seeds=0"):
        Protocol(num_seeds=0, horizon=10)
