"""Two folders of runs that are to be the same, bit for bit."""

import csv

import flax
import jax
import numpy as np

# Of no two runs the same.
TIMES = {"seconds": 0, "slowest_share": 0}


def rows_of(folder):
    """The metrics, a row an outer step."""
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def learner_leaves(folder, step):
    """Everything of ``checkpoint_N`` but the time spent, which no two runs share."""
    record = flax.serialization.msgpack_restore((folder / f"checkpoint_{step}").read_bytes())
    return jax.tree.leaves(record["gradient_learner_state"])


def assert_same_run(folder, other, step, workers=1):
    """Theta, learner, inner runs and metrics after an outer step."""
    names = [f"params_{step}", f"unroll_{step}", f"theta_{step}.safetensors"]
    for name in [*names, *(f"unroll_{step}.{worker}" for worker in range(workers))]:
        assert (folder / name).read_bytes() == (other / name).read_bytes(), name
    for a, b in zip(learner_leaves(folder, step), learner_leaves(other, step), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(rows_of(folder), rows_of(other), strict=True):
        assert {**a, **TIMES} == {**b, **TIMES}
