"""What is written, on made-up curves: every word that depends on the outcome."""

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image

from tests.evaluation.made_up import ADAM, PROTOCOL, decay, outcome, tried
from unf_lopt.evaluation import report, results, tables, verdict
from unf_lopt.evaluation.results import BEST

NADAMW = {0.1: 0.01, 0.3: 0.03, 1.0: 0.01}


def the_task(found):
    (own,) = found.tasks.values()
    return own


def test_figures_of_an_optimizer_twice_as_fast_in_steps_and_as_slow_by_the_clock(tmp_path):
    summary = report.write(outcome(0.04), tmp_path)
    assert summary == json.loads((tmp_path / "results.json").read_text())
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"curves.csv", "curves.png", "report.html", "report.md", "results.json"}
    task = summary["tasks"]["task"]
    assert (summary["main"], task["best_baseline"]) == ("unf", "adam")
    adam, unf = task["contestants"]["adam"], task["contestants"]["unf"]
    assert (adam["setting"], adam["grid_edge"]) == ("0.1", None)
    finals = decay(0.04).final("train")
    assert unf["train"]["final_mean"] == pytest.approx(finals.mean())
    assert unf["train"]["final_std"] == pytest.approx(np.std(finals, ddof=1))
    target = unf["to_target"]
    assert target["steps"] == pytest.approx(100, abs=10)
    low, high = target["speedup_interval"]
    assert 1.5 < low <= target["speedup"] <= high < 2.5
    assert unf["against"]["adam"]["their_steps_to_our_final_loss"] is None
    timing = summary["timing"]["tasks"]["task"]["unf"]
    assert timing["to_target"]["speedup"] == pytest.approx(target["speedup"] / 2)
    assert timing["to_target"]["seconds"] == pytest.approx(target["steps"] * 0.002)
    assert adam["to_target"]["speedup"] == 1.0


def test_a_target_that_is_never_reached_is_censored_and_said():
    summary = results.summary(outcome(0.01))
    target = summary["tasks"]["task"]["contestants"]["unf"]["to_target"]
    assert (target["steps"], target["steps_interval"]) == (None, [None, None])
    assert (target["speedup"], target["speedup_interval"]) == (0.0, [0.0, 0.0])
    assert summary["timing"]["tasks"]["task"]["unf"]["to_target"]["seconds"] is None
    table = tables.of_task(summary, "task")
    shown = dict(zip(table.columns, table.rows[0], strict=True))
    assert shown["steps to target"] == "more than 200"
    assert shown["speed-up in steps"] == "not reached"
    assert "unf does not reach the training loss of the best tuned baseline" in verdict.verdict(
        summary
    )


def test_every_loss_is_in_the_table_of_curves():
    found = outcome(0.04)
    rows = list(csv.DictReader(io.StringIO(results.curves_csv(found))))
    assert len(rows) == (4 * 5 + 3 * 3) * 2 * len(PROTOCOL.steps)
    wanted = {
        "task": "task",
        "optimizer": "adam",
        "setting": "0.01",
        "seeds": "tuning",
        "split": "inner_valid",
        "seed": "2",
        "inner_step": "40",
    }
    (row,) = (row for row in rows if wanted.items() <= row.items())
    sweep = the_task(found).sweeps["adam"]
    assert float(row["loss"]) == pytest.approx(sweep["0.01"].loss["inner_valid"][2, 4], rel=1e-6)


def test_a_run_that_diverges_is_null_counted_and_said(tmp_path):
    ours = decay(0.04)
    ours.loss["train"][2, -1] = np.nan
    summary = report.write(outcome(ours), tmp_path)
    json.loads((tmp_path / "results.json").read_text(), parse_constant=pytest.fail)
    unf = summary["tasks"]["task"]["contestants"]["unf"]
    assert unf["train"]["final_mean"] is None
    assert (unf["diverged"], summary["over_all_tasks"]["unf"][BEST]["diverged"]) == (1, 1)
    assert "1 of 5 runs of unf diverged." in verdict.cautions(summary)
    assert "diverged" in (tmp_path / "report.md").read_text()


def test_the_best_setting_is_not_one_that_diverged():
    own = the_task(outcome(0.04))
    own.sweeps["adam"]["1"] = tried(0.1)
    assert own.setting("adam") == "1"
    own.sweeps["adam"]["1"].loss["train"][0, -1] = np.inf
    assert own.setting("adam") == "0.1"


def test_the_first_line_of_everything_says_who_won_by_how_much(tmp_path):
    summary = report.write(outcome(0.055, nadamw=NADAMW), tmp_path)
    target = summary["tasks"]["task"]["contestants"]["unf"]["to_target"]
    low, high = target["speedup_interval"]
    first = verdict.verdict(summary)
    assert first == (
        f"unf takes {target['speedup']:.2f} times fewer inner steps (95% interval {low:.2f} to "
        f"{high:.2f}) and {2 / target['speedup']:.2f} times more time to the training loss of the "
        "best tuned baseline, NAdamW (lr 0.3)"
    )
    assert (tmp_path / "report.md").read_text().splitlines()[0] == f"# {first}"
    assert f"<h1>{first}.</h1>" in (tmp_path / "report.html").read_text()
    lines = report.closing_lines(summary, tmp_path)
    assert lines == [f"{first}.", f"report: {tmp_path / 'report.html'}"]


def test_every_baseline_is_compared_pairwise_too():
    summary = results.summary(outcome(0.05, nadamw=NADAMW))
    over_adam, over_nadamw = verdict.against_baselines(summary, "task")
    ratio = summary["tasks"]["task"]["contestants"]["unf"]["against"]["adam"]["speedup_in_steps"]
    assert over_adam.startswith(f"unf takes {ratio:.2f} times fewer inner steps (")
    assert "than Adam (lr 0.1)" in over_adam and "than NAdamW (lr 0.3)" in over_nadamw


def test_markdown_terminal_and_page_show_the_same_rows(tmp_path):
    summary = report.write(outcome(0.05, nadamw=NADAMW), tmp_path)
    own = tables.at_a_glance(summary)
    text = (tmp_path / "report.md").read_text()
    for row in own.rows:
        assert f"| {' | '.join(row)} |" in text
    shown = report.table(summary)
    found = zip(*(column.cells for column in shown.columns), strict=True)
    assert [[str(cell).replace("\n", " ") for cell in row] for row in found] == [
        list(row) for row in own.rows
    ]


@pytest.mark.parametrize(
    ("rates", "edge", "message"),
    [
        ((0.1, 0.01), "highest", "rate of NAdamW, 0.1, is the highest of its grid"),
        ((0.1, 1.0), "lowest", "rate of NAdamW, 0.1, is the lowest of its grid"),
        ((0.1,), "only", "NAdamW ran at one setting only"),
        ((0.01, 0.1, 1.0), None, None),
    ],
)
def test_a_best_rate_at_the_edge_of_its_grid_is_an_error_in_the_report(
    rates, edge, message, tmp_path
):
    nadamw = {rate: 0.03 if rate == 0.1 else 0.01 for rate in rates}
    summary = report.write(outcome(0.04, nadamw=nadamw), tmp_path)
    assert summary["tasks"]["task"]["contestants"]["nadamw"]["grid_edge"] == edge
    for name in ("report.md", "report.html"):
        text = (tmp_path / name).read_text()
        assert message in text if message else "of its grid" not in text


def test_test_losses_are_of_the_setting_tuned_for_them():
    found = outcome(0.04)
    own = the_task(found)
    own.sweeps["adam"]["0.01"].loss["inner_valid"][:, -1] = 0.001
    own.curves["adam", "0.01"].loss["test"][:, -1] = 0.25
    assert own.chosen("adam") == ["0.1", "0.01"]
    adam = results.summary(found)["tasks"]["task"]["contestants"]["adam"]
    assert (adam["setting"], adam["setting_for_test_loss"]) == ("0.1", "0.01")
    assert adam["test"]["final_mean"] == 0.25
    assert adam["train"]["final_mean"] == pytest.approx(decay(ADAM[0.1]).final("train").mean())


def test_the_target_can_be_the_test_loss(tmp_path):
    """Then the best baseline, its setting, steps and sentences are those for test losses."""
    found = outcome(0.04)
    own = the_task(found)
    own.target = "test"
    own.sweeps["adam"]["0.01"].loss["inner_valid"][:, -1] = 0.001
    own.curves["adam", "0.01"].loss["test"][:] = np.linspace(2.3, 0.25, 21)
    own.curves["unf", ""].loss["test"][:] = np.linspace(2.3, 0.1, 21)
    summary = report.write(found, tmp_path)
    task = summary["tasks"]["task"]["contestants"]
    assert task["adam"]["setting"] == task["adam"]["setting_for_test_loss"] == "0.01"
    assert task["adam"]["setting_for_train_loss"] == "0.1"
    assert task["unf"]["to_target"]["target"] == pytest.approx(0.25, rel=0.5)
    assert 1 < task["unf"]["to_target"]["speedup"] < 1.3
    assert task["adam"]["train"]["final_mean"] < task["adam"]["train_at_setting"]["final_mean"]
    assert summary["protocol"]["target"] == "test"
    for name in ("report.md", "report.html"):
        text = (tmp_path / name).read_text()
        assert "to the test loss of the best tuned baseline" in text
        assert "training loss of the best tuned baseline" not in text


def test_over_tasks_ties_and_what_is_lower_are_counted_and_means_have_intervals(tmp_path):
    summary = report.write(outcome(0.01, 0.02, 0.03, 0.04, 0.05), tmp_path)
    found = summary["over_all_tasks"]["unf"][BEST]
    assert (found["tasks"], found["tasks_lower_in_training_loss"]) == (5, 3)
    low, high = found["speedup_in_steps_interval"]
    assert 1 <= low <= found["speedup_in_steps"] <= high < 2.5
    assert found["runs_that_reach_it"] == 20
    profile = found["performance_profile"]
    shares = dict(zip(profile["speedup_at_least"], profile["share_of_runs"], strict=True))
    assert shares[1.0] == pytest.approx(0.8)
    assert summary["over_all_tasks"]["adam"][BEST]["speedup_in_steps"] == 1.0
    assert verdict.verdict(summary).startswith(
        "unf ends lower than the best tuned baseline on 3 of 5 tasks"
    )
    assert len(tables.at_a_glance(summary).rows) == 2


def test_one_outer_seed_and_batches_that_differ_are_said():
    other_start = decay(0.04)
    other_start.loss["train"][:, 0] *= 1.01
    assert the_task(outcome(0.04)).paired()
    found = outcome(other_start)
    assert not the_task(found).paired()
    said = " ".join(verdict.cautions(results.summary(found)))
    assert "did not see the same batches" in said and "one run of outer training" in said
    assert "A short training: unf is of 300 outer steps, the paper's of 50,000." in said


@pytest.mark.parametrize("falls", [(0.04,), (0.04, 0.03)])
def test_the_picture_is_one(tmp_path, falls):
    report.write(outcome(*falls, names=("unf", "learned_sgdm"), nadamw=NADAMW), tmp_path)
    with Image.open(tmp_path / "curves.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape[0] > 500 and pixels.shape[1] > 1000
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100
