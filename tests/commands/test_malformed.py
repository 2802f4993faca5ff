"""Whatever is wrong in what a command is given, it says in one line, and writes nothing."""

import gin
import jax
import pytest

from tests.commands import malformed
from tests.configs import configure
from unf_lopt import ecosystem
from unf_lopt.__main__ import main


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run, as outer training leaves it."""
    folder = tmp_path_factory.mktemp("run")
    configure("LOPT = @learned_sgdm()", "HORIZON = 20")
    (folder / "config.gin").write_text(gin.config_str())
    theta = gin.get_bindings("train")["lopt"].init(jax.random.PRNGKey(0))
    record = ecosystem.ParameterCheckpoint(params=theta, gen_id="", step=7)
    ecosystem.save_state(str(folder / "params_7"), record)
    gin.clear_config()
    return folder


def train(*arguments):
    return ["train", "--config_file=digits_mlp.gin", "--train_log_dir={tmp}/run", *arguments]


@pytest.mark.parametrize("binding", malformed.BINDINGS)
def test_bindings(refused, binding):
    refused(*train(), f"--gin_bindings={binding}")


@pytest.mark.parametrize("flags", malformed.FLAGS, ids=" ".join)
@pytest.mark.parametrize("command", ["train", "evaluate", "inspect"])
def test_flags(refused, trained, command, flags):
    folder = trained if command == "evaluate" else "{tmp}/run"
    config = [] if command == "evaluate" else ["--config_file=digits_mlp.gin"]
    refused(command, f"--train_log_dir={folder}", *config, *flags)


@pytest.mark.parametrize("code", ["", "0", "3", "'no'"])
def test_a_plugin_that_ends_the_program(refused, tmp_path, monkeypatch, code):
    (tmp_path / "ends.py").write_text(f"import sys\nsys.exit({code})")
    monkeypatch.syspath_prepend(str(tmp_path))
    said = refused(*train(), "--gin_import=ends")
    assert f"--gin_import=ends: importing it calls sys.exit({code or None})" in said


@pytest.mark.parametrize("name", malformed.CONFIG_FILES)
@pytest.mark.parametrize("command", ["train", "inspect"])
def test_config_files(refused, command, name):
    refused(command, "--train_log_dir={tmp}/run", f"--config_file={name}")


@pytest.mark.parametrize("text", malformed.CONFIGS)
@pytest.mark.parametrize("command", ["train", "inspect"])
def test_configs(refused, tmp_path, command, text):
    (tmp_path / "self.gin").write_bytes(text)
    flags = ["--config_file=digits_mlp.gin", "--config_file=self.gin"]
    refused(command, "--train_log_dir={tmp}/run", *flags)


@pytest.mark.parametrize("folder", malformed.FOLDERS)
@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_folders(refused, command, folder):
    config = ["--config_file=digits_mlp.gin"] if command == "train" else []
    refused(command, f"--train_log_dir={folder}", *config)


@pytest.mark.parametrize("flag", malformed.EVALUATE)
def test_evaluate(refused, trained, flag):
    refused("evaluate", f"--train_log_dir={trained}", flag, within=trained)


@pytest.mark.parametrize("flags", malformed.INSPECT, ids=" ".join)
def test_inspect(refused, flags):
    refused("inspect", *flags)


def test_an_empty_folder_is_no_run(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no config.gin" in refused("evaluate", "--train_log_dir={tmp}/empty")


def test_there_are_many():
    kinds = (malformed.BINDINGS, malformed.EVALUATE, malformed.INSPECT)
    twice = (malformed.CONFIG_FILES, malformed.CONFIGS, malformed.FOLDERS)
    assert sum(map(len, kinds)) + 2 * sum(map(len, twice)) + 3 * len(malformed.FLAGS) >= 300


def test_a_config_may_begin_with_a_mark_and_end_lines_in_any_way(tmp_path, capsys):
    """As editors on Windows save them."""
    (tmp_path / "own.gin").write_bytes(b"\xef\xbb\xbfdigits_mlp_family.hidden_sizes = (5,)\r\n")
    flags = ["--config_file=digits_mlp.gin", f"--config_file={tmp_path / 'own.gin'}"]
    assert main(["inspect", *flags, "--gin_bindings=LOPT=@learned_sgdm()"]) == 0
    assert "(5)" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["train", "--help"], ["evaluate", "--version"]])
def test_nobody_reads_what_is_printed(monkeypatch, arguments):
    monkeypatch.setattr("sys.stdout", None)
    assert main(arguments) == 0
