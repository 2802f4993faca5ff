"""Parameters and tasks of every kind: types, ranks, frozen ones, model state, estimators."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.optimizers.problems import CHAIN
from tests.strategies import from_axes
from unf_lopt import ecosystem
from unf_lopt.optimizers import deep_sets, learned_sgdm, nfn, unf, unf_universal

SMALL = {"hidden_channels": 3, "hidden_layers": 1}
MAKERS = {
    "unf": lambda **options: unf(**SMALL, **options),
    "deep_sets": lambda **options: deep_sets(**SMALL, **options),
    "nfn": lambda **options: nfn(**SMALL, **options),
    "learned_sgdm": lambda **options: learned_sgdm(**options),
    "unf_universal": lambda **options: unf_universal(**SMALL, **options),
}
every_optimizer = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def one_step(lopt, params, grad, **options):
    opt = ecosystem.learned_optimizer(lopt).opt_fn(lopt.init(jax.random.PRNGKey(0)))
    update = jax.jit(lambda state, grad: opt.update(state, grad, **options))
    return update(opt.init(params), grad)


@every_optimizer
def test_bfloat16_parameters_stay_bfloat16_and_momenta_are_float32(make):
    lopt = make(nominal="adam", weight_decay=0.1, gradient_clip=1.0).bind(CHAIN.spec)
    after = one_step(lopt, CHAIN.random(0, "bfloat16"), CHAIN.random(1, "bfloat16"))
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(after.params)} == {"bfloat16"}
    own = after.optax_state
    kept = jax.tree.leaves((own.nominal.mu, own.nominal.nu, own.momenta))
    assert {str(leaf.dtype) for leaf in kept} == {"float32"}


@every_optimizer
def test_any_rank_and_empty_subtrees(make):
    """A kernel of three spatial axes and, for all but NFN, a scalar."""
    names = {"kernel": ("pixels", "pixels_1", "pixels_2", "a", "b"), "bias": ("b",)}
    if make is not MAKERS["nfn"]:
        names |= {"scale": ()}
    sizes = {"a": 2, "b": 2, "pixels": 2, "pixels_1": 2, "pixels_2": 2}
    spec = from_axes(names, fixed={"pixels", "pixels_1", "pixels_2"}, sizes=sizes)
    generator = np.random.default_rng(0)
    params, grad = (
        {
            path: jnp.asarray(generator.normal(size=shape), "f4")
            for path, shape in zip(spec.paths, spec.shapes, strict=True)
        }
        for _ in range(2)
    )
    after = one_step(make().bind(spec), {**params, "nothing": {}}, {**grad, "nothing": {}})
    assert after.params["nothing"] == {}
    for path, leaf in params.items():
        assert after.params[path].shape == leaf.shape
        assert np.all(after.params[path] != leaf)


def test_nothing_to_train_at_all():
    for lopt in (deep_sets(), learned_sgdm(nominal="adam")):
        assert one_step(lopt, {"nothing": {}}, {"nothing": {}}).params == {"nothing": {}}


@every_optimizer
def test_model_state_passes_through(make):
    lopt = make().bind(CHAIN.spec)
    statistics = {"mean": jnp.arange(3.0)}
    after = one_step(lopt, CHAIN.random(0), CHAIN.random(1), model_state=statistics)
    np.testing.assert_array_equal(after.state["mean"], statistics["mean"])


@every_optimizer
def test_frozen_parameters_stay_and_nothing_is_kept_for_them(make):
    params, grad = CHAIN.random(0), CHAIN.random(1)
    frozen = make(nominal="adam", frozen=("first",)).bind(CHAIN.spec)
    after = one_step(frozen, params, grad)
    jax.tree.map(np.testing.assert_array_equal, after.params["first"], params["first"])
    assert all(np.any(after.params["last"][own] != params["last"][own]) for own in ("w", "b"))
    assert len(jax.tree.leaves(after.optax_state.nominal.mu)) == 2
    assert len(jax.tree.leaves(after.optax_state.momenta)) in (0, 2 * 6)
    # The rest is what an optimizer of the rest alone does.
    alone = make(nominal="adam").bind(frozen.spec or CHAIN.spec)
    expected = one_step(alone, {"last": params["last"]}, {"last": grad["last"]})
    jax.tree.map(np.testing.assert_array_equal, after.params["last"], expected.params["last"])


def test_frozen_by_whole_parts_of_paths_or_a_function():
    def trained(frozen):
        return unf(spec=CHAIN.spec, frozen=frozen).spec.paths

    assert trained(("first/b", "last/")) == ("first/w",)
    assert trained(lambda path: path.endswith("/b")) == ("first/w", "last/w")
    assert unf(spec=CHAIN.spec, frozen=("last",)).spec.spaces.keys() < CHAIN.spec.spaces.keys()
    for missing in ("fir", "first/w/x"):
        with pytest.raises(ValueError, match=rf"frozen: '{missing}' is no parameter"):
            trained((missing,))
        with pytest.raises(ValueError, match=rf"frozen: '{missing}' is no parameter"):
            one_step(deep_sets(frozen=(missing,)), CHAIN.random(0), CHAIN.random(1))
    with pytest.raises(ValueError, match="freezes all parameters"):
        trained(lambda path: True)


class NormalizedMLP(ecosystem.Task):
    """A network with a running mean as its model state, on targets of a scale of its own."""

    datasets = None

    def __init__(self, scale):
        super().__init__()
        self._scale = scale

    def init_with_state(self, key):
        keys = iter(jax.random.split(key, 4))
        params = CHAIN.tree(lambda shape: jax.random.normal(next(keys), shape))
        return params, {"mean": jnp.zeros(4)}

    def loss_with_state(self, params, state, key, data):
        x = jax.random.normal(key, (8, 3))
        hidden = jnp.tanh(x @ params["first"]["w"] + params["first"]["b"])
        mean = jnp.mean(hidden, axis=0)
        state = {"mean": 0.9 * state["mean"] + 0.1 * mean}
        outputs = (hidden - mean) @ params["last"]["w"] + params["last"]["b"]
        return jnp.mean((outputs - self._scale * x[:, :2]) ** 2), state

    def loss_with_state_and_aux(self, params, state, key, data):
        return *self.loss_with_state(params, state, key, data), {}


class NormalizedMLPs(ecosystem.TaskFamily):
    """Such tasks, the scale drawn."""

    datasets = None

    def sample(self, key):
        return jax.random.uniform(key, minval=0.5, maxval=2.0)

    def task_fn(self, cfg):
        return NormalizedMLP(cfg)


ES = {"std": 0.01, "steps_per_jit": 2}
ESTIMATORS = {
    "TruncatedPES": {"trunc_length": 2, **ES},
    "TruncatedES": {"unroll_length": 2, **ES},
    "TruncatedGrad": {"unroll_length": 2, "steps_per_jit": 2},
    "FullES": ES,
}


@pytest.fixture(scope="module")
def bound_to_family():
    """With everything that an option can add, on parameters that have a model state."""
    options = {
        "nominal": "adam",
        "weight_decay": 0.01,
        "gradient_clip": 1.0,
        "frozen": ("first/b",),
    }
    lopt = unf_universal(initial_beta=0.1, **SMALL, **options)
    return ecosystem.learned_optimizer(lopt, NormalizedMLPs())


@pytest.mark.slow
@pytest.mark.parametrize("name", ESTIMATORS)
def test_two_outer_steps_with_every_estimator_of_the_ecosystem(name, bound_to_family):
    estimator = ecosystem.gradient_estimator(
        getattr(ecosystem, name),
        NormalizedMLPs(),
        bound_to_family,
        ecosystem.ConstantTruncationSchedule(4),
        num_tasks=2,
        **ESTIMATORS[name],
    )
    learner = ecosystem.make_learner(bound_to_family, theta_opt=ecosystem.Adam(0.01), num_steps=2)
    state = learner.init(jax.random.PRNGKey(0))
    weights = learner.get_state_for_worker(state)
    unrolls = ecosystem.init_unroll_states(weights, [estimator], jax.random.PRNGKey(1))
    for step in range(2):
        key = jax.random.PRNGKey(2 + step)
        weights = learner.get_state_for_worker(state)
        gradient = ecosystem.compute_gradient(weights, [estimator], unrolls, key)
        assert gradient.finite and gradient.mean_loss > 0
        assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(gradient.grad))
        unrolls = gradient.unroll_states
        state, _ = ecosystem.apply_gradient(learner, state, gradient, key)
    moved = ecosystem.theta_of(learner, state)["scalars"]["tenth_log_alpha"]
    assert abs(float(moved) - np.log(1e-3) / 10) > 1e-3
