"""An outer step against the estimators' own calls, worker by worker."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unf_lopt import ecosystem, register
from unf_lopt.ecosystem import pure
from unf_lopt.estimators import ByPart, HorizonES, Horizons, NoiseReuseES, TruncatedBackprop
from unf_lopt.outer_training.outer_step import Keys, Learning, OuterStep
from unf_lopt.outer_training.workers import share_out
from unf_lopt.tasks.image_mlp import digits_mlp_family

WORKERS, STEP = 2, 3
FAMILY = digits_mlp_family((3,), 8)
LOPT = register.learned_sgdm()
HORIZONS = Horizons(4, 5)
KEYS = Keys(*jax.random.split(jax.random.PRNGKey(5), 3))


def of_the_ecosystem(name, **options):
    return ecosystem.gradient_estimator(
        getattr(ecosystem, name),
        FAMILY,
        LOPT,
        ecosystem.ConstantTruncationSchedule(4),
        num_tasks=2,
        steps_per_jit=2,
        **options,
    )


ESTIMATORS = {
    "HorizonES": lambda: HorizonES(FAMILY, LOPT, HORIZONS, num_pairs=2),
    "NoiseReuseES": lambda: NoiseReuseES(FAMILY, LOPT, HORIZONS, num_pairs=2, trunc_length=2),
    "ByPart": lambda: ByPart(
        {"scalars": TruncatedBackprop(FAMILY, LOPT, HORIZONS, num_runs=2, trunc_length=2)}
    ),
    "TruncatedPES": lambda: of_the_ecosystem("TruncatedPES", trunc_length=2),
    "TruncatedGrad": lambda: of_the_ecosystem("TruncatedGrad", unroll_length=2),
    "FullES": lambda: of_the_ecosystem("FullES"),
}
SLOW = ("NoiseReuseES", "TruncatedGrad")


@pytest.fixture(scope="module")
def learner():
    return ecosystem.make_learner(LOPT, theta_opt=ecosystem.Adam(0.1), num_steps=9)


def called(outer, learner, estimator, state, unrolls, worker):
    """What a worker finds by the estimator's own call, with the data where they stand."""
    ecosystem.move_to(FAMILY.datasets, worker, STEP * (4 if outer.is_compiled else 2**20))
    key, _ = KEYS.of_worker(STEP, worker)
    own = jax.random.fold_in(key, 0) if outer.is_compiled else jax.random.split(key)[1]
    weights = learner.get_state_for_worker(state)
    return estimator.compute_gradient_estimate(weights, own, unrolls[0])[0]


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in ESTIMATORS],
)
def test_theta_moves_by_the_mean_of_what_the_workers_find(name, learner, monkeypatch):
    monkeypatch.setattr(pure, "_LARGEST_ON_DEVICE", 0)  # the ecosystem's calls read on the host
    estimator, workers = ESTIMATORS[name](), share_out(WORKERS)
    outer = OuterStep(workers, learner, [estimator], averaging=0.75)
    assert outer.is_compiled == (name != "FullES")
    state = learner.init(jax.random.PRNGKey(0))
    theta = ecosystem.theta_of(learner, state)
    learning = workers.at_home(Learning(state, theta))
    runs = outer.fresh(learning, jax.random.PRNGKey(1))
    found = [
        called(outer, learner, estimator, state, own, worker)
        for worker, own in enumerate(jax.device_get(runs))
    ]
    grad = jax.tree.map(lambda *leaves: sum(leaves) / WORKERS, *(own.grad for own in found))
    rows, _ = outer.estimate(learning, runs, outer.batches(STEP), KEYS, STEP)
    after, report = outer.update(learning, rows, (2.0, 0.5), KEYS, STEP)
    for mine, theirs in zip(jax.tree.leaves(report.gradient), jax.tree.leaves(grad), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=2e-3, atol=1e-5)
    losses = [float(own.mean_loss) for own in found]
    np.testing.assert_allclose(report.mean_loss, np.mean(losses), rtol=1e-4)
    assert losses[0] != losses[1]
    assert report.finite and list(report.told) == [2.0, 0.5]
    # Adam's first step is the learning rate where there is a gradient; the average is a quarter of
    # the way.
    moved = ecosystem.theta_of(learner, after.learner_state)
    trees = (theta, moved, after.average, report.gradient)
    for old, new, average, slope in zip(*map(jax.tree.leaves, trees), strict=True):
        step = 0.1 * abs(slope) / (abs(slope) + 1e-8)
        np.testing.assert_allclose(abs(new - old), step, rtol=1e-2, atol=1e-6)
        np.testing.assert_allclose(average, 0.75 * old + 0.25 * new, rtol=1e-5)


def test_what_is_not_finite_changes_nothing(learner):
    workers = share_out(WORKERS)
    outer = OuterStep(workers, learner, [ESTIMATORS["HorizonES"]()], averaging=None)
    learning = workers.at_home(Learning(learner.init(jax.random.PRNGKey(0)), None))
    size = 2 + sum(leaf.size for leaf in jax.tree.leaves(LOPT.init(KEYS.data)))
    rows = list(jnp.ones((WORKERS, size)).at[1, 0].set(jnp.nan))
    after, report = outer.update(learning, rows, (0.0, 0.0), KEYS, STEP)
    assert not report.finite
    jax.tree.map(np.testing.assert_array_equal, after, learning)


def test_workers_read_data_of_their_own(monkeypatch):
    """Wherever they are read, batches of another worker or outer step are other batches."""
    monkeypatch.setattr(pure, "_LARGEST_ON_DEVICE", 0)
    found = pure.PureEstimator(of_the_ecosystem("TruncatedPES", trunc_length=2), {"train": 4}, 8)
    read = [found.read(place, step)["train"] for place in range(3) for step in range(3)]
    images = [np.asarray(batches["image"]) for batches in read]
    assert all(own.shape[0] == 4 for own in images)
    assert len({own.tobytes() for own in images}) == len(images)


@pytest.mark.parametrize("number", [0, -1])
def test_the_number_of_workers_must_be_positive(number):
    with pytest.raises(ValueError, match=f"NUM_WORKERS={number}"):
        share_out(number)
