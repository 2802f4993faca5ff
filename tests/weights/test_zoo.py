"""Zoos: models are functions of their numbers, folders go on, and damage is told."""

import csv
import dataclasses
import json

import jax
import numpy as np
import pytest

from unf_lopt import PermutationSpec
from unf_lopt.runs import RunError
from unf_lopt.symmetry import SpecError
from unf_lopt.weights import Addition, Implicit, Zoo, build_zoo, population_of, read_zoo

TINY = {
    "addition": {"hidden": 4, "embedding": 3, "digits": 1, "num_steps": 3},
    "digits_mlp": {"hidden": 4, "num_steps": 3},
    "digits_cnn": {"hidden": 3, "num_steps": 3},
    "images": {"hidden": 3, "num_steps": 3},
    "sines": {"hidden": 3, "num_steps": 3},
}


@pytest.fixture(scope="module")
def population():
    return population_of("sines", **TINY["sines"])


def assert_same(one, other):
    for a, b in ((one.params, other.params), (one.columns, other.columns)):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.parametrize("name", TINY)
def test_every_zoo_trains_and_has_its_symmetry(name, tmp_path):
    own = population_of(name, **TINY[name])
    zoo = build_zoo(tmp_path, own, 3, shard_size=3)
    assert len(zoo) == 3 and zoo.spec == own.spec and zoo.spec.groups
    assert all(np.all(np.isfinite(x)) for x in zoo.params.values())
    assert len({x.tobytes() for x in next(iter(zoo.params.values()))}) == 3


def test_a_zoo_goes_on_where_it_stopped(population, tmp_path):
    whole = build_zoo(tmp_path / "whole", population, 5, shard_size=2)
    with pytest.raises(KeyboardInterrupt):
        build_zoo(tmp_path / "parts", population, 5, shard_size=2, report=_stop_at(2))
    assert len(read_zoo(tmp_path / "parts")) == 2
    assert_same(build_zoo(tmp_path / "parts", population, 5, shard_size=2), whole)
    assert_same(build_zoo(tmp_path / "whole", population, 3, shard_size=2), whole.first(3))


def _stop_at(count):
    def report(done):
        if done >= count:
            raise KeyboardInterrupt

    return report


def test_the_table_is_readable_without_us(population, tmp_path):
    zoo = build_zoo(tmp_path, population, 3, shard_size=3)
    with open(tmp_path / "table.csv") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["model"]) for row in rows] == [0, 1, 2]
    np.testing.assert_allclose([float(row["loss"]) for row in rows], zoo.columns["loss"], rtol=1e-6)
    described = json.loads((tmp_path / "zoo.json").read_text())
    assert described["settings"]["num_steps"] == 3 and described["label"] == "wave"


def test_another_zoo_and_damage_are_told(population, tmp_path):
    build_zoo(tmp_path, population, 2, shard_size=2)
    with pytest.raises(RunError, match="another zoo"):
        build_zoo(tmp_path, population, 2, shard_size=2, seed=1)
    shard = tmp_path / "shard_0.safetensors"
    shard.write_bytes(shard.read_bytes()[:50])
    with pytest.raises(RunError, match=r"shard_0\.safetensors is damaged"):
        read_zoo(tmp_path)
    with pytest.raises(RunError, match=r"zoo\.json"):
        read_zoo(tmp_path / "nowhere")


def test_networks_that_were_trained_elsewhere():
    tree = {"b": np.zeros(2), "w": np.zeros((3, 2))}
    spec = PermutationSpec.from_names({"b": ("h",), "w": ("x", "h")}, tree, fixed={"x"})
    zoo = Zoo.of(spec, [tree, jax.tree.map(np.ones_like, tree)], [0.1, 0.9])
    assert len(zoo) == 2 and zoo.params["w"].shape == (2, 3, 2)
    with pytest.raises(ValueError, match="1 networks and 2 labels"):
        Zoo.of(spec, [tree], [0.1, 0.9])
    with pytest.raises(SpecError):
        Zoo.of(spec, [{"w": np.zeros((3, 2))}], [0.1])


def test_sums_are_right():
    own = Addition(digits=2)
    question, answer = own.sums(jax.random.key(0), 50)
    digits = np.asarray(question)[:, [0, 1, 3, 4]]
    total = digits @ np.array([10, 1, 10, 1])
    np.testing.assert_array_equal(np.asarray(answer) @ np.array([1, 10, 100]), total)


def test_settings_that_are_none():
    for error, call in [
        ("'addition', 'digits_mlp'", lambda: population_of("subtraction")),
        (r"no setting \['depth'\]", lambda: population_of("sines", depth=3)),
        (r"Addition\(hidden=0\)", lambda: population_of("addition", hidden=0)),
        ("'own', 'shared'", lambda: dataclasses.replace(Implicit(), initialization="none")),
        (r"num_models=0", lambda: build_zoo("unused", None, 0)),
    ]:
        with pytest.raises(ValueError, match=error):
            call()
