"""What is written, on made-up curves: every word that depends on the outcome."""

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image

from unf_lopt.evaluation import report, results
from unf_lopt.evaluation.curves import Curves
from unf_lopt.evaluation.outcome import Outcome, Trained
from unf_lopt.evaluation.protocol import Protocol
from unf_lopt.tasks.image_mlp import digits_mlp_family

PROTOCOL = Protocol(num_seeds=5, horizon=200)


def decay(rate):
    seeds = 1 + np.linspace(-0.1, 0.1, 5)[:, None]
    steps = np.asarray(PROTOCOL.steps)
    loss = 2.3 * seeds * np.exp(-rate * steps)
    return Curves(steps, {"train": loss, "test": loss + 0.1 * (1 - np.exp(-rate * steps))})


def outcome(ours, family=None, outer_steps=300, names=("unf",)):
    seconds = {name: 0.002 for name in names} | {"adam_lr0.1": 0.001}
    return Outcome(
        family or digits_mlp_family(),
        PROTOCOL,
        [Trained(name, None, None, outer_steps, f"run/params_{outer_steps}") for name in names],
        curves={name: ours for name in names},
        adam={0.1: decay(0.02), 0.01: decay(0.002)},
        seconds_per_step=seconds,
        stage_seconds={"unf": 1.0},
    )


def test_figures_of_an_optimizer_twice_as_fast_in_steps_and_as_slow_by_the_clock(tmp_path):
    summary = report.write(outcome(decay(0.04)), tmp_path)
    assert summary == json.loads((tmp_path / "results.json").read_text())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "curves.csv",
        "curves.png",
        "report.md",
        "results.json",
    ]
    assert summary["best_adam_learning_rate"] == 0.1
    unf = summary["optimizers"]["unf"]
    finals = decay(0.04).final("train")
    assert unf["train"]["final_mean"] == pytest.approx(finals.mean())
    assert unf["train"]["final_std"] == pytest.approx(np.std(finals, ddof=1))
    assert unf["against_best_adam"]["speedup_in_steps"] == pytest.approx(2.0, rel=0.2)
    assert unf["against_best_adam"]["adams_steps_to_our_final_loss"] is None
    assert summary["timing"]["speedup_in_time"]["unf"] == pytest.approx(1.0, rel=0.2)
    text = (tmp_path / "report.md").read_text()
    assert "the best Adam needs more than 200 inner steps" in text
    assert "same parameters and see the same batches" in text


def test_every_loss_is_in_the_table_of_curves():
    found = outcome(decay(0.04))
    rows = list(csv.DictReader(io.StringIO(results.curves_csv(found))))
    assert len(rows) == 3 * 2 * 5 * len(PROTOCOL.steps)
    row = next(
        row
        for row in rows
        if (row["optimizer"], row["split"], row["seed"], row["inner_step"])
        == ("adam_lr0.01", "test", "3", "40")
    )
    assert float(row["loss"]) == pytest.approx(found.adam[0.01].loss["test"][3, 4], rel=1e-6)


def test_a_short_demo_is_called_one_and_a_long_run_is_not(tmp_path):
    line = report.closing_line(results.summary(outcome(decay(0.04))), tmp_path)
    assert "a short demo: 300 outer steps (the paper uses 50,000)" in line
    assert "inner horizon 200 (the paper's is 2,000)" in line
    assert line.endswith(f"report: {tmp_path / 'report.md'}")
    long = results.summary(outcome(decay(0.04), outer_steps=50_000))
    assert "short demo" not in report.closing_line(long, tmp_path)


def test_a_loss_that_is_not_finite_is_null_and_said(tmp_path):
    ours = decay(0.04)
    ours.loss["train"][2, -1] = np.nan
    summary = report.write(outcome(ours), tmp_path)
    json.loads((tmp_path / "results.json").read_text(), parse_constant=pytest.fail)
    assert summary["optimizers"]["unf"]["train"]["final_mean"] is None
    assert summary["timing"]["speedup_in_time"]["unf"] is None
    assert "train loss diverged at inner step 200" in (tmp_path / "report.md").read_text()


def test_the_best_rate_is_not_one_that_diverged():
    found = outcome(decay(0.04))
    found.adam[1.0] = decay(0.1)
    assert found.best_rate == 1.0
    found.adam[1.0].loss["train"][0, -1] = np.inf
    assert found.best_rate == 0.1


def test_batches_that_differ_are_said():
    other_start = decay(0.04)
    other_start.loss["train"][:, 0] *= 1.01
    assert outcome(decay(0.04)).paired()
    found = outcome(other_start)
    assert not found.paired()
    assert "do not see the same batches" in report.markdown(results.summary(found))


def test_the_picture_is_one(tmp_path):
    report.write(outcome(decay(0.04), names=("unf", "learned_sgdm")), tmp_path)
    with Image.open(tmp_path / "curves.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape[0] > 500 and pixels.shape[1] > 1000
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100


def test_two_optimizers_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"'unf'.*--compare=NAME=FOLDER"):
        outcome(decay(0.04), names=("unf", "unf"))
