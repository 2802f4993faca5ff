"""Outer training, resuming and evaluation on a text, from the config on."""

import json

import gin
import numpy as np
import pytest

from tests.configs import configure
from unf_lopt import ecosystem, evaluation
from unf_lopt.outer_training import train
from unf_lopt.tasks.data import docs_text


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Four outer steps in one go, and with a stop after two."""
    folders = [tmp_path_factory.mktemp(name) for name in ("whole", "stopped")]
    for folder, steps in ((folders[0], 4), (folders[1], 2), (folders[1], 4)):
        configure(f"OUTER_STEPS = {steps}", config="docs_rnn.gin")
        train(str(folder))
    return folders


@pytest.mark.slow
def test_a_stopped_run_reads_on_where_it_stopped(runs):
    whole, stopped = runs
    for name in ("params_4", "unroll_4"):
        assert (whole / name).read_bytes() == (stopped / name).read_bytes()


@pytest.mark.slow
def test_a_run_says_which_text_it_read(runs, capsys, tmp_path):
    source = str(docs_text())
    assert f"# Data: {source}\n" in (runs[0] / "operative_config.gin").read_text()
    configure("OUTER_STEPS = 1", "LOPT = @learned_sgdm()", config="docs_rnn.gin")
    train(str(tmp_path))
    assert f"data: {source}\n" in capsys.readouterr().out


@pytest.mark.slow
def test_it_is_evaluated_and_the_report_says_on_what(runs, tmp_path):
    gin.clear_config()
    evaluation.bind_run(str(runs[0]))
    gin.parse_config("""
        evaluate.eval_every = 2
        evaluate.learning_rates = (0.01,)
    """)
    summary = evaluation.evaluate(tmp_path, str(runs[0]))
    assert summary == json.loads((tmp_path / "results.json").read_text())
    assert summary["task"] == "RNNLM_docsbytes_Patch5_IRNN4_Embed3"
    assert summary["data_source"] == str(docs_text())
    assert f"- Data: {docs_text()}." in (tmp_path / "report.md").read_text()
    for split in ("train", "test"):
        losses = summary["optimizers"]["unf"][split]["final_of_each_seed"]
        assert len(set(losses)) == 5
        np.testing.assert_allclose(losses, np.log(259), atol=2)
    assert summary["paper_horizon"] == 2000


def test_data_without_a_source_say_nothing():
    assert ecosystem.data_source(None) == ""
    assert ecosystem.data_source(gin.get_configurable("digits_mlp")().datasets) == ""
