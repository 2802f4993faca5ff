"""Whatever happens to a process of a run: all end soon, and say which it was and what to do."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from unf_lopt.processes.launcher import free_port

SECONDS = 30.0  # within which all have to have ended


def member(port, own, number=2, steps=400, fault="", **changes):
    command = [sys.executable, "-m", "tests.processes.member", f"127.0.0.1:{port}"]
    arguments = [str(number), str(own), str(steps), *([fault] if fault else [])]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", **changes}
    return subprocess.Popen(
        [*command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


@contextlib.contextmanager
def members(*running):
    """Processes of which none is left over."""
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate()


def wait_for_step(process, step):
    for line in process.stdout:
        if line == f"step {step}\n":
            return
    pytest.fail(f"it ended before: {process.stderr.read()}")


def ended(process, since):
    """The exit code, and what it wrote."""
    _, errors = process.communicate(timeout=max(SECONDS - (time.monotonic() - since), 1.0))
    return process.returncode, errors


def test_all_take_part_and_end_together():
    port = free_port()
    with members(*(member(port, own, 3, 5) for own in range(3))) as running:
        for process in running:
            assert ended(process, time.monotonic())[0] == 0


@pytest.mark.parametrize("victim", [0, 1], ids=["first", "other"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=lambda how: how.name)
def test_one_is_killed_or_stopped(how, victim):
    port = free_port()
    with members(member(port, 0), member(port, 1)) as running:
        wait_for_step(running[1], 5)
        begun = time.monotonic()
        running[victim].send_signal(how)
        code, errors = ended(running[1 - victim], begun)
    assert code != 0 and f"process {victim}" in errors and "last checkpoint" in errors
    assert f"process {1 - victim} of 2: " in errors


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("hang", r"process 1 \(.*\) hangs: it is not done with step 3"),
        ("error", r"process 1 \(.*\) has ended with an error: the disk is full"),
        ("config", r"process 1 \(.*\) has another configuration .*'seed = 1' and not 'seed = 0'"),
    ],
)
def test_one_is_not_as_it_should_be(fault, message):
    port = free_port()
    begun = time.monotonic()
    with members(member(port, 0), member(port, 1, fault=fault)) as running:
        code, errors = ended(running[0], begun)
        other, _ = ended(running[1], begun)
    assert code != 0 and other != 0
    assert re.search(message, errors), errors


def test_one_does_not_start():
    begun = time.monotonic()
    with members(member(free_port(), 0)) as (alone,):
        code, errors = ended(alone, begun)
    assert code != 0 and "process(es) 1 of 2 did not start within 8 s" in errors


def test_one_starts_late():
    port = free_port()
    with members(member(port, 1, steps=3)) as (early,):
        time.sleep(2.0)
        assert early.poll() is None
        with members(member(port, 0, steps=3)) as (late,):
            assert ended(early, time.monotonic())[0] == ended(late, time.monotonic())[0] == 0


def test_the_coordinator_is_not_there():
    begun = time.monotonic()
    with members(member(free_port(), 1)) as (alone,):
        code, errors = ended(alone, begun)
    assert code != 0 and "process 1 found no process 0 at 127.0.0.1:" in errors


def test_two_have_one_number():
    port = free_port()
    begun = time.monotonic()
    with members(*(member(port, own, 3) for own in (0, 1, 1))) as running:
        found = [ended(process, begun) for process in running]
    assert all(
        code != 0 and "two processes have --process_id=1" in errors for code, errors in found
    )


def test_the_number_of_processes_is_another():
    port = free_port()
    begun = time.monotonic()
    with members(member(port, 0, 2), member(port, 2, 3)) as running:
        found = [ended(process, begun) for process in running]
    assert all(code != 0 and "give all the same --num_processes" in told for code, told in found)
