"""``TruncatedPESPMAP`` on two devices of one machine, with the configs that one device has."""

import os
import re
import shutil
import subprocess
import sys

import flax
import jax
import numpy as np
import pytest

from tests.configs import configure
from unf_lopt.outer_training import train

DEVICES = 2
BINDINGS = ("ESTIMATOR = @TruncatedPESPMAP", "train.save_every_seconds = 0.0")


def run_on_all_devices(folder):
    """A run, and one that goes on from its third outer step; called in a process of its own."""
    assert jax.local_device_count() == DEVICES
    for name in ("whole", "resumed"):
        configure(*BINDINGS)
        train(f"{folder}/{name}")
        if name == "whole":
            shutil.copytree(f"{folder}/whole", f"{folder}/resumed", ignore=_of_later_steps)


def _of_later_steps(_, names):
    return [name for name in names if re.search(r"_4(\.|$)", name)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the process of two devices wrote."""
    folder = tmp_path_factory.mktemp("devices")
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={DEVICES}"
    call = f"from {__name__} import run_on_all_devices as run; run({str(folder)!r})"
    subprocess.run([sys.executable, "-c", call], check=True, env={**os.environ, "XLA_FLAGS": flags})
    return folder


@pytest.mark.slow
def test_each_device_has_inner_runs_of_its_own(folder):
    record = flax.serialization.msgpack_restore((folder / "whole" / "unroll_4").read_bytes())
    accumulators = [
        leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(record)
        if "accumulator" in jax.tree_util.keystr(path)
    ]
    assert accumulators
    for own in accumulators:  # [devices, tasks, *shape], sums of the perturbations
        assert own.shape[:2] == (DEVICES, 2) and np.any(own[0] != own[1])


@pytest.mark.slow
def test_all_of_them_change_theta(folder):
    first, last = ((folder / "whole" / f"params_{step}").read_bytes() for step in (2, 4))
    assert first != last


@pytest.mark.slow
def test_resumed_ends_where_an_uninterrupted_run_does(folder):
    for name in ("params_4", "unroll_4"):
        whole, resumed = ((folder / run / name).read_bytes() for run in ("whole", "resumed"))
        assert whole == resumed, name
