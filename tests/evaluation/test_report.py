"""What is written, on made-up curves: every word that depends on the outcome."""

import csv
import io
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from unf_lopt.evaluation import report, results
from unf_lopt.evaluation.curves import Curves
from unf_lopt.evaluation.outcome import Outcome, Trained, setting_name
from unf_lopt.evaluation.protocol import SPLITS, TUNING_SPLITS, Protocol
from unf_lopt.tasks.image_mlp import digits_mlp_family

PROTOCOL = Protocol(num_seeds=5, horizon=200)


def decay(rate, splits=SPLITS, seeds=5):
    spread = 1 + np.linspace(-0.1, 0.1, seeds)[:, None]
    steps = np.asarray(PROTOCOL.steps)
    loss = 2.3 * spread * np.exp(-rate * steps)
    other = loss + 0.1 * (1 - np.exp(-rate * steps))
    return Curves(steps, dict(zip(splits, (loss, other), strict=True)))


def tried(rate):
    """Of a setting on the seeds that settings are chosen on."""
    return decay(rate, TUNING_SPLITS, 3)


def outcome(ours, family=None, outer_steps=300, names=("unf",), **baselines):
    """Adam, and what else is given, each how fast its losses fall by rate."""
    baselines = {"adam": {0.1: 0.02, 0.01: 0.002, 1.0: 0.001}, **baselines}
    found = Outcome(
        family or digits_mlp_family(),
        PROTOCOL,
        [Trained(name, None, None, outer_steps, f"run/params_{outer_steps}") for name in names],
        curves={name: ours for name in names},
        sweeps={
            name: {rate: tried(fall) for rate, fall in by_rate.items()}
            for name, by_rate in baselines.items()
        },
        stage_seconds={"unf": 1.0},
    )
    for name, by_rate in baselines.items():
        for rate in by_rate:
            found.curves[setting_name(name, rate)] = decay(by_rate[rate])
    best = [found.best_name(name) for name in baselines]
    found.seconds_per_step = {name: 0.002 for name in names} | dict.fromkeys(best, 0.001)
    return found


def test_figures_of_an_optimizer_twice_as_fast_in_steps_and_as_slow_by_the_clock(tmp_path):
    summary = report.write(outcome(decay(0.04)), tmp_path)
    assert summary == json.loads((tmp_path / "results.json").read_text())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "curves.csv",
        "curves.png",
        "report.md",
        "results.json",
    ]
    assert summary["main_baseline"] == "adam"
    assert summary["baselines"]["adam"]["best"] == "adam_lr0.1"
    best = summary["optimizers"]["adam_lr0.1"]
    assert (best["kind"], best["baseline"], best["learning_rate"]) == ("baseline", "adam", 0.1)
    unf = summary["optimizers"]["unf"]
    finals = decay(0.04).final("train")
    assert unf["train"]["final_mean"] == pytest.approx(finals.mean())
    assert unf["train"]["final_std"] == pytest.approx(np.std(finals, ddof=1))
    assert unf["against"]["adam"]["speedup_in_steps"] == pytest.approx(2.0, rel=0.2)
    assert unf["against"]["adam"]["baselines_steps_to_our_final_loss"] is None
    assert summary["timing"]["speedup_in_time"]["unf"]["adam"] == pytest.approx(1.0, rel=0.2)
    low, high = unf["against"]["adam"]["speedup_in_steps_interval"]
    assert 1.5 < low <= unf["against"]["adam"]["speedup_in_steps"] <= high < 2.5
    text = (tmp_path / "report.md").read_text()
    assert "the best Adam needs more than 200 inner steps" in text
    assert "same parameters and see the same batches" in text


def test_every_loss_is_in_the_table_of_curves():
    found = outcome(decay(0.04))
    rows = list(csv.DictReader(io.StringIO(results.curves_csv(found))))
    assert len(rows) == (4 * 5 + 3 * 3) * 2 * len(PROTOCOL.steps)
    row = next(
        row
        for row in rows
        if (row["optimizer"], row["seeds"], row["split"], row["seed"], row["inner_step"])
        == ("adam_lr0.01", "tuning", "inner_valid", "2", "40")
    )
    assert float(row["loss"]) == pytest.approx(
        found.sweeps["adam"][0.01].loss["inner_valid"][2, 4], rel=1e-6
    )


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
    assert summary["timing"]["speedup_in_time"]["unf"]["adam"] is None
    assert "train loss diverged at inner step 200" in (tmp_path / "report.md").read_text()


def test_the_best_rate_is_not_one_that_diverged():
    found = outcome(decay(0.04))
    found.sweeps["adam"][1.0] = tried(0.1)
    assert found.best_rate("adam") == 1.0
    found.sweeps["adam"][1.0].loss["train"][0, -1] = np.inf
    assert found.best_rate("adam") == 0.1


def test_the_first_line_and_the_closing_one_say_who_won_by_how_much(tmp_path):
    nadamw = {0.3: 0.03, 0.1: 0.01, 1.0: 0.01}
    summary = report.write(outcome(decay(0.055), nadamw=nadamw), tmp_path)
    against, in_time = summary["optimizers"]["unf"]["against"], summary["timing"]["speedup_in_time"]
    assert list(against) == list(in_time["unf"]) == ["adam", "nadamw"]
    over_adam, over_nadamw = (own["speedup_in_steps"] for own in against.values())
    assert over_adam > over_nadamw > 1.3
    first = (tmp_path / "report.md").read_text().splitlines()[0]
    assert first.startswith(
        f"# unf after 300 outer steps: {over_adam:.2f} times fewer inner steps and "
        f"{over_adam / 2:.2f} times less time than the best Adam (lr 0.1); "
        f"{over_nadamw:.2f} times fewer inner steps and "
    )
    assert "more time than the best NAdamW (lr 0.3). Fewest inner steps: unf; " in first
    # NAdamW is 1.5 times as fast as Adam, an inner step of either takes half of one of ours.
    assert first.endswith("least time: best NAdamW (lr 0.3)")
    assert report.closing_line(summary, tmp_path).startswith(first.removeprefix("# "))


def test_every_baseline_has_a_row_relative_to_the_first(tmp_path):
    summary = report.write(outcome(decay(0.05), nadamw={0.3: 0.03}), tmp_path)
    rows = {
        cells[1].strip(): [cell.strip() for cell in cells[2:-1]]
        for line in (tmp_path / "report.md").read_text().splitlines()
        if len(cells := line.split("|")) == len(report.COLUMNS) + 2
    }
    assert rows["best Adam (lr 0.1)"][3::2] == ["1.00×", "1.00×"]
    ratio = summary["optimizers"]["nadamw_lr0.3"]["against"]["adam"]["speedup_in_steps"]
    assert ratio == pytest.approx(1.5, rel=0.2)
    assert rows["best NAdamW (lr 0.3)"][3::2] == [f"{ratio:.2f}×"] * 2
    assert report.table(summary).row_count == 3


def test_equals_both_win():
    line = report.closing_line(results.summary(outcome(decay(0.02))), pathlib.Path("x"))
    assert "no fewer inner steps and 2.00 times more time than the best Adam" in line
    assert "Fewest inner steps: unf and best Adam (lr 0.1); least time: best Adam (lr 0.1)" in line


@pytest.mark.parametrize(
    ("rates", "edge", "message"),
    [
        ((0.1, 0.01), "highest", "learning rate of NAdamW, 0.1, is the highest of its grid"),
        ((0.1, 1.0), "lowest", "learning rate of NAdamW, 0.1, is the lowest of its grid"),
        ((0.1,), "only", "NAdamW ran at one learning rate only (0.1): it is not tuned"),
        ((0.01, 0.1, 1.0), None, None),
    ],
)
def test_a_best_rate_at_the_edge_of_its_grid_is_said(rates, edge, message):
    nadamw = {rate: 0.03 if rate == 0.1 else 0.01 for rate in rates}
    summary = results.summary(outcome(decay(0.04), nadamw=nadamw))
    assert summary["baselines"]["nadamw"]["grid_edge"] == edge
    text = report.markdown(summary)
    assert message in text if message else "of its grid" not in text


def test_the_test_loss_of_a_rate_tuned_for_it_is_told_from_that_of_the_best_rate():
    found = outcome(decay(0.04))
    found.sweeps["adam"][0.01].loss["inner_valid"][:, -1] = 0.001
    found.curves["adam_lr0.01"].loss["test"][:, -1] = 0.25
    assert found.chosen_rates("adam") == [0.1, 0.01]
    summary = results.summary(found)
    tuned = summary["baselines"]["adam"]["best_by_validation_loss"]
    assert (tuned["optimizer"], tuned["learning_rate"]) == ("adam_lr0.01", 0.01)
    assert tuned["final_test_mean"] == 0.25
    text = report.markdown(summary)
    assert "test loss of Adam: 0.25 at the rate with the lowest validation loss (lr 0.01)" in text


def test_the_report_says_that_outer_training_had_one_seed():
    text = report.markdown(results.summary(outcome(decay(0.04), names=("unf", "deep_sets"))))
    assert "with one outer seed" in text
    assert "ranking of learned optimizers can turn" in text


def test_batches_that_differ_are_said():
    other_start = decay(0.04)
    other_start.loss["train"][:, 0] *= 1.01
    assert outcome(decay(0.04)).paired()
    found = outcome(other_start)
    assert not found.paired()
    assert "do not see the same batches" in report.markdown(results.summary(found))


def test_the_picture_is_one(tmp_path):
    two = {"names": ("unf", "learned_sgdm"), "nadamw": {0.3: 0.03, 0.1: 0.01}}
    report.write(outcome(decay(0.04), **two), tmp_path)
    with Image.open(tmp_path / "curves.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape[0] > 500 and pixels.shape[1] > 1000
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100


def test_two_optimizers_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"'unf'.*--compare=NAME=FOLDER"):
        outcome(decay(0.04), names=("unf", "unf"))
