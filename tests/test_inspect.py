"""The command that shows a task's symmetry."""

import pytest

from unf_lopt import ecosystem, inspect


@pytest.fixture
def run(capsys):
    """The command in this process: its exit code and what it printed."""

    def run(*arguments):
        code = inspect.main(arguments)
        return code, "".join(capsys.readouterr())

    return run


def test_the_task_of_a_config(run):
    code, printed = run("--config_file=demo.gin", "--explain=mlp/~/linear_0/w:0")
    assert code == 0, printed
    assert printed.startswith("ImageMLP_Digits8_Relu32\n\nparameter ")
    assert "groups: mlp/~/linear_0/b:0 (32)" in printed
    assert printed.count("axis 0 is [mlp/~/linear_0/w:0]\n    frozen: data") == 1
    # Pixels that are black in every image of the batch cannot be told apart on numbers.
    assert "maximality: not refuted" in printed


def test_a_task_that_is_not_there(run):
    code, printed = run("--task=NoSuchTask")
    assert code == 2
    assert "--task=NoSuchTask: no task 'NoSuchTask'" in printed
    assert "--gin_import=MODULE" in printed


def test_the_ecosystems_quadratic_task(run):
    code, printed = run("--task=QuadraticTask")
    assert code == 0, printed
    assert "parameter  shape  axes" in printed
    assert "maximality: maximal" in printed


@pytest.mark.parametrize("name", ["digits_mlp", "digits_mlp_family"])
def test_tasks_and_families_by_name(name):
    assert ecosystem.named_task_family(name).name == "ImageMLP_Digits8_Relu32"


@pytest.mark.parametrize(
    "name",
    [
        "QuadraticTask",
        "BatchQuadraticTask",
        "LogQuadraticTask",
        "SumQuadraticTask",
        "FixedDimQuadraticFamily",
        "quadratics.QuadraticTask",
    ],
)
def test_the_ecosystems_own_by_name(name):
    family = ecosystem.named_task_family(name)
    assert isinstance(family, ecosystem.TaskFamily)
    assert ecosystem.spec_of(family).paths


def test_a_misspelt_task_names_the_nearest():
    with pytest.raises(ValueError, match="Did you mean QuadraticTask"):
        ecosystem.named_task_family("QuadraticTsk")


def test_what_needs_arguments_says_so():
    with pytest.raises(ValueError, match="single_task_to_family cannot be made without more"):
        ecosystem.named_task_family("single_task_to_family")


def test_what_is_no_task():
    with pytest.raises(ValueError, match="makes a TransformationLearnedOptimizer, not a task"):
        ecosystem.named_task_family("learned_sgdm")
