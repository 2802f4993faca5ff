"""Zoos: models are functions of their numbers, folders go on, and damage is told."""

import csv
import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unf_lopt import PermutationSpec
from unf_lopt.runs import RunError, read_file, read_json
from unf_lopt.symmetry import SpecError
from unf_lopt.weights import Adapters, Addition, Implicit, Zoo, build_zoo, population_of, read_zoo
from unf_lopt.weights import zoo as zoo_module

TINY = {
    "addition": {"hidden": 4, "embedding": 3, "digits": 1, "num_steps": 3},
    "digits_mlp": {"hidden": 4, "num_steps": 3},
    "digits_cnn": {"hidden": 3, "num_steps": 3},
    "images": {"hidden": 3, "num_steps": 3},
    "adapters": {"hidden": 3, "num_steps": 3, "base_steps": 2, "base_images": 5},
    "sines": {"hidden": 3, "num_steps": 3},
}


@pytest.fixture(scope="module")
def population():
    return population_of("sines", **TINY["sines"])


def assert_same(one, other):
    for kind in ("params", "columns", "shared"):
        a, b = getattr(one, kind), getattr(other, kind)
        assert list(a) == list(b)  # the order too: predictors see tensors in it
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.parametrize("name", TINY)
def test_every_zoo_trains_and_has_its_symmetry(name, tmp_path):
    own = population_of(name, **TINY[name])
    zoo = build_zoo(tmp_path, own, 3, shard_size=3)
    assert len(zoo) == 3 and zoo.spec == own.spec and zoo.spec.groups
    assert all(np.all(np.isfinite(x)) for x in zoo.params.values())
    assert len({x.tobytes() for x in next(iter(zoo.params.values()))}) == 3


@pytest.mark.parametrize("name", ["sines", "adapters"])
def test_a_zoo_goes_on_where_it_stopped(name, tmp_path):
    population = population_of(name, **TINY[name])
    whole = build_zoo(tmp_path / "whole", population, 5, shard_size=2)
    with pytest.raises(KeyboardInterrupt):
        build_zoo(tmp_path / "parts", population, 5, shard_size=2, report=_stop_at(2))
    assert len(read_zoo(tmp_path / "parts")) == 2
    assert_same(build_zoo(tmp_path / "parts", population, 5, shard_size=2), whole)
    assert_same(build_zoo(tmp_path / "whole", population, 3, shard_size=2), whole.first(3))
    assert_same(read_zoo(tmp_path / "whole"), whole)


def test_every_shard_is_read_once(population, tmp_path, monkeypatch):
    build_zoo(tmp_path, population, 5, shard_size=2)
    read = []
    for reader in (read_file, read_json):
        monkeypatch.setattr(
            zoo_module,
            reader.__name__,
            lambda path, reader=reader: read.append(path) or reader(path),
        )
    build_zoo(tmp_path, population, 5, shard_size=2)
    assert len(read) == len(set(read)) == 4  # three shards, and what the zoo is


def test_factors_multiply_the_base_that_is_kept(tmp_path):
    zoo = build_zoo(tmp_path, population_of("adapters", **TINY["adapters"]), 2, shard_size=2)
    own = Adapters(**TINY["adapters"])
    start = own.adapted(zoo.shared, own.init())
    assert_equal = jax.tree.map(np.testing.assert_array_equal, start, zoo.shared)
    assert assert_equal.keys() == zoo.shared.keys()
    factors = {name: x[0] for name, x in zoo.params.items()}
    made = own.adapted(zoo.shared, factors)["w_1"]
    expected = zoo.shared["w_1"] * (1 + factors["a_1"] @ factors["b_1"])
    np.testing.assert_allclose(made, expected, rtol=1e-6)
    assert zoo.group == "image" and np.all(zoo.groups >= 5)  # none that the base has seen


def test_batches_of_every_size_are_drawn():
    own = Addition(hidden=2, embedding=2, digits=1, num_steps=1, smallest_batch=2, largest_batch=4)
    _, columns = jax.jit(own.population().train)(jax.random.split(jax.random.key(0), 60))
    sizes, counts = np.unique(columns["batch_size"], return_counts=True)
    assert sizes.tolist() == [2, 3, 4] and counts.min() > 5


def test_sums_that_weigh_nothing_do_not_count():
    own = Addition(hidden=4, embedding=3, digits=2)
    params, (question, answer) = own.init(jax.random.key(0)), own.sums(jax.random.key(1), 5)
    weights = jnp.array([1.0, 1.0, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(
        own.loss(params, question, answer, weights),
        own.loss(params, question[:2], answer[:2]),
        rtol=1e-6,
    )


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
    assert len(zoo) == 2 and zoo.params["w"].shape == (2, 3, 2) and zoo.groups is None
    assert Zoo.of(spec, [tree, tree], [0.1, 0.9], groups=["a", "b"]).groups.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="2 networks and 1 groups"):
        Zoo.of(spec, [tree, tree], [0.1, 0.9], groups=["a"])
    with pytest.raises(ValueError, match=r"labels: numbers are needed, not <U4.*return_inverse"):
        Zoo.of(spec, [tree, tree], ["good", "bad"])
    with pytest.raises(ValueError, match="labels: at least one is needed, and all must be finite"):
        Zoo.of(spec, [tree, tree], [0.1, np.nan])
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
        (r"largest_batch=4\)", lambda: Addition(smallest_batch=5, largest_batch=4)),
        (r"digits=10\)", lambda: Addition(digits=10)),
        (r"num_train=1259\)", lambda: population_of("digits_mlp", num_train=1259)),
        (r"base_images=1797\)", lambda: population_of("adapters", base_images=1797)),
        ("'own', 'shared'", lambda: dataclasses.replace(Implicit(), initialization="none")),
        (r"num_models=0", lambda: build_zoo("unused", None, 0)),
    ]:
        with pytest.raises(ValueError, match=error):
            call()
