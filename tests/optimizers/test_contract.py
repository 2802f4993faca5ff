"""What every optimizer must do, with every nominal term, on symmetries found from a loss."""

import functools
import json

import flax
import gin
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.optimizers.problems import (
    CHAIN,
    FUNCTIONAL,
    MEMBERS,
    MIXED,
    NOISE,
    NUM_STEPS,
    RECURRENT,
    small_options,
)
from tests.optimizers.reference import ReferenceOptimizer
from unf_lopt import assert_equivariant, ecosystem, register
from unf_lopt.optimizers import (
    OPTIMIZERS,
    from_description,
    load_theta,
    read_theta,
    theta_data,
    theta_identity,
)
from unf_lopt.runs import write_whole

# Of each optimizer a problem of its kind: NFN knows chains only.
PROBLEMS = {name: CHAIN if name == "nfn" else RECURRENT for name in OPTIMIZERS}
MAKERS = OPTIMIZERS
CASES = [
    (name, nominal)
    for name in FUNCTIONAL
    for nominal in ("momentum", "adam", "none")
    if (name, nominal) != ("learned_sgdm", "none")
] + [(name, own) for name in MIXED for own in ("mixed", "functional")]
# On units that have a permutation of their own in each member of a mixture.
NESTED = [("unf", "adam"), ("unf_universal", "momentum"), *((name, "functional") for name in MIXED)]
# All of the other options, spread over the nominal terms.
OPTIONS = {
    "momentum": {"mode": "paper", "initial_alpha": 0.02},
    "adam": {"mode": "released", "scalars": "log", "initial_alpha": 0.02},
    "none": {"mode": "released", "scalars": "log", "inputs": "channel_rms", "initial_alpha": 0.02},
}
# Where optimizers that are described alike are also seen to compute alike; one of each will do.
COMPARED = ("adam", "functional")
# Mixed steps with a functional of entries, and all else that a controller may have.
MORE = {
    "mixed_step": {
        "functional": 2,
        "directions": ("adam", "orthogonalized"),
        "dense_newton_schulz_steps": 2,
        "newton_schulz": "minimax",
        "orthogonalized_rank": 1,
        "hypergradient": True,
        "learned_weight_decay": True,
    },
    "unf_controller": {
        "functional": 2,
        "hypergradient": True,
        "extents": True,
        "learned_weight_decay": True,
        "rows_and_columns": True,
        "directions": ("adam", "factored"),
    },
}


class Case:
    """One optimizer with one nominal term, its update compiled once for all tests."""

    def __init__(self, name, nominal, problem=None):
        self.name, self.nominal, self.problem = name, nominal, problem or PROBLEMS[name]
        options = small_options(name)
        if name in FUNCTIONAL:
            options |= {"nominal": nominal, **OPTIONS[nominal]}
        if nominal == "functional":
            options |= MORE[name]
        if name in FUNCTIONAL and name != "learned_sgdm":
            options["hidden_layers"] = 2
            options["correction"] = "relative" if nominal == "adam" else "absolute"
        self.make = functools.partial(MAKERS[name], **options)
        self.spec = self.problem.spec
        self.lopt = self.bound(self.make())
        self.theta = self.random_theta(seed=0)
        self.traces = 0

        @jax.jit
        def update(theta, state, grad):
            self.traces += 1
            return self.inner(theta).update(state, grad, loss=jnp.ones(()))

        self.update = functools.partial(update, self.theta)
        self._init = jax.jit(
            lambda theta, params: self.inner(theta).init(params, num_steps=NUM_STEPS)
        )

    def bound(self, lopt):
        return lopt.bind(self.spec)

    def inner(self, theta):
        """The ecosystem's optimizer."""
        return ecosystem.learned_optimizer(self.lopt).opt_fn(theta)

    def random_theta(self, seed):
        """Theta with nothing left at an initial zero, and a correction that is seen."""
        generator = np.random.default_rng(seed)
        theta = jax.jit(self.lopt.init)(jax.random.PRNGKey(seed))
        theta = {
            part: jax.tree.map(
                lambda x, own=NOISE[part]: np.asarray(x) + own * generator.normal(size=x.shape), x
            )
            for part, x in theta.items()
        }
        if "tenth_log_beta" in theta["scalars"]:
            theta["scalars"]["tenth_log_beta"] = np.log(0.3) / 10
        return jax.tree.map(jnp.asarray, theta)

    def init(self, params):
        return self._init(self.theta, params)


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(
    scope="module",
    params=[(*own, None) for own in CASES] + [(*own, MEMBERS) for own in NESTED],
    ids=lambda own: "-".join([*own[:2], *(["nested"] if own[2] else [])]),
)
def case(request):
    with jax.enable_x64(True):
        return Case(*request.param)


def assert_same(tree, other):
    jax.tree.map(np.testing.assert_array_equal, tree, other)


def test_the_whole_update_commutes_with_the_symmetries_of_the_loss(case):
    def three_steps(channels):
        """Channel 0 is the parameters, 1 to 3 are the gradients of three steps."""
        state = case.init(jax.tree.map(lambda x: x[..., 0], channels))
        for step in range(1, 4):
            state = case.update(state, jax.tree.map(lambda x, step=step: x[..., step], channels))
        return jax.tree.map(lambda x: x[..., None], state.params)

    assert case.spec.groups
    assert bool(case.spec.nested) == case.problem.nested
    channels = [case.problem.random(seed) for seed in range(4)]
    features = jax.tree.map(lambda *leaves: np.stack(leaves, axis=-1), *channels)
    for seed in range(3):
        key = jax.random.key(seed)
        assert_equivariant(three_steps, case.spec, key, features=features, tolerance=1e-11)


def test_fifty_steps_equal_those_by_the_definitions(case):
    if case.name in MIXED:
        pytest.skip("a mixed step's definition is tested in test_controller.py")
    params = case.problem.random(0)
    reference = ReferenceOptimizer(case.name, case.lopt.options, case.spec, case.theta, params)
    state = case.init(params)
    for _ in range(50):
        state = case.update(state, case.problem.grad(state.params))
        reference.update(case.problem.grad(reference.params))
    moved = jax.tree.map(lambda a, b: float(np.max(np.abs(a - b))), state.params, params)
    assert min(jax.tree.leaves(moved)) > 1e-3
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-9),
        state.params,
        reference.params,
    )


def test_the_second_step_compiles_nothing_and_keeps_types(case):
    state = case.init(case.problem.random(0))
    after = case.update(case.update(state, case.problem.random(1)), case.problem.random(2))
    assert case.traces == 1
    before, after_types = (jax.tree.map(jax.typeof, tree) for tree in (state, after))
    assert before == after_types  # shapes, dtypes and weak types
    assert int(after.optax_state.iteration) == 2


def test_a_scalar_parameter_moves(case):
    if "scale" not in case.problem.shapes:
        pytest.skip("NFN's weight spaces have no scalars")
    state = case.init(case.problem.random(0))
    after = case.update(state, case.problem.random(1))
    assert after.params["scale"].shape == () and after.params["scale"] != state.params["scale"]


def test_the_state_survives_serialization(case):
    state = case.update(case.init(case.problem.random(0)), case.problem.random(1))
    fresh = case.init(case.problem.random(5))
    loaded = flax.serialization.from_bytes(fresh, flax.serialization.to_bytes(state))
    assert_same(state, loaded)
    grad = case.problem.random(2)
    loaded = jax.tree.map(jnp.asarray, loaded)
    assert_same(case.update(state, grad), case.update(loaded, grad))


def test_theta_survives_a_checkpoint(case, tmp_path):
    training = {"task_families": ["a"], "seconds": 1.5}
    checkpoint = ecosystem.ParameterCheckpoint(
        params=case.theta, gen_id=theta_identity(case.lopt, training), step=7
    )
    write_whole(tmp_path / "params_7", flax.serialization.to_bytes(checkpoint))
    write_whole(tmp_path / "theta_7.safetensors", theta_data(case.theta, case.lopt, 7, training))
    for path in (tmp_path, tmp_path / "params_7", tmp_path / "theta_7.safetensors"):
        theta, step = load_theta(path, case.lopt)
        assert step == 7
        assert_same(case.theta, theta)
        saved = read_theta(path)
        assert saved.spec == (case.spec if case.name in ("unf", "nfn") else None)
        assert saved.training == training
        made = saved.make_optimizer()
        assert made.description() == case.lopt.description()
        assert made.spec == saved.spec


def test_a_description_is_plain_data_and_makes_the_same_optimizer(case):
    lopt = case.make(weight_decay=0.01, gradient_clip=2.0, frozen=lambda path: path == "last/b")
    with pytest.raises(ValueError, match="frozen is a function"):
        lopt.description()
    bound = case.bound(lopt)
    description = json.loads(json.dumps(bound.description()))
    assert description["frozen"] == ["last/b"]
    again = from_description(description).bind(case.spec)
    assert again.description() == description
    if case.nominal not in COMPARED:
        return
    params, grad = case.problem.random(0), case.problem.random(1)

    def theta_and_step(lopt):
        theta = lopt.init(jax.random.PRNGKey(0))
        transformation = lopt.transformation(theta, NUM_STEPS)
        state = transformation.init(params)
        return theta, transformation.update(grad, state, params, value=jnp.ones(()))

    assert_same(*(jax.jit(functools.partial(theta_and_step, own))() for own in (bound, again)))


def test_gin_builds_the_same_optimizer_again(case):
    bindings = [f"{case.name}.{name} = {value!r}" for name, value in case.make.keywords.items()]
    more = ("weight_decay = 0.01", "gradient_clip = 2.0", "frozen = ('last/b',)")
    gin.parse_config(bindings + [f"{case.name}.{binding}" for binding in more])
    built = register.OPTIMIZERS[case.name]().bind(case.spec).maker
    text = gin.config_str()
    gin.clear_config()
    gin.parse_config(text)
    again = register.OPTIMIZERS[case.name]().bind(case.spec).maker
    assert built.description() == again.description()
    assert built.frozen == ("last/b",)
    assert case.name in MIXED or case.nominal == built.options.nominal
    if case.nominal in COMPARED:
        key = jax.random.PRNGKey(0)
        assert_same(*(jax.jit(own.init)(key) for own in (built, again)))
