"""The README and the pages of docs/: their Python prints what they say, and their commands run."""

import ast
import contextlib
import importlib
import io
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from tests.configs import TINY
from unf_lopt.commands import settings

ROOT = pathlib.Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").glob("*.md")),
    )
}
# Configurations whose estimators see whole inner runs.
WHOLE_RUNS = ("mixed.gin", "controller.gin", "finetune.gin")
TINY_MIXED = ("SHORTEST_HORIZON = 3", "HorizonES.num_pairs = 2", "unf_controller.width = 4")
# In this order: a command may use the folder that one before it made.
RUN = (
    "docs/training.md",
    "docs/optimizers.md",
    "docs/evaluation.md",
    "docs/weights.md",
    "docs/own_task.md",
)
TINY_SETTINGS = {
    "train": [f"--gin_bindings={binding}" for binding in TINY],
    "evaluate": [
        "--gin_bindings=evaluate.eval_every = 2",
        "--gin_bindings=evaluate.horizon = 4",
        "--gin_bindings=evaluate.num_seeds = 2",
        "--gin_bindings=evaluate.num_tuning_seeds = 1",
        "--gin_bindings=evaluate.baselines = ('muon',)",
    ],
    "predict": ["--models=20", "--splits=1", "--epochs=1", '--settings={"num_steps": 2}'],
    "inspect": [],
    "card": [],
}


def blocks(page):
    return re.findall(r"```(\w+)\n(.*?)```", PAGES[page], re.DOTALL)


def commands(page):
    for kind, text in blocks(page):
        if kind == "bash":
            for line in text.replace("\\\n", " ").splitlines():
                if command := line.split(" #")[0].split("#SBATCH")[0].strip():
                    yield command


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if "```python" in PAGES[page]])
def test_python_prints_what_is_written(page, tmp_path, monkeypatch):
    """In the order of the page; a block may use what those before it made."""
    monkeypatch.chdir(tmp_path)
    names, found = {}, blocks(page)
    for (kind, code), (after, output) in zip(found, [*found[1:], ("", "")], strict=True):
        if kind == "python":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(code, names)
            assert printed.getvalue() == (output if after == "text" else "")


def write_files(page, folder):
    """The blocks that begin with the name of a file, such as `# my_task.py`."""
    for kind, text in blocks(page):
        if named := re.match(rf"# (\w+\.{dict(python='py').get(kind, kind)})\n", text):
            (folder / named[1]).write_text(text, encoding="utf-8")


@pytest.mark.slow
def test_commands_of_ours_run(tmp_path):
    """In a folder of their own, with tiny numbers."""
    for page in RUN:
        write_files(page, tmp_path)
    for command in [command for page in RUN for command in commands(page)]:
        arguments = shlex.split(command)
        name = arguments[2].removeprefix("unf_lopt.")
        arguments += TINY_SETTINGS[name]
        if name == "train" and any(own in command for own in WHOLE_RUNS):
            arguments += [f"--gin_bindings={binding}" for binding in TINY_MIXED]
        if name == "evaluate" and "held_out.gin" in command:
            arguments += ["--gin_bindings=held_out.only = ('digits_linear',)"]
        outcome = subprocess.run(
            [sys.executable, *arguments[1:]], cwd=tmp_path, capture_output=True, text=True
        )
        assert outcome.returncode == 0, f"{command}\n{outcome.stderr}"


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_known(page):
    """`make` targets that exist, commands of ours, and what other programs do."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    ours = (ROOT / "unf_lopt").glob("*.py")
    names = {path.stem for path in ours if "def main" in path.read_text(encoding="utf-8")}
    for command in commands(page):
        words = shlex.split(command)
        if words[0] == "make":
            for target in [word for word in words[1:] if "=" not in word]:
                assert re.search(rf"^{target}:|^\.PHONY:.*\b{target}\b", makefile, re.MULTILINE)
        elif words[:2] == ["python", "-m"]:
            assert words[2].removeprefix("unf_lopt.") in names, command
        elif words[0] == "python":
            assert (ROOT / words[1]).exists(), command
        elif words[0] == "unf-lopt":
            assert words[1] in names, command
        else:
            assert words[0] in ("pip", "git", "srun", "gcloud"), command


@pytest.mark.parametrize("page", PAGES)
def test_bindings_that_are_shown_are_allowed(page):
    """Of options whose values the table of settings has."""
    value = r"('[^']*'|\([^)]*\)|True|False|None|[\d.e-]+)(?=[\s`'\"]|$)"
    for name, parameter, shown in re.findall(rf"\b(\w+)\.(\w+) ?= ?{value}", PAGES[page]):
        if allowed := settings.SETTINGS.get(name, {}).get(parameter):
            assert allowed.allows(ast.literal_eval(shown)), f"{name}.{parameter} = {shown}"


@pytest.mark.parametrize("page", PAGES)
def test_links_to_files_of_the_project_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http|#)([^)#]+)[^)]*\)", PAGES[page]):
        assert ((ROOT / page).parent / target).exists(), target


@pytest.mark.parametrize("room", ["symmetry", "layers", "optimizers", "estimators", "weights"])
def test_the_api_has_every_public_name(room):
    module = importlib.import_module(f"unf_lopt.{room}")
    public = [name for name in module.__all__ if callable(getattr(module, name))]
    page = (ROOT / "docs" / "api" / f"{room}.md").read_text(encoding="utf-8")
    assert re.findall(r"^::: (.*)$", page, re.MULTILINE) == [
        f"unf_lopt.{room}.{name}" for name in public
    ]


def test_every_page_is_in_the_site():
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    docs = ROOT / "docs"
    for path in [*docs.rglob("*.md"), *docs.rglob("*.ipynb")]:
        assert f": {path.relative_to(docs).as_posix()}\n" in menu, path


def test_the_readme_is_short():
    assert len(PAGES["README.md"].split()) <= 700
