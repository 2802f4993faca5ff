"""The command that shows a task's symmetry."""

import subprocess
import sys

import pytest

from unf_lopt import ecosystem


def inspect(*arguments):
    command = [sys.executable, "-m", "unf_lopt.inspect", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_task_of_a_config():
    outcome = inspect("--config_file=demo.gin", "--explain=mlp/~/linear_0/w:0")
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.startswith("ImageMLP_Digits8_Relu32\n\nparameter ")
    assert "groups: mlp/~/linear_0/b:0 (32)" in outcome.stdout
    assert outcome.stdout.count("axis 0 is [mlp/~/linear_0/w:0]\n    frozen: data") == 1
    assert "maximality: maximal" in outcome.stdout


def test_a_task_that_is_not_there():
    outcome = inspect("--task=NoSuchTask")
    assert outcome.returncode != 0
    assert "--task=NoSuchTask: no task 'NoSuchTask'" in outcome.stdout + outcome.stderr
    assert "--gin_import=MODULE" in outcome.stdout + outcome.stderr


@pytest.mark.parametrize("name", ["digits_mlp", "digits_mlp_family"])
def test_tasks_and_families_by_name(name):
    assert ecosystem.named_task_family(name).name == "ImageMLP_Digits8_Relu32"


def test_what_is_no_task():
    with pytest.raises(ValueError, match="makes a FunctionalLearnedOptimizer, not a task"):
        ecosystem.named_task_family("learned_sgdm")
