"""The command that shows a task's symmetry."""

import pathlib
import re
from xml.etree import ElementTree

import pytest

from unf_lopt import ecosystem, inspect

ROOT = pathlib.Path(__file__).parents[1]


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


def test_a_picture(run, tmp_path):
    path = tmp_path / "demo.svg"
    code, printed = run("--config_file=demo.gin", "--noverify", f"--draw={path}")
    assert code == 0, printed
    assert f"picture: {path}" in printed
    root = ElementTree.parse(path).getroot()
    assert root.find("{*}title").text == "ImageMLP_Digits8_Relu32"
    assert [own.name for own in tmp_path.iterdir()] == ["demo.svg"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("demo.png", "must name a file that ends in .svg"),
        ("", "must name a file that ends in .svg"),
        (".svg", "must name a file that ends in .svg"),
        ("folder.svg", "is a folder; name a file in it"),
        ("none/demo.svg", "there is no folder none; make it first"),
    ],
)
def test_a_picture_that_cannot_be_written(run, tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.svg").mkdir()
    code, printed = run("--config_file=demo.gin", f"--draw={name}")
    assert code == 1
    assert printed == f"unf-lopt inspect: --draw={name}: {message}.\n"
    assert [own.name for own in tmp_path.iterdir()] == ["folder.svg"]


def test_the_picture_of_the_documentation_is_the_one_that_its_command_writes(
    run, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    page = (ROOT / "docs" / "symmetry.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^python -m unf_lopt.inspect (.*--draw=.*)$", page, re.MULTILINE)
    code, printed = run(*line.split())
    assert code == 0, printed
    (own,) = (tmp_path / "docs").iterdir()
    assert f"]({own.name})" in page
    assert own.read_bytes() == (ROOT / "docs" / own.name).read_bytes()


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
