"""Files that are damaged, of another kind or made to mislead: one line, and nothing is written."""

import hashlib
import json
import os

import jax
import numpy as np
import pytest
import safetensors.numpy

from tests.evaluation.made_up import outcome
from unf_lopt import optimizers, weights
from unf_lopt.__main__ import main
from unf_lopt.evaluation import results
from unf_lopt.optimizers import SavedTheta, read_theta
from unf_lopt.runs import RunError
from unf_lopt.symmetry import PermutationSpec

DEEP = "[" * 200_000
LOPT = optimizers.mixed_step()
THETA = jax.tree.map(np.asarray, LOPT.init(jax.random.key(0)))
TENSORS = {f"scalars/{name}": x for name, x in THETA["scalars"].items()}
ABOUT = {
    "format": "unf_lopt.theta/1",
    "optimizer": LOPT.description(),
    "outer_steps": 3,
    "spec": None,
    "training": {},
    "version": "0.2.0",
}
SPEC = {"axes": {"w": ["a", "b"]}, "sizes": {"a": 3, "b": 4}, "fixed": []}


def forged(path, tensors=TENSORS, text=None, **said):
    """A theta file whose checksum is right, whatever it says."""
    about = {name: x for name, x in {**ABOUT, **said}.items() if x is not ...}
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, array in sorted(tensors.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    text = json.dumps({**about, "sha256": digest.hexdigest()}) if text is None else text
    path.write_bytes(safetensors.numpy.save(dict(tensors), {"unf_lopt": text}))
    return path


def test_the_forgery_is_taken_where_nothing_is_odd(tmp_path):
    assert isinstance(read_theta(forged(tmp_path / "good.safetensors")), SavedTheta)
    read_theta(forged(tmp_path / "bound.safetensors", spec=SPEC))


ODD = {
    "text for a number": {"outer_steps": "abc"},
    "a list for a number": {"outer_steps": [1]},
    "no number": {"outer_steps": ...},
    "a share of a step": {"outer_steps": 1.7},
    "steps below none": {"outer_steps": -5},
    "more steps than can be": {"outer_steps": 10**400},
    "whether for how many": {"outer_steps": True},
    "brackets": {"text": DEEP},
    "a list of axes": {"spec": {"axes": [], "sizes": {}, "fixed": []}},
    "a space without a size": {"spec": {**SPEC, "sizes": {"a": 3}}},
    "a size below none": {"spec": {**SPEC, "sizes": {"a": 3, "b": -4}}},
    "a fixed space that is none": {"spec": {**SPEC, "fixed": ["c"]}},
    "a list for a training": {"training": []},
    "nothing for a training": {"training": None},
    "numbers for names": {"training": {"task_families": [1]}},
    "a text for an optimizer": {"optimizer": "unf"},
    "a list for a version": {"version": ["a|b\n# hi"]},
    "whole numbers": {"tensors": {k: x.astype(np.int32) for k, x in TENSORS.items()}},
    "half precision": {"tensors": {k: x.astype(np.float16) for k, x in TENSORS.items()}},
    "complex numbers": {"tensors": {k: x.astype(np.complex64) for k, x in TENSORS.items()}},
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_theta(name, tmp_path):
    path = forged(tmp_path / "theta_1.safetensors", **ODD[name])
    with pytest.raises(RunError) as told:
        read_theta(path)
    assert str(path) in str(told.value) and "\n" not in str(told.value)


def test_a_pipe_is_no_theta(tmp_path):
    os.mkfifo(tmp_path / "theta_1.safetensors")
    with pytest.raises(RunError, match="neither a file nor a folder"):
        read_theta(tmp_path / "theta_1.safetensors")


GOOD = json.dumps(results.summary(outcome(0.05, names=("mine",))))
RESULTS = {
    "empty": b"",
    "a page": b"<html></html>",
    "a mark before it": b"\xef\xbb\xbf{}",
    "another encoding": '{"é": 1}'.encode("latin-1"),
    "brackets": DEEP.encode(),
    "nothing": b"null",
    "a list": b"[]",
    "no form": b"{}",
    "another form": json.dumps({**json.loads(GOOD), "format": "unf_lopt.evaluation/1"}).encode(),
    **{
        f"{part} {'is' if value is None else 'are'} {value}": json.dumps(
            {**json.loads(GOOD), part: value}
        ).encode()
        for part in ("contestants", "tasks")
        for value in (None, [], 3)
    },
}


@pytest.mark.parametrize("name", RESULTS)
def test_results_that_are_none(name, tmp_path, refused):
    forged(tmp_path / "theta_3.safetensors")
    (tmp_path / "results.json").write_bytes(RESULTS[name])
    line = refused("card", "--theta=theta_3.safetensors", "--name=mine", "--results=results.json")
    assert "results" in line


@pytest.mark.parametrize("text", [b"", b"[]", b"{", DEEP.encode()])
def test_a_damaged_run_has_no_card(text, tmp_path, refused):
    run = tmp_path / "run"
    run.mkdir()
    forged(run / "theta_3.safetensors")
    (run / "run.json").write_bytes(text)
    assert "run.json is damaged" in refused("card", "--theta=run", "--name=mine")


def test_a_row_in_the_making_is_not_read(tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    forged(run / "theta_3.safetensors")
    (run / "config.gin").write_bytes("# é\n".encode("latin-1"))
    (run / "metrics.csv").write_text("outer_step,skipped,seconds\n1,0,3600.0\n2,0,72")
    flags = [f"--theta={run}", "--name=mine", f"--weights_dir={tmp_path}"]
    assert main(["card", *flags]) == 0, capsys.readouterr().err
    assert "| hours by the clock | 1.00 |" in (tmp_path / "mine" / "README.md").read_text()


PREDICT = (
    "--models=0",
    "--models=-3",
    "--models=99999999999999",
    "--models=1",
    "--shard=0",
    "--splits=0",
    "--num_train=0",
    "--num_train=99999",
    "--width=1000000000",
    "--seed=4294967296",
    "--seed=-1",
    "--predictors=ridge,ridge",
    "--predictors=rigde",
    '--settings={"num_steps": "x"}',
    '--settings={"num_steps": null}',
    '--settings={"num_steps": [3]}',
    '--settings={"num_steps": 1.5}',
    '--settings={"num_steps": true}',
    '--settings={"num_steps": 99999999999}',
    '--settings={"hidden": 2.5}',
    '--settings={"learning_rate": Infinity}',
    '--settings={"frequency": NaN}',
    "--settings=" + DEEP,
)


@pytest.mark.parametrize("flag", PREDICT, ids=lambda flag: flag[:40])
def test_what_predict_cannot_do(flag, refused):
    refused("predict", "--zoo=sines", "--dir=zoo", flag)


@pytest.mark.parametrize(
    "settings", ['{"digits": 2.5}', '{"hidden": true}', '{"lowest_rate": 1, "highest_rate": 0.5}']
)
def test_what_additions_cannot_be(settings, refused):
    refused("predict", "--zoo=addition", "--dir=zoo", f"--settings={settings}")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo")
    population = weights.population_of("sines", num_steps=1, hidden=2)
    weights.build_zoo(folder, population, 4, shard_size=2)
    return folder


def changed(change):
    """A change of the first file's arrays."""

    def damage(folder):
        file = sorted(folder.glob("*.safetensors"))[0]
        file.write_bytes(safetensors.numpy.save(change(safetensors.numpy.load_file(file))))

    return damage


def _first(arrays, kind):
    return next(name for name in sorted(arrays) if name.startswith(kind))


def _with(arrays, kind, change):
    name = _first(arrays, kind)
    return {**arrays, name: np.ascontiguousarray(change(arrays[name]))}


def _without(arrays, kind):
    name = _first(arrays, kind)
    return {own: x for own, x in arrays.items() if own != name}


DAMAGES = {
    "no description": lambda folder: (folder / "zoo.json").write_text(""),
    "another encoding": lambda folder: (folder / "zoo.json").write_bytes(b"\xe9"),
    "brackets": lambda folder: (folder / "zoo.json").write_text(DEEP),
    "a list": lambda folder: (folder / "zoo.json").write_text("[]"),
    "a parameter less": changed(lambda own: _without(own, "parameter:")),
    "a short parameter": changed(lambda own: _with(own, "parameter:", lambda x: x[:1])),
    "a narrow one": changed(lambda own: _with(own, "parameter:", lambda x: x[..., :1])),
    "whole numbers": changed(lambda own: _with(own, "parameter:", lambda x: x.astype(np.int32))),
    "no numbers": changed(lambda own: _with(own, "parameter:", lambda x: x * np.nan)),
    "no columns": changed(
        lambda own: {name: x for name, x in own.items() if name.startswith("parameter:")}
    ),
    "a short column": changed(lambda own: _with(own, "column:", lambda x: x[:1])),
    "one number for a column": changed(lambda own: _with(own, "column:", lambda x: x.ravel()[0])),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_zoo(name, zoo, tmp_path):
    folder = tmp_path / "zoo"
    folder.mkdir()
    for path in zoo.iterdir():
        if path.is_file() and path.suffix in (".json", ".safetensors"):
            (folder / path.name).write_bytes(path.read_bytes())
    DAMAGES[name](folder)
    population = weights.population_of("sines", num_steps=1, hidden=2)
    for read in (
        lambda: weights.read_zoo(folder),
        lambda: weights.build_zoo(folder, population, 4, shard_size=2),
    ):
        with pytest.raises(RunError) as told:
            read()
        assert str(folder) in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize(
    "text", ["{}", "null", "[]", "", DEEP, '{"axes": {}, "sizes": 3, "fixed": []}']
)
def test_a_text_that_is_no_spec(text):
    with pytest.raises(ValueError, match="from_json: this is no spec that to_json wrote"):
        PermutationSpec.from_json(text)
