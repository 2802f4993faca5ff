"""Predictors: what is invariant stays, what can be learned is, and what is asked for is checked."""

import dataclasses
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import mlp_spec
from unf_lopt import predict
from unf_lopt.weights import (
    PREDICTORS,
    ZOOS,
    FitOptions,
    Zoo,
    build_zoo,
    compare,
    comparison,
    fit,
    population_of,
    read_zoo,
    split_models,
    write_comparison,
)
from unf_lopt.weights.measures import target_of
from unf_lopt.weights.predictors import features_of, network_of

SPEC = mlp_spec([3, 5, 2])
NETWORKS = [name for name, own in PREDICTORS.items() if own.network]
QUICK = FitOptions(width=4, epochs=3)


def random_zoo(count=40, label=None, seed=0):
    rng = np.random.default_rng(seed)
    params = {
        path: rng.normal(size=(count, *shape)).astype(np.float32)
        for path, shape in zip(SPEC.paths, SPEC.shapes, strict=True)
    }
    # A function of the weights that no permutation of units changes.
    spread = np.mean(np.abs(params["linear_0/w"]), axis=(1, 2))
    labels = {
        "rate": 1 / (1 + np.exp(-8 * (spread - spread.mean()))),
        "class": (spread > np.median(spread)).astype(np.int32),
        "numbers": np.stack([3 * spread, spread**2], -1),
    }[label or "rate"]
    return Zoo("random", SPEC, params, {"label": labels}, "label")


@pytest.mark.parametrize("name", NETWORKS)
def test_predictions_are_invariant_where_they_say_so(name):
    with jax.enable_x64(True):
        kind, zoo = PREDICTORS[name], random_zoo(1)
        weights = {path: jnp.asarray(x[0], jnp.float64) for path, x in zoo.params.items()}
        network = network_of(SPEC, kind, 4, 3)

        def seen(own):
            alone = jax.tree.map(lambda x: x[None], own)
            return jax.tree.map(lambda x: x[0], kind.seen(alone) if kind.seen else alone)

        params = network.init(jax.random.key(0), seen(weights))
        apply = jax.jit(lambda params, own: network.apply(params, seen(own)))
        moved = SPEC.permute(weights, {"space_1": jnp.array([4, 2, 0, 1, 3])})
        difference = np.max(np.abs(apply(params, weights) - apply(params, moved)))
    assert (difference < 1e-12) == kind.invariant


def test_features_are_invariant():
    zoo = random_zoo(2)
    moved = jax.vmap(SPEC.permute, (0, None))(zoo.params, SPEC.sample(jax.random.key(0)))
    np.testing.assert_allclose(
        features_of(zoo.params), features_of(jax.device_get(moved)), atol=1e-5
    )


@pytest.mark.parametrize("label", ["rate", "class", "numbers"])
@pytest.mark.parametrize("name", ["mlp_augmented", "ridge", "boosting"])
def test_every_kind_of_label_is_fitted(name, label):
    zoo = random_zoo(label=label)
    split = split_models(len(zoo), 0)
    fitted = fit(name, zoo, split, QUICK)
    assert fitted.outputs.shape == (len(split.test), target_of(zoo.labels).outputs)
    assert np.isfinite(fitted.score) and fitted.setting in PREDICTORS[name].settings


def test_what_statistics_tell_is_learned():
    zoo = random_zoo(300)
    split = split_models(len(zoo), 0)
    for name in ("deep_sets", "ridge"):
        assert fit(name, zoo, split, FitOptions(width=8, epochs=20)).score > 0.7


def test_splits_have_no_model_twice():
    split = split_models(100, 3, num_train=30)
    rows = np.concatenate(split)
    assert len(split.train) == 30 and len(set(rows.tolist())) == len(rows)
    with pytest.raises(ValueError, match="make a larger zoo"):
        split_models(100, 3, num_train=90)


@given(count=st.integers(60, 120), kinds=st.integers(15, 30), seed=st.integers(0, 1000))
def test_splits_take_no_group_apart(count, kinds, seed):
    groups = np.random.default_rng(seed).integers(0, kinds, count).tolist()
    split = split_models(count, seed, groups=np.array(groups))
    assert sorted(np.concatenate(split)) == list(range(len(groups)))
    parts = [{groups[row] for row in part} for part in split]
    assert sum(map(len, parts)) == len(set(groups))


def test_groups_of_one_are_models():
    alone, grouped = split_models(50, 1), split_models(50, 1, groups=np.arange(50) * 3)
    for one, other in zip(alone, grouped, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match=r"50 models, and groups of shape \(49,\)"):
        split_models(50, 1, groups=np.arange(49))
    with pytest.raises(ValueError, match="make a larger zoo"):
        split_models(50, 1, groups=np.zeros(50))


def test_images_that_are_trained_on_are_not_in_the_test(tmp_path, monkeypatch):
    single = population_of("images", hidden=2, num_steps=1)
    population = dataclasses.replace(single, train=lambda keys: _twice(single, keys))
    zoo = build_zoo(tmp_path, population, 40, shard_size=40)
    assert len(set(zoo.groups.tolist())) <= 20
    seen = []

    def watched(name, zoo, split, *others, **options):
        seen.append(split)
        return fit(name, zoo, split, *others, **options)

    monkeypatch.setattr(comparison, "fit", watched)
    compare(read_zoo(tmp_path), ("linear",), num_splits=2)
    assert len(seen) == 2
    for split in seen:
        train, valid, test = (set(zoo.groups[part].tolist()) for part in split)
        assert not (train & test or train & valid or valid & test)


def _twice(population, keys):
    """Every image in two models."""
    params, columns = population.train(keys)
    first = jnp.arange(len(keys)) // 2 * 2
    return params, {name: x[first] for name, x in columns.items()}


def test_a_comparison_is_written(tmp_path):
    zoo = random_zoo()
    found = compare(zoo, ("ridge", "statnn"), num_splits=2, options=QUICK)
    page = write_comparison(tmp_path, zoo, found).read_text()
    written = json.loads((tmp_path / "comparison.json").read_text())
    for own, read in zip(found.scores, written["predictors"], strict=True):
        assert list(own.scores) == read["scores"] and f"{np.mean(own.scores):.3f}" in page
    assert (tmp_path / "predicted.png").stat().st_size > 5000
    with pytest.raises(ValueError, match="at least one predictor"):
        compare(zoo, ())


def test_finished_fits_are_kept(tmp_path, monkeypatch):
    zoo, names = random_zoo(), ("ridge", "statnn")
    calls = []

    def watched(name, *others, **options):
        calls.append(name)
        return fit(name, *others, **options)

    monkeypatch.setattr(comparison, "fit", watched)

    def found(zoo=zoo, options=QUICK):
        calls.clear()
        made = compare(zoo, names, num_splits=2, options=options, folder=tmp_path)
        return [(own.scores, own.settings, own.predicted.tolist()) for own in made.scores]

    first = found()
    assert calls == [*names, *names] and first == found() and calls == []
    damaged = next(tmp_path.glob("statnn_1-*"))
    damaged.write_bytes(damaged.read_bytes()[:-9])
    assert first == found() and calls == ["statnn"]
    # Other models, labels or options are other fits.
    found(options=FitOptions(width=4, epochs=2))
    assert calls == [*names, *names]
    found(random_zoo(label="numbers"))
    assert calls == [*names, *names]


def test_the_command(tmp_path, capsys):
    folder = f"--dir={tmp_path / 'zoo'}"
    settings = '--settings={"hidden": 3, "num_steps": 2}'
    command = ["--zoo=sines", folder, "--models=20", "--splits=1", settings]
    assert predict.main([*command, "--predictors=ridge"]) == 0
    assert "squared error" in capsys.readouterr().out
    for wrong, code, message in [
        ("--predictors=oracle", 1, "there is no ['oracle']"),
        ("--models=0", 2, "--models=0"),
        ('--settings={"depth": 1}', 1, "no setting ['depth']"),
        ("--settings=[1]", 1, "JSON such as"),
        ("--seed=1", 1, "another zoo"),
        ("--zoo=additions", 1, "zoo='additions': choose one of"),
        ("--models=many", 2, "--models=many"),
        ("--dir=", 2, "--dir=FOLDER"),
        ("--no_such_flag=1", 2, "no_such_flag"),
    ]:
        assert predict.main([*command, wrong]) == code
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


def test_the_help_has_every_zoo_and_predictor(capsys):
    assert predict.main(["--help"]) == 0
    words = set(re.findall(r"\w+", capsys.readouterr().out))
    assert words >= {*ZOOS, *PREDICTORS}
