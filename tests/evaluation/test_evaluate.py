"""The command from end to end, and what it says when something is missing."""

import json
import pathlib
import subprocess
import sys

import gin
import jax
import pytest
from absl import app

import unf_lopt
from tests.configs import configure
from unf_lopt import commands, ecosystem, evaluate
from unf_lopt.evaluation.baselines import BASELINES

SEEDS, HORIZON = 5, 20
VERSIONS = ("release", "main")
GIN = pathlib.Path(unf_lopt.__file__).parent / "gin"


def of_other_version(config):
    """A configuration with the names of the version of the ecosystem that is not here."""
    own, other = map(names_of_version, sorted(VERSIONS, key=lambda v: v != ecosystem.version()))
    lines = [line for line in config.splitlines() if line not in own]
    assert len(lines) < len(config.splitlines())
    return "\n".join([*other, *lines])


def names_of_version(version):
    text = (GIN / version / "ecosystem.gin").read_text()
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def save_run(folder, *bindings, step=7):
    """A folder as outer training leaves it: the config, and theta in the ecosystem's format.

    With what the other version of the ecosystem calls otherwise, as if the run were of that one.
    """
    folder.mkdir(exist_ok=True)
    configure(f"HORIZON = {HORIZON}", *bindings)
    (folder / "config.gin").write_text(of_other_version(gin.config_str()))
    theta = gin.get_bindings("train")["lopt"].init(jax.random.PRNGKey(0))
    record = ecosystem.ParameterCheckpoint(params=theta, gen_id="", step=step)
    ecosystem.save_state(str(folder / f"params_{step}"), record)
    return folder


@pytest.fixture(autouse=True)
def own_gin():
    yield
    gin.clear_config()


def run(*arguments):
    commands.parse_arguments(evaluate.COMMAND, arguments)
    evaluate.run()


def results_of(folder):
    return json.loads((folder / "results.json").read_text())


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    unf = save_run(folder / "unf")
    sgdm = save_run(folder / "sgdm", "LOPT = @learned_sgdm()", step=9)
    gin.clear_config()
    return unf, sgdm


@pytest.fixture(scope="module")
def evaluated(runs):
    """The command in a process of its own: its output, and the folder of the report."""
    unf, sgdm = runs
    command = [sys.executable, "-m", "unf_lopt.evaluate", f"--train_log_dir={unf}"]
    done = subprocess.run([*command, f"--compare={sgdm}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, unf / "evaluation"


def test_the_command_writes_the_report_and_says_what_was_reached(evaluated):
    output, folder = evaluated
    found = results_of(folder)
    assert (found["optimizer"], found["outer_steps"]) == ("unf", 7)
    assert (found["horizon"], found["seeds"]) == (HORIZON, SEEDS)
    assert found["same_seeds_and_batches"] is True
    assert found["versions"]["learned_optimization"] == ecosystem.version()
    assert found["optimizers"]["learned_sgdm"]["outer_steps"] == 9
    adams = [entry for entry in found["optimizers"].values() if entry["kind"] == "baseline"]
    assert {entry["baseline"] for entry in adams} == {"adam"}
    adam = found["baselines"]["adam"]
    assert {entry["learning_rate"] for entry in adams} == {
        adam["best_learning_rate"],
        adam["best_by_validation_loss"]["learning_rate"],
    }
    rates = tuple(setting["learning_rate"] for setting in adam["sweep"])
    assert rates == BASELINES["adam"].learning_rates
    assert found["tuning_seeds"] == 3
    for entry in found["optimizers"].values():
        for split in ("train", "test"):
            assert len(set(entry[split]["final_of_each_seed"])) == SEEDS
    assert all(value > 0 for value in found["timing"]["seconds_per_inner_step"].values())
    last = output.splitlines()[-1]
    assert last.startswith("unf after 7 outer steps: ")
    assert "than the best Adam (lr " in last and "Fewest inner steps: " in last
    assert "a short demo: 7 outer steps" in last
    assert last.endswith(str(folder / "report.md"))
    assert "learned_sgdm" in output


def test_another_process_gives_the_same_bits_but_for_the_clock(runs, evaluated, tmp_path):
    """And what else is compared changes nothing."""
    run(f"--train_log_dir={runs[0]}", f"--output_dir={tmp_path}")
    first, second = results_of(evaluated[1]), results_of(tmp_path)
    del first["optimizers"]["learned_sgdm"]
    assert {**first, "timing": None} == {**second, "timing": None}
    both = (evaluated[1] / "curves.csv").read_text().splitlines()
    alone = (tmp_path / "curves.csv").read_text().splitlines()
    assert [line for line in both if not line.startswith("learned_sgdm")] == alone


def test_flags_change_the_configuration_of_the_run(tmp_path, capsys):
    """Also a task without data, an optimizer that diverges on it, and a second baseline."""
    sgdm = ["LOPT = @learned_sgdm()", "TASK_FAMILY = @FixedDimQuadraticFamily()"]
    folder = save_run(tmp_path / "run", *sgdm, "FixedDimQuadraticFamily.dim = 3")
    theta = {"scalars": {"tenth_log_alpha": 8.0, "tenth_logit_gamma": 0.0}}
    record = ecosystem.ParameterCheckpoint(params=theta, gen_id="", step=5)
    chosen = tmp_path / "diverges"
    ecosystem.save_state(str(chosen), record)
    bindings = ["HORIZON=6", "evaluate.num_seeds=2", "evaluate.eval_every=3", "evaluate.seed=1"]
    run(
        f"--train_log_dir={folder}",
        f"--checkpoint={chosen}",
        "--gin_bindings=evaluate.learning_rates=(0.5, 0.1)",
        "--gin_bindings=evaluate.baselines=('adam', 'nadamw')",
        *[f"--gin_bindings={binding}" for binding in bindings],
    )
    found = results_of(folder / "evaluation")
    assert (found["horizon"], found["seeds"], found["outer_steps"]) == (6, 2, 5)
    swept = [
        [setting["learning_rate"] for setting in found["baselines"][name]["sweep"]]
        for name in ("adam", "nadamw")
    ]
    assert swept == [[0.1, 0.5], list(BASELINES["nadamw"].learning_rates)]
    assert next(iter(found["optimizers"])) == "learned_sgdm"
    assert list(found["timing"]["speedup_in_time"]["learned_sgdm"]) == ["adam", "nadamw"]
    assert found["optimizers"]["learned_sgdm"]["train"]["final_mean"] is None
    assert "train loss diverged" in capsys.readouterr().out


def test_an_unknown_baseline_is_named_with_those_there_are(runs):
    with pytest.raises(ValueError, match="'adam', 'adamw', 'sgd', 'nadamw', 'muon'"):
        run(f"--train_log_dir={runs[0]}", "--gin_bindings=evaluate.baselines=('adam', 'lion')")


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"no config.gin in {tmp_path}.*unf_lopt.train"):
        run(f"--train_log_dir={tmp_path}")


def test_a_run_without_checkpoint_is_named(runs, tmp_path):
    (tmp_path / "config.gin").write_text((runs[0] / "config.gin").read_text())
    with pytest.raises(FileNotFoundError, match=f"no params_N in {tmp_path}"):
        run(f"--train_log_dir={tmp_path}")
    with pytest.raises(FileNotFoundError, match="params_8"):
        run(f"--train_log_dir={runs[0]}", f"--checkpoint={runs[0] / 'params_8'}")


def test_a_checkpoint_of_another_optimizer_is_named(runs):
    unf, sgdm = runs
    with pytest.raises(ValueError, match="params_9 was not written by this unf"):
        run(f"--train_log_dir={unf}", f"--checkpoint={sgdm / 'params_9'}")
    with pytest.raises(ValueError, match="params_7 was not written by this learned_sgdm"):
        run(f"--train_log_dir={unf}", "--gin_bindings=evaluate.lopt=@learned_sgdm()")


def test_two_runs_of_one_optimizer_need_a_name(runs):
    unf, _ = runs
    with pytest.raises(ValueError, match=r"'unf'.*--compare=NAME=FOLDER"):
        run(f"--train_log_dir={unf}", f"--compare={unf}")


def test_a_run_with_an_unknown_plugin_says_how_to_import_it(runs, tmp_path):
    config = (runs[0] / "config.gin").read_text()
    plugin = config.replace("@digits_mlp_family()", "@my_plugin_task()")
    (tmp_path / "config.gin").write_text(plugin)
    (tmp_path / "params_7").write_bytes((runs[0] / "params_7").read_bytes())
    with pytest.raises(ValueError, match=r"(?s)my_plugin.*--gin_import=MODULE"):
        run(f"--train_log_dir={tmp_path}")


def test_arguments_that_are_missing_or_no_flags_are_named():
    with pytest.raises(app.UsageError, match="--train_log_dir"):
        run()
    with pytest.raises(app.UsageError, match="not a flag: runs/demo"):
        run("runs/demo")
