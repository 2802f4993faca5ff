"""Runs of several processes and devices end where those of one do, bit for bit."""

import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.configs import TINY, configure
from tests.outer_training.compared import assert_same_run, rows_of
from unf_lopt import runs
from unf_lopt.__main__ import main
from unf_lopt.outer_training import train
from unf_lopt.processes.launcher import free_port

WORKERS, STEPS = 4, 30
FEW = 4  # steps where nothing has to happen between the first and the last
BINDINGS = (
    "LOPT = @deep_sets()",
    f"NUM_WORKERS = {WORKERS}",
    f"OUTER_STEPS = {STEPS}",
    "train.save_every_seconds = 0.0",
)
CONFIGS = ("--config_file=digits_mlp.gin", "--config_file=small.gin")


def flags(folder, *bindings, configs=CONFIGS):
    given = [f"--gin_bindings={binding}" for binding in (*TINY, *BINDINGS, *bindings)]
    return [*configs, *given, f"--train_log_dir={folder}"]


def launched(folder, processes, *bindings, restarts=0, configs=CONFIGS):
    own = [f"--processes={processes}", f"--restarts={restarts}"]
    given = flags(folder, *bindings, configs=configs)
    command = [sys.executable, "-m", "unf_lopt.launch", *own, "--", *given]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_checkpoint(running, folder, step):
    deadline = time.monotonic() + 300
    while not (folder.is_dir() and max(runs.complete_steps(folder), default=0) >= step):
        assert running.poll() is None, running.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def children(pid):
    found = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sorted(map(int, found))


def finished(running):
    output, _ = running.communicate(timeout=300)
    assert running.returncode == 0, output
    return output


def trained(folder, steps):
    """By one process on one device."""
    configure(*BINDINGS, f"OUTER_STEPS = {steps}")
    train(str(folder))
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """One process on one device."""
    return trained(tmp_path_factory.mktemp("alone"), STEPS)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """The same run, as far as its first steps."""
    return trained(tmp_path_factory.mktemp("begun"), FEW)


def test_workers_have_perturbations_inner_runs_and_data_of_their_own(begun):
    parts = [(begun / f"unroll_{FEW}.{worker}").read_bytes() for worker in range(WORKERS)]
    assert len(set(parts)) == WORKERS
    losses = [float(row["meta_loss"]) for row in rows_of(begun)]
    assert len(losses) == FEW and len(set(losses)) > FEW // 2
    assert {row["inner_steps"] for row in rows_of(begun)} == {f"{WORKERS * 2 * 2 * 2:.1f}"}


def test_two_processes_stop_together_and_one_goes_on(begun, tmp_path):
    """Stopped by a signal; what is left is done by one process, with the workers of both."""
    folder = tmp_path / "run"
    running = launched(folder, 2, "OUTER_STEPS = 1000000")
    wait_for_checkpoint(running, folder, 2)
    running.send_signal(signal.SIGTERM)
    output = finished(running)
    stopped = len(rows_of(folder))
    assert output.count("outer step 1/") == 1  # the first process alone tells
    assert f"{stopped} outer steps: stopped" in output
    assert (folder / f"manifest_{stopped}.json").exists()
    steps = max(stopped, FEW) + 1
    shutil.copytree(begun, tmp_path / "alone")
    assert_same_run(trained(tmp_path / "alone", steps), trained(folder, steps), steps, WORKERS)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_it_ends_the_same_whenever_it_is_killed(seed, alone, tmp_path):
    """One of two processes, or both, at a moment that is drawn."""
    folder, draw = tmp_path / "run", random.Random(seed)
    running = launched(folder, 2, restarts=1)
    wait_for_checkpoint(running, folder, draw.randrange(STEPS // 2))
    time.sleep(draw.uniform(0, 0.3))
    killed = draw.sample(children(running.pid), draw.choice((1, 2)))
    for process in killed:
        os.kill(process, signal.SIGKILL)
    assert "starting all again" in finished(running)
    assert_same_run(alone, folder, STEPS, WORKERS)


@pytest.mark.slow
def test_four_processes_and_then_two(alone, tmp_path):
    folder = tmp_path / "run"
    finished(launched(folder, 4))
    assert_same_run(alone, folder, STEPS, WORKERS)
    for path in folder.iterdir():
        if re.search(rf"_{STEPS}(\.|$)", path.name):
            path.unlink()
    finished(launched(folder, 2))
    assert_same_run(alone, folder, STEPS, WORKERS)


def with_devices(devices, arguments):
    xla = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    command = [sys.executable, "-m", "unf_lopt.train", *arguments]
    subprocess.run(command, check=True, env={**os.environ, "XLA_FLAGS": xla})


@pytest.mark.parametrize("devices", [pytest.param(2, marks=pytest.mark.slow), 4])
def test_devices_of_one_process(devices, alone, tmp_path):
    with_devices(devices, flags(tmp_path))
    assert_same_run(alone, tmp_path, STEPS, WORKERS)


@pytest.mark.parametrize("several", ["devices", pytest.param("processes", marks=pytest.mark.slow)])
def test_the_same_of_the_optimizer_with_the_most_parts(several, tmp_path):
    """Compiled for two devices at once, its meta-gradients were rounded otherwise."""
    bindings = (
        *("LOPT = @unf_controller()", "unf_controller.width = 2", "SHORTEST_HORIZON = 4"),
        *("unf_controller.hypergradient = True", "unf_controller.extents = True"),
        *("unf_controller.rows_and_columns = True", "train.theta_averaging = 0.9"),
        *("HorizonES.num_pairs = 2", "HorizonES.std = {'scalars': 0.1, 'controller': 0.02}"),
        *("OUTER_LEARNING_RATE = {'scalars': 0.05, 'controller': 0.005}", "NUM_WORKERS = 2"),
        "OUTER_STEPS = 3",
    )
    configs = ("--config_file=digits_mlp.gin", "--config_file=mixed.gin")
    if several == "devices":
        with_devices(2, flags(tmp_path / "two", *bindings, configs=configs))
    else:
        finished(launched(tmp_path / "two", 2, *bindings, configs=configs))
    assert main(["train", *flags(tmp_path / "one", *bindings, configs=configs)]) == 0
    assert_same_run(tmp_path / "one", tmp_path / "two", 3, workers=2)


@pytest.mark.slow
def test_a_part_of_a_worker_of_another_process_is_damaged(alone, tmp_path):
    """Both processes take the checkpoint before."""
    folder = tmp_path / "run"
    shutil.copytree(alone, folder)
    damaged = folder / f"unroll_{STEPS}.3"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    output = finished(launched(folder, 2))
    assert f"resumed {folder} at outer step {STEPS - 1}" in output and damaged.name in output
    assert_same_run(alone, folder, STEPS, WORKERS)


def test_workers_that_cannot_be_shared_out_are_an_error(tmp_path):
    folder = tmp_path / "run"
    running = launched(folder, 2, "NUM_WORKERS = 3", restarts=3)
    output, _ = running.communicate(timeout=120)
    assert running.returncode == 1 and "starting all again" not in output
    assert "NUM_WORKERS=3: cannot be shared out to 2 processes equally; 4 can" in output
    assert not folder.exists()


def test_the_flags_of_one_of_several_processes(tmp_path, capsys):
    address = f"--coordinator_address=127.0.0.1:{free_port()}"
    assert main(["train", *flags(tmp_path / "run"), address]) == 2
    assert "--distributed" in capsys.readouterr().err
