"""The README's Python prints what the README says, and its commands run."""

import contextlib
import io
import itertools
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from tests.configs import TINY

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line.split("#")[0].strip()
    for kind, text in BLOCKS
    if kind == "bash"
    for line in text.replace("\\\n", " ").splitlines()
    if line.strip()
]

TINY_MIXED = ("SHORTEST_HORIZON = 3", "HorizonES.num_pairs = 2", "unf_controller.width = 4")


def python_examples():
    """Pairs of a Python block and the output that follows it."""
    pairs = itertools.pairwise(BLOCKS)
    return [(code, output) for (a, code), (b, output) in pairs if (a, b) == ("python", "text")]


@pytest.mark.slow
def test_python_prints_what_is_written():
    """In the order of the README; a block may use what those before it made."""
    names = {}
    for code, output in python_examples():
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        assert printed.getvalue() == output


@pytest.mark.slow
def test_commands_of_ours_run(tmp_path):
    """In the order of the README, in a folder of its own, with tiny numbers."""
    ours = [command for command in COMMANDS if command.startswith("python -m unf_lopt.")]
    assert ours
    for command in ours:
        arguments = shlex.split(command)[1:]
        if "unf_lopt.train" in command:
            arguments += [f"--gin_bindings={binding}" for binding in TINY]
            if "mixed.gin" in command:
                arguments += [f"--gin_bindings={binding}" for binding in TINY_MIXED]
        elif "unf_lopt.evaluate" in command:
            arguments += ["--gin_bindings=evaluate.eval_every = 2"]
        outcome = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True
        )
        assert outcome.returncode == 0, f"{command}\n{outcome.stderr}"


def test_every_command_is_known():
    """`make` targets that exist, commands of ours, and installation, which packaging tests."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in COMMANDS:
        words = shlex.split(command)
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), command
        elif words[0] == "python":
            assert (ROOT / words[1]).exists() or words[1] == "-m", command
        else:
            assert words[:2] == ["pip", "install"], command


def test_links_to_files_of_the_project_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
