"""The paper's counts, its equation by hand, binding and options, and the authors' code."""

import math

import flax
import gin
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import expit

from tests import paper_specs
from tests.configs import configure
from tests.strategies import from_axes, haiku_mlp_spec
from unf_lopt import SpecError, ecosystem
from unf_lopt.optimizers.features import MOMENTUM_DECAYS, TIMESCALES
from unf_lopt.register import deep_sets, learned_sgdm, nfn, unf, unf_universal
from unf_lopt.tasks.image_mlp import digits_mlp, digits_mlp_family

# Parameters of any rank: a kernel of four axes, a recurrent matrix, a bias, a scalar.
SPEC = from_axes(
    {"kernel": ("row", "column", "a", "b"), "recurrent": ("b", "b"), "bias": ("b",), "scale": ()},
    fixed={"row", "column"},
    sizes={"a": 2, "b": 3, "row": 2, "column": 2},
)
MAKERS = {
    "unf": lambda **options: unf(spec=SPEC, **options),
    "unf_universal": lambda **options: unf_universal(spec=SPEC, **options),
    "deep_sets": deep_sets,
    "learned_sgdm": learned_sgdm,
}
every_optimizer = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def random_tree(seed, dtype="float32"):
    generator = np.random.default_rng(seed)
    return {
        path: jnp.asarray(generator.normal(size=shape), dtype)
        for path, shape in zip(SPEC.paths, SPEC.shapes, strict=True)
    }


def random_theta(lopt, seed=0):
    """Theta with nothing left at an initial zero, and a correction large enough to see."""
    generator = np.random.default_rng(seed)
    theta = lopt.init(jax.random.PRNGKey(seed))
    theta = jax.tree.map(lambda x: x + 0.1 * generator.normal(size=x.shape).astype("f4"), theta)
    if "tenth_log_beta" in theta["scalars"]:
        theta["scalars"]["tenth_log_beta"] = jnp.float32(0.0)
    return theta


def parameter_count(lopt):
    shapes = jax.eval_shape(lopt.init, jax.random.PRNGKey(0))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


@pytest.mark.parametrize(
    ("make", "count"), [(unf, 3783), (nfn, 3783), (deep_sets, 2788), (learned_sgdm, 2)]
)
def test_parameter_counts_of_the_paper_on_its_mlp(make, count):
    lopt = make(task_family=digits_mlp_family())
    assert parameter_count(lopt) == count
    assert parameter_count(make(task_family=digits_mlp_family(), scalars="raw")) == count


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        (paper_specs.mlp(), 3783),
        (paper_specs.cnn(with_slip=True), 7369),
        (paper_specs.cnn(with_slip=False), 5513),
        (paper_specs.rnn(), 8043),
        (paper_specs.transformer(), 64168),
    ],
    ids=["mlp", "cnn as published", "cnn as meant", "rnn", "transformer as published"],
)
def test_parameter_counts_of_the_paper_with_its_specs(spec, count):
    assert parameter_count(unf(spec=spec)) == count


@every_optimizer
def test_the_ecosystems_interface(make):
    lopt = make()
    opt = lopt.opt_fn(lopt.init(jax.random.PRNGKey(0)), is_training=True)
    assert isinstance(lopt, ecosystem.LearnedOptimizer)
    assert isinstance(opt, ecosystem.Optimizer)
    state = opt.init(random_tree(0), {"mean": jnp.float32(1.0)})
    params, model_state = opt.get_params_state(state)
    assert params is state.params and model_state["mean"] == 1.0
    state = opt.update(state, random_tree(1), model_state={"mean": jnp.float32(2.0)}, is_valid=True)
    assert opt.get_state(state)["mean"] == 2.0
    replaced = opt.set_params(state, random_tree(5))
    np.testing.assert_array_equal(opt.get_params(replaced)["bias"], random_tree(5)["bias"])


@pytest.mark.parametrize("momentum", ["sum", "average"])
@pytest.mark.parametrize("inputs", ["raw", "tensor_rms", "channel_rms"])
def test_equation_15_by_hand(momentum, inputs):
    """Deep Sets, with every quantity written out in NumPy."""
    lopt = deep_sets(momentum=momentum, inputs=inputs)
    theta = random_theta(lopt)
    opt = lopt.opt_fn(theta)
    alpha, beta = (np.exp(10 * theta["scalars"][f"tenth_log_{name}"]) for name in ("alpha", "beta"))
    gamma = expit(10 * theta["scalars"]["tenth_logit_gamma"])
    layers = list(theta["functional"].values())
    state = opt.init(random_tree(0))
    w = np.asarray(random_tree(0)["recurrent"])
    nominal, momenta = np.zeros_like(w), np.zeros((*w.shape, 6), "f4")
    for t in range(4):
        grad = random_tree(10 + t)
        state = opt.update(state, grad, loss=jnp.float32(1.0))
        g = np.asarray(grad["recurrent"])
        decays = np.array(MOMENTUM_DECAYS, "f4")
        keep = (1.0, 1.0) if momentum == "sum" else (1 - gamma, 1 - decays)
        nominal = gamma * nominal + keep[0] * g
        momenta = decays * momenta + keep[1] * g[..., None]
        x = np.concatenate([w[..., None], g[..., None], momenta], axis=-1)
        if inputs != "raw":
            x = np.clip(x, -1, 1)
            axes = (0, 1) if inputs == "channel_rms" else (0, 1, 2)
            x = x / np.sqrt(np.mean(x**2, axis=axes) + 1e-5)
        time = np.tanh(t / np.array(TIMESCALES) - 1)
        x = np.concatenate([x, np.broadcast_to(time, (*w.shape, 11))], axis=-1)
        for index, layer in enumerate(layers):
            x = x @ np.asarray(layer["w"]) + np.asarray(layer["b"])
            x = np.maximum(x, 0) if index < len(layers) - 1 else x
        w = w - alpha * (nominal + beta * x[..., 0])
        np.testing.assert_allclose(state.params["recurrent"], w, rtol=2e-4, atol=2e-4)


def test_unf_sees_the_whole_weight_space_and_deep_sets_does_not():
    def change_of_scale(lopt):
        theta = random_theta(lopt)
        opt = lopt.opt_fn(theta)
        grad, other = random_tree(1), random_tree(1)
        other["kernel"] = other["kernel"] + 1.0
        after = [
            opt.update(opt.init(random_tree(0)), g, loss=1.0).params["scale"] for g in (grad, other)
        ]
        return abs(float(after[0] - after[1]))

    assert change_of_scale(unf(spec=SPEC)) > 1e-4
    assert change_of_scale(deep_sets()) == 0.0


def test_unf_starts_as_deep_sets():
    theta = unf(spec=SPEC).init(jax.random.PRNGKey(0))
    opt = unf(spec=SPEC).opt_fn(theta)
    grad, other = random_tree(1), random_tree(1)
    other["kernel"] = other["kernel"] + 1.0
    after = [opt.update(opt.init(random_tree(0)), g, loss=1.0) for g in (grad, other)]
    np.testing.assert_array_equal(after[0].params["bias"], after[1].params["bias"])


def test_learned_sgdm_is_optax_sgd_with_momentum():
    lopt = learned_sgdm(initial_alpha=0.05, initial_gamma=0.8)
    opt = lopt.opt_fn(lopt.init(jax.random.PRNGKey(0)))
    state, params = opt.init(random_tree(0)), random_tree(0)
    reference = optax.sgd(0.05, momentum=0.8)
    reference_state = reference.init(params)
    for step in range(5):
        grad = random_tree(step)
        state = opt.update(state, grad, loss=1.0)
        updates, reference_state = reference.update(grad, reference_state)
        params = optax.apply_updates(params, updates)
    for path in SPEC.paths:
        np.testing.assert_allclose(state.params[path], params[path], rtol=1e-5, atol=1e-6)


@every_optimizer
def test_parametrizations_begin_at_the_same_step(make):
    steps = []
    for scalars in ("log", "raw", "constant"):
        lopt = make(scalars=scalars, initial_alpha=0.03, initial_gamma=0.7)
        opt = lopt.opt_fn(lopt.init(jax.random.PRNGKey(0)))
        steps.append(opt.update(opt.init(random_tree(0)), random_tree(1), loss=1.0).params)
    for other in steps[1:]:
        for path in SPEC.paths:
            np.testing.assert_allclose(steps[0][path], other[path], rtol=1e-5)


def test_binding():
    family = digits_mlp_family()
    unbound = unf()
    with pytest.raises(ValueError, match=r"unf is not bound.*lopt\.bind\(spec\)"):
        unbound.init(jax.random.PRNGKey(0))
    with pytest.raises(ValueError, match="unf is not bound"):
        unbound.opt_fn({})
    expected = jax.tree.leaves(unf(family).init(jax.random.PRNGKey(0)))
    by_hand = haiku_mlp_spec(ecosystem.params_shapes(family))
    for source in (family, digits_mlp(), by_hand):
        found = jax.tree.leaves(unbound.bind(source).init(jax.random.PRNGKey(0)))
        assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))
    assert unf(family, spec=SPEC).spec == SPEC  # the user's own spec wins
    with pytest.raises(TypeError, match="TaskFamily, a Task or a PermutationSpec; got str"):
        unbound.bind("digits")


def test_parameters_that_do_not_fit_the_spec():
    lopt = unf(spec=SPEC)
    opt = lopt.opt_fn(lopt.init(jax.random.PRNGKey(0)))
    with pytest.raises(SpecError, match=r"'bias' has shape \(7,\)"):
        opt.init({**random_tree(0), "bias": jnp.zeros(7)})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "papers"}, r"mode='papers'.*'paper', 'released'"),
        ({"scalars": "exp"}, r"scalars='exp'.*'log', 'raw', 'constant'"),
        ({"momentum": "ema"}, r"momentum='ema'.*'sum', 'average'"),
        ({"initial_gamma": 1.5}, r"initial_gamma=1.5"),
        ({"initial_alpha": 0.0}, r"initial_alpha=0.0"),
    ],
)
@every_optimizer
def test_bad_options_are_errors_at_construction(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_unf_checks_its_layer_options_at_construction():
    with pytest.raises(ValueError, match="bias='all'"):
        unf(spec=SPEC, bias="all")
    with pytest.raises(ValueError, match="inputs='clipped'"):
        unf(spec=SPEC, inputs="clipped")


@pytest.mark.parametrize("name", MAKERS)
def test_gin_selects_by_one_binding(name):
    configure(f"LOPT = @{name}()")
    lopt = gin.get_configurable("train")  # resolves %LOPT when it is called
    assert gin.query_parameter("train.lopt").selector.endswith(name)
    assert lopt is not None


def test_what_was_found_is_logged_and_verified(caplog):
    with caplog.at_level("INFO", "unf_lopt"):
        unf(digits_mlp_family((4,)), verify=True)
    found, verified = caplog.messages
    assert "symmetry of ImageMLP_Digits8_Relu4" in found
    assert "groups: mlp/~/linear_0/b:0 (4)" in found
    assert "all groups" in verified and "float64" in verified


@pytest.mark.skipif(
    "ecosystem.version() != 'main'", reason="the authors' code is in GitHub main only"
)
def test_released_mode_is_the_authors_released_optimizer():
    """Fifty steps of the authors' pointwise optimizer and of ours, with the same weights."""
    theirs = ecosystem.load("research.univ_nfn.learned_opt.learned_opts")
    task = digits_mlp()
    their_lopt = theirs.ResidualOptMLP(task)
    their_theta = their_lopt.init(jax.random.PRNGKey(0))
    our_lopt = deep_sets(mode="released")
    our_theta = our_lopt.init(jax.random.PRNGKey(0))
    flat = flax.traverse_util.flatten_dict(their_theta["params"])
    kernels, biases = (
        [flat[path] for path in sorted(flat) if path[-1] == name] for name in ("kernel", "bias")
    )
    our_theta["functional"] = {
        name: {"w": kernel, "b": bias}
        for name, kernel, bias in zip(our_theta["functional"], kernels, biases, strict=True)
    }
    opts = their_lopt.opt_fn(their_theta), our_lopt.opt_fn(our_theta)
    params = task.init(jax.random.PRNGKey(1))
    states = [opt.init(params) for opt in opts]
    grad_fn = jax.jit(jax.value_and_grad(task.loss))
    updates = [jax.jit(lambda s, g, loss, opt=opt: opt.update(s, g, loss=loss)) for opt in opts]
    for _ in range(50):
        batch = next(task.datasets.train)
        for index, (opt, update) in enumerate(zip(opts, updates, strict=True)):
            loss, grad = grad_fn(opt.get_params(states[index]), jax.random.PRNGKey(0), batch)
            states[index] = update(states[index], grad, loss)
    for a, b in zip(
        *(jax.tree.leaves(opt.get_params(s)) for opt, s in zip(opts, states, strict=True)),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
