"""The benchmarks run; what they measure is nobody's test."""

import json
import pathlib
import subprocess
import sys

import pytest
import scipy.stats

from benchmarks.comparison import paired_difference

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
