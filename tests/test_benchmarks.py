"""The benchmarks run; what they measure is nobody's test."""

import json
import pathlib
import subprocess
import sys

SCRIPT = pathlib.Path(__file__).parents[1] / "benchmarks" / "outer_step.py"


def test_outer_step_writes_its_figures(tmp_path):
    output = tmp_path / "figures.json"
    sizes = ["--outer_steps=2", "--num_tasks=2", "--trunc_length=2", "--horizon=4"]
    command = [sys.executable, SCRIPT, *sizes, "--only", "learned_sgdm", f"--output={output}"]
    outcome = subprocess.run(command, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr
    results = json.loads(output.read_text())["results"]
    assert {name: figures["parameters"] for name, figures in results.items()} == {
        "learned_sgdm": 2,
        "deep_sets": 2788,
    }
    assert all(len(figures["meta_losses"]) == 2 for figures in results.values())
