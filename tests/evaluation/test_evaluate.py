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
from unf_lopt import PermutationSpec, commands, ecosystem, evaluate, evaluation, register
from unf_lopt.evaluation.baselines import BASELINES
from unf_lopt.evaluation.population import Population
from unf_lopt.tasks.image_mlp import digits_mlp_family

SEEDS, HORIZON = 10, 20
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
    assert (found["main"], found["contestants"]["unf"]["outer_steps"]) == ("unf", 7)
    assert found["contestants"]["learned_sgdm"]["outer_steps"] == 9
    assert (found["protocol"]["horizon"], found["protocol"]["seeds"]) == (HORIZON, SEEDS)
    assert found["protocol"]["tuning_seeds"] == 3
    assert found["versions"]["learned_optimization"] == ecosystem.version()
    assert "evaluate.horizon" in found["configuration"]
    assert "--train_log_dir=" in found["command"] and "--compare=" in found["command"]
    ((name, task),) = found["tasks"].items()
    assert task["same_seeds_and_batches"] is True
    assert list(task["contestants"]) == ["unf", "learned_sgdm", "adam"]
    adam = task["contestants"]["adam"]
    rates = tuple(float(tried["setting"]) for tried in adam["sweep"])
    assert rates == BASELINES["adam"].learning_rates
    for entry in task["contestants"].values():
        for split in ("train", "test"):
            assert len(set(entry[split]["final_of_each_seed"])) == SEEDS
    for cost in found["timing"]["tasks"][name].values():
        assert cost["seconds_per_step"] > 0 and cost["temporary_bytes"] > 0
    # Adam keeps two numbers for each of the network's.
    state = found["timing"]["tasks"][name]["adam"]["state_bytes"]
    parameters = 64 * 4 + 4 + 4 * 10 + 10
    assert 8 * parameters <= state <= 8 * parameters + 64
    *_, first, last = output.splitlines()
    assert first.startswith("unf ") and "best tuned baseline, Adam (lr " in first
    assert last == f"report: {folder / 'report.html'}"


def test_another_process_gives_the_same_bits_but_for_the_clock(runs, evaluated, tmp_path):
    """And what else is compared changes nothing."""
    run(f"--train_log_dir={runs[0]}", f"--output_dir={tmp_path}")
    first, second = results_of(evaluated[1]), results_of(tmp_path)
    for own in ("contestants", "over_all_tasks"):
        del first[own]["learned_sgdm"]
    ((_, task),) = first["tasks"].items()
    del task["contestants"]["learned_sgdm"]
    apart = dict.fromkeys(("timing", "command", "configuration"))
    assert {**first, **apart} == {**second, **apart}
    both = (evaluated[1] / "curves.csv").read_text().splitlines()
    alone = (tmp_path / "curves.csv").read_text().splitlines()
    assert [line for line in both if ",learned_sgdm," not in line] == alone


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
    assert (found["protocol"]["horizon"], found["protocol"]["seeds"]) == (6, 2)
    assert found["contestants"]["learned_sgdm"]["outer_steps"] == 5
    assert found["contestants"]["adam"]["settings"] == ["0.1", "0.5"]
    assert len(found["contestants"]["nadamw"]["settings"]) == 15
    ((_, task),) = found["tasks"].items()
    sgdm = task["contestants"]["learned_sgdm"]
    assert list(sgdm["against"]) == ["adam", "nadamw"]
    assert (sgdm["train"]["final_mean"], sgdm["diverged"]) == (None, 2)
    assert "diverged" in capsys.readouterr().out


QUADRATICS = """
import unf_lopt.register
one/FixedDimQuadraticFamily.dim = 2
evaluate.tasks = (@one/FixedDimQuadraticFamily(), 'QuadraticTask')
evaluate.horizon = 6
evaluate.eval_every = 3
evaluate.num_seeds = 3
evaluate.baselines = ('adam', 'sgd')
evaluate.learning_rates = (0.01, 0.1, 1.0)
"""


def test_any_contestants_and_tasks_from_one_file_and_a_killed_evaluation_ends_the_same(
    tmp_path, runs, monkeypatch
):
    config = tmp_path / "several.gin"
    config.write_text(QUADRATICS)
    flags = [f"--config_file={config}", f"--compare=mine={runs[1]}"]
    run(*flags, f"--output_dir={tmp_path / 'whole'}")
    whole = results_of(tmp_path / "whole")
    assert list(whole["contestants"]) == ["mine", "adam", "sgd"]
    assert len(whole["tasks"]) == 2

    curves, left = Population.curves, iter(range(3))

    def killed(self, *arguments):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return curves(self, *arguments)

    monkeypatch.setattr(Population, "curves", killed)
    with pytest.raises(KeyboardInterrupt):
        run(*flags, f"--output_dir={tmp_path / 'killed'}")
    assert not (tmp_path / "killed" / "results.json").exists()
    assert len(list((tmp_path / "killed" / "runs").glob("*.npz"))) == 3
    taken = []
    monkeypatch.setattr(Population, "curves", lambda *own: taken.append(1) or curves(*own))
    run(*flags, f"--output_dir={tmp_path / 'killed'}")
    first, second = whole, results_of(tmp_path / "killed")
    apart = dict.fromkeys(("timing", "command"))
    assert {**first, **apart} == {**second, **apart}
    same = [(tmp_path / name / "curves.csv").read_text() for name in ("whole", "killed")]
    assert same[0] == same[1]

    taken.clear()
    run(*flags, f"--output_dir={tmp_path / 'again'}", f"--cache_dir={tmp_path / 'killed/runs'}")
    assert taken == []
    assert results_of(tmp_path / "again")["timing"]["tasks"] == second["timing"]["tasks"]
    run(
        *flags,
        f"--output_dir={tmp_path / 'again'}",
        f"--cache_dir={tmp_path / 'killed/runs'}",
        "--gin_bindings=evaluate.horizon=9",
    )
    assert len(taken) > 9  # everything depends on the horizon


def test_an_unknown_baseline_is_named_with_those_there_are(runs):
    with pytest.raises(ValueError, match=", ".join(map(repr, BASELINES))):
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
    with pytest.raises(ValueError, match=r"'unf'.*--compare=NAME=SOURCE"):
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
    with pytest.raises(app.UsageError, match="--output_dir"):
        run("--gin_bindings=evaluate.horizon=4")
    with pytest.raises(ValueError, match="horizon=0"):
        run("--gin_bindings=evaluate.seed=4", "--output_dir=x")
    with pytest.raises(ValueError, match=r"None is no task.*names of them in quotes"):
        run(
            "--gin_bindings=evaluate.horizon=4",
            "--output_dir=x",
            "--gin_bindings=evaluate.eval_every=2",
        )
    with pytest.raises(app.UsageError, match="not a flag: runs/demo"):
        run("runs/demo")


def test_a_run_that_is_compared_says_no_task(runs, tmp_path):
    """Its theta does not say its optimizer, so that its configuration is read."""
    flags = [f"--compare={runs[1]}", f"--output_dir={tmp_path}"]
    with pytest.raises(ValueError, match="None is no task"):
        run(*flags, "--gin_bindings=evaluate.horizon=20")


def test_a_theta_for_one_weight_space_is_refused_on_another_task():
    here, elsewhere = digits_mlp_family((3,)), digits_mlp_family((4,))
    spec = PermutationSpec.from_json(ecosystem.spec_of(here).to_json())  # as a file has it
    trained = evaluation.Trained("mine", register.unf(spec=spec), {}, 1, "")
    assert trained.on(here).lopt is trained.lopt
    with pytest.raises(ValueError, match=f"mine is for one weight space.*{elsewhere.name} does"):
        trained.on(elsewhere)
