"""The vectorized sweep is the ecosystem's Adam and plain optax, run by run."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.evaluation.reference import learned_curves
from unf_lopt import ecosystem
from unf_lopt.evaluation.baselines import BASELINES
from unf_lopt.evaluation.contestants import baselines_of, hand_designed
from unf_lopt.evaluation.population import Population
from unf_lopt.evaluation.protocol import SPLITS, Protocol
from unf_lopt.evaluation.scheduled import (
    evaluation_params_state,
    linear_decay,
    warm_up_and_cosine,
    warm_up_and_hold,
)
from unf_lopt.tasks.image_mlp import digits_mlp_family

RATES = (1e-3, 3e-2)
PROTOCOL = Protocol(num_seeds=3, horizon=12, eval_every=4)

# The same with what optax has for a horizon that is known beforehand.
PLAIN = {
    "nadamw": lambda rate, steps: optax.nadamw(
        optax.warmup_cosine_decay_schedule(0.0, rate, steps // 10, steps), weight_decay=1e-4
    ),
    "muon": lambda rate, steps: optax.contrib.muon(optax.linear_schedule(rate, 0.0, steps)),
    "schedule_free": lambda rate, steps: optax.contrib.schedule_free_adamw(
        rate, warmup_steps=steps // 10
    ),
}


def curves_of(name, rates=None):
    """Of every setting of a baseline, all in one program."""
    own = hand_designed(name, rates)
    population = Population(digits_mlp_family(), own.learned_opt, PROTOCOL)
    return population.curves(own.thetas(own.settings))


@pytest.fixture(params=sorted(PLAIN))
def scheduled(request):
    if request.param == "muon" and not hasattr(optax.contrib, "muon"):
        pytest.skip("this optax has no Muon")
    return request.param


def test_adams_rates_are_the_ecosystems_fifteen():
    rates = BASELINES["adam"].learning_rates
    assert len(rates) == 15
    # Half decades as the ecosystem rounds them: 1 and 3 times the powers of ten.
    np.testing.assert_allclose(np.log10(rates), np.arange(-7, 0.5, 0.5), atol=0.025)


@pytest.fixture(scope="module")
def sweep():
    return curves_of("adam", RATES)


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


@pytest.mark.parametrize("steps", [10, 25, 200])
@pytest.mark.parametrize(
    ("ours", "plain"),
    [
        (
            warm_up_and_cosine,
            lambda steps: optax.warmup_cosine_decay_schedule(0.0, 0.3, steps // 10, steps),
        ),
        (linear_decay, lambda steps: optax.linear_schedule(0.3, 0.0, steps)),
        (warm_up_and_hold, lambda steps: optax.warmup_constant_schedule(0.0, 0.3, steps // 10)),
    ],
    ids=["warm-up and cosine", "linear", "warm-up"],
)
def test_schedules_of_a_traced_horizon_are_those_of_optax(ours, plain, steps):
    counts = jnp.arange(steps + 2)
    found = jax.jit(lambda rate, steps: ours(rate, steps)(counts))(0.3, steps)
    np.testing.assert_allclose(found, jax.vmap(plain(steps))(counts), rtol=1e-5, atol=1e-7)
    assert found[-1] == pytest.approx(0.3 if ours is warm_up_and_hold else 0, abs=1e-7)


def test_a_vectorized_trajectory_is_a_plain_loop_of_optax(scheduled):
    """Float32 sums of 30 steps; Newton and Schulz's polynomial enlarges their rounding."""
    steps, rates = 30, jnp.array([1e-3, 1e-1])
    start = {"w": jax.random.normal(jax.random.PRNGKey(0), (6, 4)), "b": jnp.ones(4)}
    inputs = jax.random.normal(jax.random.PRNGKey(1), (8, 6))

    def loss(params):
        return jnp.mean((jnp.tanh(inputs @ params["w"] + params["b"]) - 0.5) ** 2)

    def ours(rate):
        opt = BASELINES[scheduled].at_rate().opt_fn(rate)

        def step(state, _):
            return opt.update(state, jax.grad(loss)(opt.get_params(state)), loss=None), None

        state, _ = jax.lax.scan(step, opt.init(start, num_steps=steps), length=steps)
        return opt.get_params(state)

    together, gradient = jax.jit(jax.vmap(ours))(rates), jax.jit(jax.grad(loss))
    for member, rate in enumerate(rates):
        opt = PLAIN[scheduled](float(rate), steps)
        params, state, update = start, opt.init(start), jax.jit(opt.update)
        for _ in range(steps):
            updates, state = update(gradient(params), state, params)
            params = optax.apply_updates(params, updates)
        assert np.abs(params["w"] - start["w"]).max() > 1e-3
        for name in start:
            np.testing.assert_allclose(together[name][member], params[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", BASELINES)
def test_every_entry_of_the_table_trains_at_all_its_rates_in_one_program(name):
    """Nothing but the table is asked; a new entry is tested here."""
    if name == "muon" and not hasattr(optax.contrib, "muon"):
        pytest.skip("this optax has no Muon")
    baseline = BASELINES[name]
    rates = baseline.learning_rates
    assert list(rates) == sorted(set(rates)) and len(rates) == 15
    assert baseline.title and baseline.options and name.isidentifier()
    found = curves_of(name)
    assert len(found) == len(rates)
    best = min(curves.mean("train")[-1] for curves in found)
    assert best < 0.8 * found[0].mean("train")[0]


def test_rates_of_adam_can_be_given_and_those_of_others_are_of_the_table():
    nadamw, adam = baselines_of(["nadamw", "adam"], [0.1, 0.01, 0.1])
    assert [float(name) for name in nadamw.settings] == list(BASELINES["nadamw"].learning_rates)
    assert list(adam.settings) == ["0.01", "0.1"]
    assert [adam.edge(name) for name in adam.settings] == ["lowest", "highest"]
    (adam,) = baselines_of(("adam",))
    assert len(adam.settings) == 15


@pytest.mark.parametrize(
    ("names", "rates", "message"),
    [
        (("lion",), None, "evaluate.baselines='lion': choose one of .'adam', 'adamw', 'sgd', 'nad"),
        ((), None, r"baselines=\(\)\): name one or more of .'adam'"),
        (("nadamw",), [0.1], "are Adam's, which baselines=.*leave out"),
    ],
)
def test_baselines_that_there_are_not_are_one_line(names, rates, message):
    with pytest.raises(ValueError, match=message) as caught:
        baselines_of(names, rates)
    assert "\n" not in str(caught.value)


def test_a_schedule_without_horizon_is_named(scheduled):
    with pytest.raises(ValueError, match="num_steps"):
        BASELINES[scheduled].at_rate().opt_fn(0.1).init({"w": jnp.ones((2, 2))})


def test_schedule_free_is_evaluated_at_its_average():
    """The average x is where optax says; gradients are taken elsewhere."""
    opt = BASELINES["schedule_free"].at_rate().opt_fn(0.1)
    state = opt.init({"w": jnp.ones(3)}, num_steps=10)
    for _ in range(5):
        state = opt.update(state, {"w": jnp.array([1.0, -2.0, 0.5])}, loss=None)
    evaluated, _ = evaluation_params_state(opt, state)
    expected = optax.contrib.schedule_free_eval_params(state.optax_state, state.params)
    np.testing.assert_allclose(evaluated["w"], expected["w"])
    assert np.all(np.abs(evaluated["w"] - state.params["w"]) > 1e-3)
