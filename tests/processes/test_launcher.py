"""Processes that are started together: started again, stopped together, none left over."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from unf_lopt.launch import main
from unf_lopt.processes import AGAIN


def launcher(steps, restarts, fault=""):
    command = [sys.executable, "-m", "tests.processes.launching", str(steps), str(restarts)]
    return subprocess.Popen(
        [*command, *([fault] if fault else [])],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )


def pids_at_step(running, step):
    """The numbers of the processes, once one has come to a step."""
    found = []
    for line in running.stdout:
        if told := re.fullmatch(r"pid (\d+)\n", line):
            found.append(int(told[1]))
        if line == f"step {step}\n":
            return found
    pytest.fail("it ended before")


def is_there(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def assert_none_is_left(pids):
    deadline = time.monotonic() + 10
    while any(map(is_there, pids)):
        assert time.monotonic() < deadline, "a process is left over"
        time.sleep(0.1)


def test_all_are_started_again_when_one_is_killed():
    running = launcher(40, 1)
    first = pids_at_step(running, 3)
    os.kill(first[1], signal.SIGKILL)
    output, _ = running.communicate(timeout=120)
    assert running.returncode == 0
    assert "starting all again" in output and output.count("step 39\n") == 2
    assert_none_is_left(first)


@pytest.mark.parametrize(
    ("fault", "restarts", "code", "starts"), [("killed", 1, AGAIN, 4), ("error", 5, 1, 2)]
)
def test_restarts_have_a_limit_and_an_error_of_its_own_ends_it(fault, restarts, code, starts):
    running = launcher(10, restarts, fault)
    output, _ = running.communicate(timeout=120)
    assert running.returncode == code
    assert len(re.findall(r"^pid ", output, re.MULTILINE)) == starts


def test_a_signal_reaches_all_and_nothing_is_started_again():
    running = launcher(4000, 5)
    pids = pids_at_step(running, 3)
    running.send_signal(signal.SIGTERM)
    output, _ = running.communicate(timeout=60)
    assert running.returncode != 0 and "starting all again" not in output
    assert_none_is_left(pids)


def test_none_outlives_the_launcher():
    """Not even one that is stopped."""
    running = launcher(4000, 5)
    pids = pids_at_step(running, 3)
    os.kill(pids[1], signal.SIGSTOP)
    running.kill()
    running.wait()
    assert_none_is_left(pids)
    running.stdout.close()


@pytest.mark.parametrize("arguments", [["--processes=0", "--", "--x"], ["--processes=2"], []])
def test_a_wrong_command_line_is_told(arguments, capsys):
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    assert "unf-lopt launch" in capsys.readouterr().err
