"""The benchmarks run; what they measure is nobody's test."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats

from benchmarks import averages, changed_theta, estimators, other_tools
from benchmarks.comparison import paired_difference
from unf_lopt.optimizers import read_theta

BENCHMARKS = pathlib.Path(__file__).parents[1] / "benchmarks"


def run(script, *arguments):
    command = [sys.executable, BENCHMARKS / script, *arguments]
    outcome = subprocess.run(command, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


@pytest.mark.slow
def test_outer_step_writes_its_figures(tmp_path):
    output = tmp_path / "figures.json"
    sizes = ["--outer_steps=2", "--num_tasks=2", "--trunc_length=2", "--horizon=4"]
    run("outer_step.py", *sizes, "--only", "learned_sgdm", f"--output={output}")
    results = json.loads(output.read_text())["results"]
    assert {name: figures["parameters"] for name, figures in results.items()} == {
        "learned_sgdm": 2,
        "deep_sets": 2788,
    }
    assert all(len(figures["meta_losses"]) == 2 for figures in results.values())


@pytest.mark.slow
def test_estimators_write_their_figures(tmp_path, monkeypatch):
    sizes = ["--horizons=8", "--trunc_length=4", "--pairs=1", "--estimates=40", "--warm_up=2"]
    monkeypatch.setattr(sys, "argv", ["", *sizes, f"--output={tmp_path / 'figures.json'}"])
    estimators.main()
    pes, reused = json.loads((tmp_path / "figures.json").read_text())["rows"]
    assert (pes["estimator"], reused["estimator"]) == ("TruncatedPES", "NoiseReuseES")
    assert pes["variance"] > 0 and reused["variance"] > 0 and reused["ratio"]["mean"] == 1
    # What both estimate is the same: so short, the one scatters as the other does.
    assert 0.1 < pes["ratio"]["mean"] < 10


@pytest.mark.slow
def test_layers_write_their_figures(tmp_path):
    output = tmp_path / "figures.json"
    networks = ["tied", "3 pointwise, UNF[1] full"]
    choice = ["--cases", "MLP 784-32-10", "--networks", *networks, "--seconds=0.1"]
    run("layers.py", *choice, f"--output={output}")
    figures = json.loads(output.read_text())["results"]["MLP 784-32-10"]
    assert set(figures) == {*networks, "pointwise", "4 pointwise"}
    assert figures["3 pointwise, UNF[1] full"]["coefficients"] == 3783 - 3  # without the scalars
    assert all(own["kernel_seconds"] > 0 for own in figures.values())
    shown = run("layers.py", f"--markdown={output}")
    assert len(shown.splitlines()) == 2 + len(figures)


@pytest.mark.slow
def test_an_average_of_two_thetas_is_a_theta_that_says_so(tmp_path, monkeypatch, capsys):
    output = tmp_path / "average.safetensors"
    monkeypatch.setattr(averages, "WEIGHTS", (0.25,))
    names = ["universal_controller", "universal_controller"]
    monkeypatch.setattr(sys, "argv", ["averages", *names, "--only", "bigram", f"--output={output}"])
    averages.main()
    assert "0.25 of the second" in capsys.readouterr().out
    found, given = read_theta(output), read_theta("universal_controller")
    assert found.optimizer == given.optimizer and found.outer_steps == 2 * given.outer_steps
    steps = given.outer_steps
    said = f"0.75 of {steps} outer steps, 0.25 of {steps} others"
    assert found.training["averaged"] == said
    assert found.tensors.keys() == given.tensors.keys()
    for name, tensor in given.tensors.items():
        np.testing.assert_allclose(found.tensors[name], tensor, rtol=1e-6)


def test_numbers_of_a_theta_are_changed_by_path_and_column(tmp_path, monkeypatch):
    output, added = tmp_path / "changed.safetensors", ["scalars/log_step=-0.5", "controller/out=1"]

    def change(*options):
        command = ["changed_theta", "universal_generalizing", f"--output={output}", *options]
        monkeypatch.setattr(sys, "argv", command)
        changed_theta.main()

    change("--add", *added, "--scale", "controller/out/2=0.5")
    found, given = read_theta(output), read_theta("universal_generalizing")
    assert found.training["changed"] == " ".join([*added, "controller/out/2=0.5"])
    expected = dict(given.tensors) | {"controller/out": given.tensors["controller/out"] + 1}
    expected["scalars/log_step"] = given.tensors["scalars/log_step"] - 0.5
    expected["controller/out"][:, 2] *= 0.5
    for name, tensor in expected.items():
        np.testing.assert_allclose(found.tensors[name], tensor, rtol=1e-6, err_msg=name)
    with pytest.raises(SystemExit, match=r"theta has no scalars/step; it has .*scalars/log_step"):
        change("--add", "scalars/step=1")


def test_differences_of_a_comparison_are_paired():
    """What both optimizers share, an inner seed that is hard, is in no interval."""
    ones, others = [[1.0, 9.0], [1.2, 9.2]], [[0.0, 8.0], [0.0, 8.0]]
    found = paired_difference(ones, others)
    assert found["mean"] == pytest.approx(1.1)
    half = 0.1 * scipy.stats.t.ppf(0.975, 1)  # of two differences, 1 and 1.2
    assert (found["low"], found["high"]) == pytest.approx((1.1 - half, 1.1 + half))
    assert paired_difference(ones, [[0.0, 8.0], [0.0, float("inf")]]) is None


@pytest.mark.slow
def test_a_comparison_of_no_task_says_which_there_are():
    command = [sys.executable, BENCHMARKS / "comparison.py", "digits_rnn"]
    outcome = subprocess.run(command, capture_output=True, text=True)
    assert outcome.returncode == 2
    assert "no such task: digits_rnn; there are digits_mlp, " in outcome.stderr


@pytest.mark.slow
def test_other_tools_are_given_what_this_package_finds(tmp_path):
    output = tmp_path / "new" / "figures.json"
    run("other_tools.py", "--tool=unf_lopt", f"--output={output}")
    found = json.loads(output.read_text())["results"]
    attention = [2, 8, 8, 16, 32]  # heads, two kinds of channels of a head, stream, hidden layer
    groups = [[32, 32], [8, 16], [8, 16, 16], [16], attention, attention]
    assert [own["groups"] for own in found.values()] == groups
    assert all(own["maximal"] == "maximal" for own in found.values())
    page = (BENCHMARKS.parent / "docs" / "other_tools.md").read_text(encoding="utf-8")
    shown = run("other_tools.py", "--markdown", str(output)).splitlines()[2:]
    assert len(shown) == len(found) and all(row.removesuffix(" |") in page for row in shown)


def test_a_tool_that_permutes_what_is_no_symmetry_is_told(tmp_path):
    names = list(other_tools.NETWORKS)
    results: dict = {name: {"groups": [], "change": 0.0} for name in names}
    results[names[0]] = {"groups": [2, 3], "change": 1e-16}
    results[names[1]] = {"groups": [4], "change": 0.25}
    results[names[2]] = {"error": "ValueError: no"}
    file = tmp_path / "tool.json"
    file.write_text(json.dumps({"tool": "made-up", "version": "1.0", "results": results}))
    cells = [row.split(" | ")[1] for row in other_tools.markdown([str(file)]).splitlines()]
    assert cells[0] == "made-up 1.0 |"
    assert cells[2:5] == [
        "2: 2, 3 |",
        "1: 4; **changes the output** by 0.2 |",
        "`ValueError: no` |",
    ]
    assert cells[5:] == ["none |"] * 3
