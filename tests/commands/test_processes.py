"""The commands as processes of their own: exit codes, surroundings, what is missing."""

import os
import pathlib
import subprocess
import sys

import pytest

import unf_lopt
from unf_lopt.__main__ import main
from unf_lopt.tasks.data import digits_splits

ROOT = pathlib.Path(unf_lopt.__file__).parents[1]
TINY = (
    "OUTER_STEPS=2",
    "NUM_TASKS=1",
    "HORIZON=4",
    "TRUNC_LENGTH=2",
    "STEPS_PER_JIT=2",
    "LOPT=@learned_sgdm()",
    "digits_mlp_family.batch_size=16",
    "digits_mlp_family.hidden_sizes=(4,)",
    "evaluate.num_seeds=1",
    "evaluate.eval_every=2",
    "evaluate.learning_rates=(0.1,)",
)
TINY = [f"--gin_bindings={binding}" for binding in TINY]
# Runs a command in a process where some packages cannot be imported.
WITHOUT = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocked())
from unf_lopt.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def run(*command, cwd, **environment):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, *map(str, command)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def assert_one_line(outcome, code, *parts):
    assert outcome.returncode == code, outcome.stderr
    (line,) = outcome.stderr.splitlines()
    for part in parts:
        assert part in line


@pytest.mark.slow
def test_exit_codes(tmp_path):
    outcome = run("-m", "unf_lopt", "train", "--no_such_flag", cwd=tmp_path)
    assert_one_line(outcome, 2, "no_such_flag")
    flags = ["--config_file=digits_mlp.gin", "--gin_bindings=OUTER_STEP=3", "--train_log_dir=run"]
    outcome = run("-m", "unf_lopt.train", *flags, cwd=tmp_path)
    assert_one_line(outcome, 1, "OUTER_STEP=3", "Did you mean OUTER_STEPS?")
    outcome = run("-m", "unf_lopt.train", *flags, "--traceback", cwd=tmp_path)
    assert outcome.returncode == 1 and "Traceback" in outcome.stderr
    assert not list(tmp_path.iterdir())


def test_help_is_short_and_needs_nothing(tmp_path):
    for command in ("train", "evaluate", "inspect", "predict"):
        outcome = run("-X", "importtime", "-m", f"unf_lopt.{command}", "--help", cwd=tmp_path)
        assert outcome.returncode == 0
        assert "jax" not in outcome.stderr and "tensorflow" not in outcome.stderr
        assert len(outcome.stdout.splitlines()) < 25
        assert ("--config_file" in outcome.stdout) == (command != "predict")
    outcome = run("-m", "unf_lopt", cwd=tmp_path)
    assert outcome.returncode == 0 and "evaluate" in outcome.stdout
    assert run("-m", "unf_lopt", "--version", cwd=tmp_path).stdout.startswith("unf_lopt 0.")


def test_predict_needs_no_ecosystem(tmp_path):
    code = WITHOUT.format(missing={"learned_optimization", "tensorflow", "flax"})
    flags = ["--zoo=sines", "--models=10", "--splits=1", "--predictors=ridge", "--dir=zoo"]
    outcome = run("-c", code, "predict", *flags, '--settings={"num_steps": 1}', cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    assert (tmp_path / "zoo" / "comparison.md").exists()


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("predict", ["--zoo=sines", "--dir=run"]),
        pytest.param(
            "train", ["--config_file=digits_mlp.gin", "--train_log_dir=run"], marks=pytest.mark.slow
        ),
    ],
)
def test_a_device_that_is_not_there(command, flags, tmp_path):
    """A command that loads the ecosystem asks in the same way, and takes long to load it."""
    outcome = run("-m", "unf_lopt", command, *flags, cwd=tmp_path, JAX_PLATFORMS="cuda")
    assert_one_line(outcome, 1, "JAX_PLATFORMS='cuda'")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_wide_numbers_narrow_terminals_and_names_in_the_way(tmp_path):
    """In 64 bits, on a terminal for ASCII, in a folder full of names of configs and packages."""
    for name in ("base", "release", "main", "gin", "tasks", "small.gin", "config", "runs"):
        (tmp_path / name).mkdir()
    for name in ("ecosystem.gin", "digits_mlp.gin", "gin/outer_training.gin"):
        (tmp_path / name).write_text("nonsense")
    (tmp_path / "base" / "outer_training.gin").write_text("nonsense")
    surroundings = {"JAX_ENABLE_X64": "1", "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    place = {"cwd": tmp_path, **surroundings}
    config = ["--config_file=digits_cnn.gin", "--config_file=small.gin"]
    outcome = run("-m", "unf_lopt", "train", "--train_log_dir=run", *config, *TINY, **place)
    assert outcome.returncode == 0, outcome.stderr
    assert "2 outer steps: done" in outcome.stdout
    assert "left not known yet" in outcome.stdout
    outcome = run("-m", "unf_lopt", "evaluate", "--train_log_dir=run", **place)
    assert outcome.returncode == 0, outcome.stderr
    assert "reported runs: " in outcome.stdout
    assert outcome.stdout.splitlines()[-1].startswith("report: ")
    assert outcome.stdout.isascii()


def test_data_that_come_with_what_is_missing(monkeypatch, capsys, tmp_path):
    """As below, in this process: scikit-learn is asked for only once the ecosystem is loaded."""
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    digits_splits.cache_clear()
    folder = tmp_path / "run"
    assert main(["train", "--config_file=digits_mlp.gin", f"--train_log_dir={folder}"]) == 1
    told = capsys.readouterr().err
    assert "scikit-learn, which is not installed: pip install 'unf_lopt[exp" in told
    assert "Traceback" not in told and "In call to" not in told
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "missing", "say"),
    [
        ("evaluate", "rich", "'rich' is not installed: pip install 'unf_lopt[experiments]'"),
        pytest.param(
            "train",
            "sklearn",
            "scikit-learn, which is not installed: pip install 'unf_lopt[exp",
            marks=pytest.mark.slow,
        ),
        ("train", "tensorflow", "imports 'tensorflow', which is not. pip install 'unf_lopt[eco"),
        ("inspect", "absl", "'absl' is not installed: pip install 'unf_lopt[experiments]'"),
        ("evaluate", "learned_optimization", "pip install --no-deps learned_optimization"),
    ],
)
def test_what_is_missing_says_how_to_install_it(command, missing, say, tmp_path):
    flags = {"train": ["--config_file=digits_mlp.gin"], "inspect": ["--config_file=digits_mlp.gin"]}
    flags = [*flags.get(command, []), f"--train_log_dir={tmp_path}/run"]
    code = WITHOUT.format(missing={missing})
    outcome = run("-c", code, command, *flags, cwd=tmp_path)
    assert outcome.returncode == 1
    assert "Traceback" not in outcome.stderr, outcome.stderr
    assert say in outcome.stderr
    assert "In call to" not in outcome.stderr
    assert not list(tmp_path.iterdir())
