"""The vectorized sweep is the ecosystem's Adam, run by run."""

import numpy as np
import pytest

from unf_lopt import ecosystem
from unf_lopt.evaluation.baselines import adam_curves, adam_learning_rates
from unf_lopt.evaluation.curves import learned_curves
from unf_lopt.evaluation.protocol import SPLITS, Protocol
from unf_lopt.tasks.image_mlp import digits_mlp_family

RATES = (1e-3, 3e-2)
PROTOCOL = Protocol(num_seeds=3, horizon=12, eval_every=4)


def test_the_rates_are_the_ecosystems_fifteen():
    rates = adam_learning_rates()
    assert len(rates) == 15
    # Half decades as the ecosystem rounds them: 1 and 3 times the powers of ten.
    np.testing.assert_allclose(np.log10(rates), np.arange(-7, 0.5, 0.5), atol=0.025)


@pytest.fixture(scope="module")
def sweep():
    return adam_curves(digits_mlp_family(), RATES, PROTOCOL)


@pytest.mark.parametrize("member", range(len(RATES)))
def test_all_rates_at_once_are_the_ecosystems_adam_one_by_one(sweep, member):
    adam = ecosystem.learned_optimizer_from_opt(ecosystem.Adam(RATES[member]))
    alone = learned_curves(digits_mlp_family(), adam, None, PROTOCOL)
    np.testing.assert_array_equal(alone.steps, sweep[member].steps)
    for split in SPLITS:
        assert alone.loss[split].shape == (3, 4)
        np.testing.assert_allclose(sweep[member].loss[split], alone.loss[split], rtol=2e-5)


def test_rates_share_their_start_and_seeds_do_not(sweep):
    first, second = (curves.loss["train"] for curves in sweep)
    np.testing.assert_allclose(first[:, 0], second[:, 0], rtol=1e-6)
    assert np.all(np.abs(first[:, -1] - second[:, -1]) > 1e-2)
    assert len(np.unique(first[:, 0])) == 3
