"""Many inner runs in one program are the runs alone."""

import jax.numpy as jnp
import numpy as np
import pytest

from unf_lopt.evaluation.baselines import BASELINES
from unf_lopt.evaluation.population import Population, require_same_loss
from unf_lopt.evaluation.protocol import Protocol
from unf_lopt.tasks.rnn_lm import docs_rnn_family


@pytest.mark.slow
def test_a_population_so_large_that_xla_takes_other_kernels_is_right():
    """10 seeds and 4 rates of the RNN: with one-hot labels all rates had the losses of one."""
    rates = (1e-7, 1e-3, 1e-2, 3e-2)
    protocol = Protocol(num_seeds=10, horizon=4, eval_every=4, final_passes=1)
    many = _curves(docs_rnn_family(), rates, protocol)
    (alone,) = _curves(docs_rnn_family(), rates[2:3], protocol)
    for split in ("train", "test"):
        np.testing.assert_allclose(many[2].loss[split], alone.loss[split], rtol=1e-4)
    assert many[2].mean("train")[-1] < many[0].mean("train")[-1] - 0.5


@pytest.mark.parametrize("loss", [1.25, 0.0, np.inf, np.nan])
def test_rounding_is_no_fault(loss):
    require_same_loss(loss * (1 + 1e-5), loss, 150)


@pytest.mark.parametrize("together", [1.3, np.nan, np.inf])
def test_another_loss_names_both_and_the_remedy(together):
    with pytest.raises(RuntimeError, match=r"150 inner runs.*and 1\.25 alone.*XLA_FLAGS"):
        require_same_loss(together, 1.25, 150)


def _curves(family, rates, protocol):
    population = Population(family, BASELINES["adam"].at_rate(), protocol)
    return population.curves(jnp.asarray(rates, jnp.float32))
