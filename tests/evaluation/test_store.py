"""Finished runs on disk: what is kept is what was found, and nothing else is taken for it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unf_lopt import ecosystem
from unf_lopt.evaluation.contestants import hand_designed
from unf_lopt.evaluation.curves import Curves
from unf_lopt.evaluation.identity import run_key, task_identity
from unf_lopt.evaluation.protocol import Protocol
from unf_lopt.evaluation.store import Store

PROTOCOL = Protocol(num_seeds=2, horizon=10)


def made(value):
    steps = np.arange(0, 30, 10)
    return [
        Curves(steps, {split: np.full((2, 3), value + number) for split in ("train", "test")})
        for number in range(2)
    ]


def never():
    pytest.fail("it is there already")


def same(found, expected):
    for own, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(own.steps, other.steps)
        assert list(own.loss) == list(other.loss)
        for split, losses in other.loss.items():
            np.testing.assert_array_equal(own.loss[split], losses)


def test_what_is_kept_is_read_with_every_bit_and_under_its_key_only(tmp_path):
    store = Store(tmp_path / "runs")
    assert not (tmp_path / "runs").exists()  # nothing is written before something is finished
    first = made(np.float64(1) / 3)
    first[1].loss["test"][0, 1] = np.nan
    same(store.curves("a name / of it", "key", ["0.1", "1"], lambda: first), first)
    same(Store(tmp_path / "runs").curves("a name / of it", "key", ["0.1", "1"], never), first)
    assert store.has("a name / of it", "key") and not store.has("a name / of it", "another key")
    second = made(2.0)
    same(store.curves("a name / of it", "another key", ["0.1", "1"], lambda: second), second)


@pytest.mark.parametrize("damage", [b"", b"PK", b"no archive"])
def test_a_file_that_is_damaged_is_as_none(tmp_path, damage):
    store = Store(tmp_path)
    store.curves("name", "key", ["", "1"], lambda: made(1.0))
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage + path.read_bytes()[: 40 * len(damage)])
    assert not store.has("name", "key")
    same(store.curves("name", "key", ["", "1"], lambda: made(3.0)), made(3.0))
    same(store.curves("name", "key", ["", "1"], never), made(3.0))


class Bowl(ecosystem.Task):
    def __init__(self, power, size=3):
        super().__init__()
        self._power, self._size = power, size

    def init(self, key):
        return jax.random.normal(key, (self._size,))

    def loss(self, params, key, data):
        return jnp.sum(jnp.abs(params) ** self._power)


def identity(*arguments, protocol=PROTOCOL):
    return task_identity(ecosystem.single_task_to_family(Bowl(*arguments)), protocol)


def test_tasks_of_one_name_that_differ_are_told_apart():
    found = [identity(2.0), identity(3.0), identity(2.0, 4)]
    assert {own["name"] for own in found} == {"Bowl"}
    assert len({str(own) for own in found}) == 3
    assert identity(2.0) == found[0]


def test_a_key_has_all_that_a_run_depends_on():
    adam, sgd = hand_designed("adam"), hand_designed("sgd")
    task, settings = {"name": "task"}, ["0.1", "1"]
    keys = {
        run_key(task, adam, settings, PROTOCOL),
        run_key({"name": "other"}, adam, settings, PROTOCOL),
        run_key(task, sgd, settings, PROTOCOL),
        run_key(task, adam, settings[:1], PROTOCOL),
        run_key(task, adam, settings, PROTOCOL.tuning(2)),
        run_key(task, adam, settings, Protocol(num_seeds=2, horizon=20)),
        run_key(task, adam, settings, Protocol(num_seeds=2, horizon=10, seed=1)),
    }
    assert len(keys) == 7
    assert run_key(task, hand_designed("adam"), settings, Protocol(2, 10)) in keys
