"""Runs that are killed, stopped, resumed, warm-started, or go wrong."""

import itertools
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time

import gin
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.configs import TINY, configure
from tests.outer_training.compared import assert_same_run, rows_of
from tests.strategies import haiku_mlp_spec
from unf_lopt import PermutationSpec, ecosystem
from unf_lopt.__main__ import main
from unf_lopt.optimizers import load_theta, read_theta
from unf_lopt.outer_training import train
from unf_lopt.register import learned_sgdm, unf
from unf_lopt.tasks.image_mlp import digits_mlp_family

SMALL = ("--config_file=digits_mlp.gin", "--config_file=small.gin")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Four outer steps in one go."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    configure()
    train(str(folder))
    return folder


def wait_for(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_killed_and_resumed_ends_bit_for_bit_the_same(uninterrupted, tmp_path):
    command = [sys.executable, "-m", "unf_lopt.train", *SMALL]
    bindings = [*TINY, "OUTER_STEPS = 1000000", "train.save_every_seconds = 0.0"]
    command += [f"--gin_bindings={binding}" for binding in bindings]
    process = subprocess.Popen([*command, f"--train_log_dir={tmp_path}"])
    try:
        wait_for(lambda: process.poll() is not None or list(tmp_path.glob("checkpoint_[1-3]")))
    finally:
        process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    for later in [path for path in tmp_path.iterdir() if re.search(r"_[4-9](\.|$)", path.name)]:
        later.unlink()  # had the kill come late: back to a step before the end
    configure("train.save_every_seconds = 0.0")
    train(str(tmp_path))
    assert_same_run(uninterrupted, tmp_path, step=4)


def test_ctrl_c_saves_and_the_run_goes_on(uninterrupted, tmp_path, capsys):
    configure("OUTER_STEPS = 1000000")

    def interrupt():
        wait_for(lambda: (tmp_path / "metrics.csv").exists() and rows_of(tmp_path))
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    train(str(tmp_path))
    thread.join()
    steps = len(rows_of(tmp_path))
    assert (tmp_path / f"checkpoint_{steps}").exists()
    assert "stopped, 1000000 were asked for" in capsys.readouterr().out
    configure(f"OUTER_STEPS = {steps + 1}")
    train(str(tmp_path))
    assert f"resumed {tmp_path} at outer step {steps}" in capsys.readouterr().out
    assert [int(row["outer_step"]) for row in rows_of(tmp_path)] == list(range(1, steps + 2))


def test_a_finished_run_is_left_as_it_is(uninterrupted):
    before = {path.name: path.read_bytes() for path in uninterrupted.glob("*_4")}
    configure()
    train(str(uninterrupted))
    after = {path.name: path.read_bytes() for path in uninterrupted.glob("*_4")}
    assert before["params_4"] == after["params_4"] and before["unroll_4"] == after["unroll_4"]


def test_the_folder_says_how_the_run_was_made(uninterrupted):
    config = (uninterrupted / "config.gin").read_text()
    gin.clear_config()
    gin.parse_config(config)
    assert gin.query_parameter("ConstantTruncationSchedule.total_length") == 6
    operative = (uninterrupted / "operative_config.gin").read_text()
    assert "train.seed = 0" in operative  # a default that no config mentions
    assert list(uninterrupted.glob("events.out.tfevents*"))
    assert all(math.isfinite(float(row["meta_loss"])) for row in rows_of(uninterrupted))
    assert not list(uninterrupted.glob(".*partial"))


def test_another_configuration_is_not_resumed(uninterrupted):
    configure("PES_STD = 0.5")
    with pytest.raises(ValueError, match=r"another configuration.*--train_log_dir") as error:
        train(str(uninterrupted))
    assert "TruncatedPES.std = 0.5" in str(error.value)


def test_another_seed_gives_another_run(uninterrupted, tmp_path):
    configure("train.seed = 1", "OUTER_STEPS = 1")
    train(str(tmp_path))
    assert rows_of(tmp_path)[0]["meta_loss"] != rows_of(uninterrupted)[0]["meta_loss"]


def test_warm_start_begins_with_the_given_theta(uninterrupted, tmp_path):
    configure("OUTER_LEARNING_RATE = 0.0", "OUTER_STEPS = 1")
    train(str(tmp_path), init_theta_from=str(uninterrupted))
    lopt = unf(digits_mlp_family((4,), 16), hidden_channels=4)
    given, found = load_theta(uninterrupted, lopt)[0], load_theta(tmp_path, lopt)[0]
    for a, b in zip(jax.tree.leaves(given), jax.tree.leaves(found), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(FileNotFoundError, match=r"there is no .*other; give a theta file"):
        train(str(tmp_path / "other"), init_theta_from=str(tmp_path / "other"))
    assert not (tmp_path / "other").exists()


def test_the_running_average_of_theta_is_what_is_handed_on(uninterrupted, tmp_path):
    """Resumed after every outer step, from a theta that was trained."""
    lopt = unf(digits_mlp_family((4,), 16), hidden_channels=4)
    learned, average = [tmp_path / name for name in ("learned", "average")]
    decay = {learned: None, average: 0.75}
    for folder, steps in itertools.product(decay, (1, 2, 3)):
        configure(f"train.theta_averaging = {decay[folder]}", f"OUTER_STEPS = {steps}")
        train(str(folder), init_theta_from=str(uninterrupted))
    expected, _ = load_theta(uninterrupted, lopt)
    for step in (1, 2, 3):
        own, found = (load_theta(folder / f"theta_{step}.safetensors", lopt)[0] for folder in decay)
        expected = jax.tree.map(lambda a, b: 0.75 * a + 0.25 * b, expected, own)
        for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-9)


def test_theta_of_another_optimizer_or_task_is_refused(uninterrupted):
    with pytest.raises(ValueError, match="not written by this learned_sgdm"):
        load_theta(uninterrupted, learned_sgdm())
    wider = unf(digits_mlp_family((4,), 16), hidden_channels=8)
    with pytest.raises(ValueError, match=r"functional.*\(19, 4\), expected \(19, 8\)"):
        load_theta(uninterrupted, wider)
    with pytest.raises(FileNotFoundError, match="give a theta file"):
        load_theta(uninterrupted / "params_999", wider)


class SometimesNotFinite(ecosystem.GradientEstimator):
    """An estimator whose meta-gradient is NaN in every outer step but the second."""

    def __init__(self, inner):
        self._inner, self._calls = inner, 0
        self.task_family = ecosystem.task_family_of(inner)

    def init_worker_state(self, worker_weights, key):
        return self._inner.init_worker_state(worker_weights, key)

    def compute_gradient_estimate(self, worker_weights, key, state, with_summary=False):
        out, metrics = self._inner.compute_gradient_estimate(worker_weights, key, state)
        self._calls += 1
        if self._calls != 2:
            out = out.replace(grad=jax.tree.map(lambda x: x * jnp.nan, out.grad))
        return out, metrics


def test_gradients_that_are_not_finite_are_skipped_and_counted(tmp_path, capsys):
    """Also: estimators and a learner may be given, without gin."""
    gin.clear_config()
    lopt = learned_sgdm()
    family = digits_mlp_family((4,), 16)
    schedule = ecosystem.ConstantTruncationSchedule(6)
    options = {"num_tasks": 2, "trunc_length": 2, "std": 0.01, "steps_per_jit": 2}
    estimator = SometimesNotFinite(ecosystem.truncated_pes(family, lopt, schedule, **options))
    learner = ecosystem.make_learner(lopt, theta_opt=ecosystem.Adam(0.01), num_steps=4)
    gin.clear_config()
    path = train(str(tmp_path), lopt, 4, estimators=[estimator], learner=learner)
    assert "3 skipped" in capsys.readouterr().out
    rows = rows_of(tmp_path)
    assert [row["skipped"] for row in rows] == ["1", "1", "2", "3"]
    theta, step = load_theta(path, lopt)
    assert step == 4
    start = learner.init(jax.random.PRNGKey(0))
    moved = theta["scalars"]["tenth_log_alpha"] - lopt.init(None)["scalars"]["tenth_log_alpha"]
    assert start is not None and abs(abs(float(moved)) - 0.01) < 1e-3  # one step of Adam


def test_the_ecosystems_own_loop_trains_ours_and_we_load_its_files(tmp_path):
    configure("OUTER_STEPS = 2", "periodically_save_checkpoint.time_interval = -1")
    lopt = unf(digits_mlp_family((4,), 16), hidden_channels=4)
    ecosystem.run_train(str(tmp_path))
    # Written by a thread, whole; the first outer step leaves theta as it was.
    wait_for((tmp_path / "params_2").exists)
    first, _ = load_theta(tmp_path / "params_0", lopt)
    last, _ = load_theta(tmp_path, lopt)
    assert any(
        np.any(a != b) for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(last), strict=True)
    )


def test_the_ecosystem_reads_our_files(uninterrupted):
    configure()
    lopt = unf(digits_mlp_family((4,), 16), hidden_channels=4)
    theta, _ = load_theta(uninterrupted, lopt)
    target = ecosystem.ParameterCheckpoint(lopt.init(jax.random.PRNGKey(3)), gen_id="", step=0)
    theirs = ecosystem.load_state(str(uninterrupted / "params_4"), target)
    for a, b in zip(jax.tree.leaves(theta), jax.tree.leaves(theirs.params), strict=True):
        np.testing.assert_array_equal(a, b)
    learner = ecosystem.make_learner(lopt)
    target = ecosystem.OptCheckpoint(learner.init(jax.random.PRNGKey(3)), jnp.float32(0.0), 0)
    restored = ecosystem.restore_checkpoint(str(uninterrupted), target, "checkpoint_")
    found = ecosystem.theta_of(learner, restored.gradient_learner_state)
    for a, b in zip(jax.tree.leaves(theta), jax.tree.leaves(found), strict=True):
        np.testing.assert_array_equal(a, b)


def test_theta_carries_its_weight_space(uninterrupted, tmp_path):
    family = digits_mlp_family((4,), 16)
    lopt = unf(family, hidden_channels=4)
    assert read_theta(uninterrupted).spec == lopt.spec
    # Of the same shapes, but not of the same symmetry: every coefficient would fit.
    by_hand = haiku_mlp_spec(ecosystem.params_shapes(family))
    other = PermutationSpec(by_hand.paths, by_hand.axes, by_hand.sizes, frozenset(by_hand.spaces))
    unlike = unf(spec=other, hidden_channels=4)
    with pytest.raises(
        ValueError, match=r"another weight space.*unf[^|]*fixed: \['1', '2'\] against"
    ):
        load_theta(uninterrupted, unlike)
    # Names of spaces do not matter.
    renamed = unf(spec=by_hand, hidden_channels=4)
    theta, _ = load_theta(uninterrupted, renamed)
    expected, _ = load_theta(uninterrupted, lopt)
    jax.tree.map(np.testing.assert_array_equal, theta, expected)
    # Neither does anything resume with it.
    configure()
    with pytest.raises(ValueError, match="another configuration"):
        train(str(uninterrupted), unlike)


def test_steps_must_be_positive(tmp_path):
    configure("OUTER_STEPS = 0")
    with pytest.raises(ValueError, match="num_steps=0"):
        train(str(tmp_path))


def test_the_command_says_what_is_missing(capsys):
    assert main(["train", *SMALL]) != 0
    assert "--train_log_dir" in capsys.readouterr().err
