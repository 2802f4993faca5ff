"""Runs whose folder was damaged, is another program's, or is a stranger's."""

import csv
import pathlib
import shutil
import socket
import subprocess

import flax
import gin
import jax
import jax.numpy as jnp
import pytest

from tests.configs import configure
from unf_lopt import ecosystem, evaluation, optimizers, register, runs
from unf_lopt.outer_training import train
from unf_lopt.outer_training.diagnosis import TrainingError
from unf_lopt.tasks.image_mlp import digits_mlp_family


@pytest.fixture(scope="module")
def two_checkpoints(tmp_path_factory):
    """A run saved after every one of three outer steps; the last two are kept."""
    folder = tmp_path_factory.mktemp("run")
    configure("LOPT = @learned_sgdm()", "OUTER_STEPS = 3", "train.save_every_seconds = 0.0")
    train(str(folder))
    assert runs.complete_steps(folder) == [2, 3]
    return folder


def steps_of(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return [int(row["outer_step"]) for row in csv.DictReader(file)]


def go_on(folder):
    configure("LOPT = @learned_sgdm()", "OUTER_STEPS = 4", "train.save_every_seconds = 0.0")
    return train(str(folder))


@pytest.mark.parametrize("part", ["params_3", "unroll_3", "checkpoint_3", "theta_3.safetensors"])
@pytest.mark.parametrize("how", ["flipped", "missing"])
def test_a_damaged_part_takes_the_checkpoint_before_and_says_so(
    two_checkpoints, tmp_path, capsys, part, how
):
    folder = tmp_path / "run"
    shutil.copytree(two_checkpoints, folder)
    if how == "missing":
        (folder / part).unlink()
    else:
        data = bytearray((folder / part).read_bytes())
        data[len(data) // 2] ^= 4
        (folder / part).write_bytes(data)
    go_on(folder)
    told = capsys.readouterr().out
    assert part in told and f"resumed {folder} at outer step 2" in told
    assert (folder / "damaged_3").is_dir()
    assert steps_of(folder) == [1, 2, 3, 4]
    # The steps that are taken again are the same steps.
    for name in ("params_3", "theta_3.safetensors"):
        assert (folder / name).read_bytes() == (two_checkpoints / name).read_bytes()


def test_nothing_whole_is_an_error_and_nothing_is_lost(two_checkpoints, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(two_checkpoints, folder)
    for step in (2, 3):
        (folder / f"unroll_{step}").write_bytes(b"")
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(runs.RunError, match=r"no checkpoint in .* is whole"):
        go_on(folder)
    assert sorted(path.name for path in folder.iterdir()) == before
    assert steps_of(folder) == [1, 2, 3]


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        (("params_3", "checkpoint_3"), "ecosystem's own loop"),
        (("params_3", "checkpoint_3", "unroll_3", "theta_3.safetensors"), "without a manifest"),
        (("params_3", "checkpoint_3", "unroll_3"), "without a manifest"),
    ],
)
def test_checkpoints_that_are_not_ours_are_refused(two_checkpoints, tmp_path, kept, message):
    for name in kept:
        shutil.copy(two_checkpoints / name, tmp_path)
    with pytest.raises(runs.RunError, match=rf"(?s){message}.*init_theta_from"):
        go_on(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_a_second_trainer_stops_at_once(two_checkpoints):
    with runs.only_trainer(two_checkpoints):
        configure("LOPT = @learned_sgdm()", "OUTER_STEPS = 4")
        with pytest.raises(runs.RunError, match="another process trains in"):
            train(str(two_checkpoints))


class Bad(ecosystem.TaskFamily):
    """A task whose loss is not finite, from the start or once a step was taken."""

    datasets = None
    name = "Bad"

    def __init__(self, loss):
        super().__init__()
        self._loss = loss

    def sample(self, key):
        return jnp.zeros(())

    def task_fn(self, config):
        task = ecosystem.load("tasks.base").Task()
        task.init = lambda key: {"first": jnp.ones(3), "second": jnp.ones(2)}
        task.init_with_state = lambda key: (task.init(key), None)
        task.loss_with_state = lambda params, state, key, data: (self._loss(params), None)
        return task


@pytest.mark.parametrize(("steps", "told"), [(3, 3), (20, 5)])
@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda p: jnp.sum(p["first"]) + jnp.sum(p["second"]) * jnp.nan, r"gradient: .*second"),
        (lambda p: jnp.sum(p["first"] ** 2) + jnp.inf, "loss of the task Bad is inf"),
        (
            lambda p: jnp.sum(p["second"]) + jnp.where(jnp.all(p["second"] == 1), 0.0, jnp.nan),
            r"finite at the start .*inner runs diverge",
        ),
    ],
    ids=["gradient", "loss", "later"],
)
def test_without_any_finite_gradient_it_ends_and_says_which_task(
    tmp_path, steps, told, loss, message
):
    """And nothing is saved that looks trained."""
    lopt, family = register.learned_sgdm(), Bad(loss)
    options = {"num_tasks": 2, "trunc_length": 2, "std": 0.01, "steps_per_jit": 2}
    schedule = ecosystem.ConstantTruncationSchedule(4)
    estimator = ecosystem.truncated_pes(family, lopt, schedule, **options)
    learner = ecosystem.make_learner(lopt, theta_opt=ecosystem.Adam(0.01), num_steps=20)
    with pytest.raises(TrainingError, match=rf"none of the first {told} .*{message}"):
        train(str(tmp_path), lopt, steps, estimators=[estimator], learner=learner)
    assert not runs.steps(tmp_path, runs.PARAMS)


def hostile_folder(folder, config, params=True):
    """A stranger's run: a theta of the ecosystem's form, and a configuration."""
    folder.mkdir()
    (folder / "config.gin").write_text(config)
    if params:
        theta = optimizers.learned_sgdm().init(jax.random.PRNGKey(0))
        record = ecosystem.ParameterCheckpoint(params=theta, gen_id="", step=1)
        (folder / "params_1").write_bytes(flax.serialization.to_bytes(record))
    return folder


FUNCTIONS = {
    "of the standard library": "from __gin__ import dynamic_registration\nimport pathlib\n"
    "LOPT = @pathlib.Path.touch()\npathlib.Path.touch.self = @pathlib.Path()\n"
    "pathlib.Path.args = ['{marker}']\nTASK_FAMILY = %LOPT\nHORIZON = 10\n",
    "of a module beside it": "import payload\nHORIZON = 10\nTASK_FAMILY = @payload.run()\n",
    "of the ecosystem": "HORIZON = 10\nTASK_FAMILY = @run_train()\n"
    "run_train.train_log_dir = '{marker}'\nLOPT = @learned_sgdm()\n",
    "of this project": "HORIZON = 10\nTASK_FAMILY = @train()\ntrain.train_log_dir = '{marker}'\n",
    "as the horizon": "HORIZON = @train()\nTASK_FAMILY = @digits_mlp_family()\n"
    "train.train_log_dir = '{marker}'\nLOPT = @learned_sgdm()\n",
    "as the optimizer": "HORIZON = 10\nTASK_FAMILY = @digits_mlp_family()\nLOPT = @train()\n"
    "train.train_log_dir = '{marker}'\n",
    "as an argument of a task": "HORIZON = 10\nTASK_FAMILY = @digits_mlp_family()\n"
    "LOPT = @learned_sgdm()\ndigits_mlp_family.hidden_sizes = @train()\n"
    "train.train_log_dir = '{marker}'\n",
    "as an argument of an optimizer": "HORIZON = 10\nTASK_FAMILY = @digits_mlp_family()\n"
    "LOPT = @learned_sgdm()\nstep_options.frozen = @train()\ntrain.train_log_dir = '{marker}'\n",
    "by an include": "include 'payload.gin'\nHORIZON = 10\n",
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_nothing_of_a_strangers_folder_is_executed(name, tmp_path, monkeypatch):
    marker = tmp_path / "executed"
    folder = hostile_folder(tmp_path / "run", FUNCTIONS[name].replace("{marker}", str(marker)))
    for place in (folder, tmp_path):
        (place / "payload.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
        (place / "payload.gin").write_text("import payload\nTASK_FAMILY = @payload.run()\n")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    for what in ("socket", "Popen"):
        owner = socket if what == "socket" else subprocess
        monkeypatch.setattr(owner, what, _refuse)
    gin.clear_config()
    with pytest.raises(ValueError, match=r"config\.gin") as error:
        evaluation.bind_run(folder)
        gin.get_bindings("evaluate")
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="does not say which optimizer"):
        optimizers.read_theta(folder).make_optimizer()
    assert not marker.exists()
    assert {path.name for path in folder.iterdir()} == {
        "config.gin",
        "params_1",
        "payload.py",
        "payload.gin",
    }


def test_a_stranger_says_how_it_is_measured_and_not_where(tmp_path):
    """Of what a folder has for the evaluation nothing names files, folders or other tasks."""
    config = (
        "HORIZON = 10\nTASK_FAMILY = @digits_mlp_family()\nLOPT = @learned_sgdm()\n"
        f"evaluate.cache_dir = '{tmp_path}/deep'\nevaluate.thetas = ('/etc/passwd',)\n"
        "evaluate.tasks = ('QuadraticTask',)\nevaluate.output_dir = '/tmp/other'\n"
        "evaluate.num_seeds = 4\nevaluate.baselines = ('nadamw',)\n"
    )
    gin.clear_config()
    evaluation.bind_run(hostile_folder(tmp_path / "run", config))
    bound = gin.get_bindings("evaluate")
    assert bound["num_seeds"] == 4 and bound["baselines"] == ("nadamw",)
    assert bound.keys().isdisjoint({"cache_dir", "thetas", "tasks", "output_dir"})


def test_a_run_whose_family_has_another_objective_is_evaluated_on_it(tmp_path):
    config = (
        "HORIZON = 10\nTASK_FAMILY = @with_objective()\nLOPT = @learned_sgdm()\n"
        "with_objective.task_family = @digits_mlp_family()\n"
    )
    gin.clear_config()
    evaluation.bind_run(hostile_folder(tmp_path / "run", config))
    assert gin.get_bindings("evaluate")["task_family"].name == digits_mlp_family().name


def _refuse(*args, **kwargs):
    raise AssertionError("a stranger's folder started a process or used the network")


def test_the_sample_of_a_folder_that_executes(tmp_path, monkeypatch):
    """Its configuration writes a file in the working directory, where gin reads it."""
    monkeypatch.chdir(tmp_path)
    config = FUNCTIONS["of the standard library"].replace("{marker}", "executed")
    folder = hostile_folder(tmp_path / "run", config)
    with pytest.raises(runs.RunError, match=r"config\.gin, line 1"):
        evaluation.bind_run(folder)
    assert not pathlib.Path("executed").exists()
