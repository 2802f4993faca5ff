"""What optax's own common tests ask of every optimizer, asked of every one of ours."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from tests.optimizers.problems import CHAIN, MIXED, NUM_STEPS, small_options
from unf_lopt import infer_spec, optimizers, to_optax

NAMES = sorted(optimizers.OPTIMIZERS)
KEY = jax.random.key(0)
LOSS = jnp.float32(1.0)


def optimizer(name, **options):
    """With Adam's moments in its state."""
    nominal = {} if name in MIXED else {"nominal": "adam"}
    return optimizers.OPTIMIZERS[name](**nominal, **small_options(name), **options)


def made(lopt, loss, params, spec):
    """The transformation of an initial theta."""
    theta = jax.jit(lopt.bind(spec).init)(KEY)
    return compiled(to_optax(theta, loss, params, optimizer=lopt, num_steps=NUM_STEPS))


@functools.cache
def of_chain(name, **options):
    """The same on one problem, made and compiled once for all tests."""
    lopt = optimizer(name, **options)
    return made(lopt, CHAIN.loss, CHAIN.random(0, "float32"), CHAIN.spec)


def compiled(transformation):
    """The same, a step one program."""
    return optax.GradientTransformationExtraArgs(
        transformation.init, jax.jit(transformation.update)
    )


@pytest.mark.parametrize("name", NAMES)
def test_map_params_walks_the_state(name):
    transformation = of_chain(name)
    params = CHAIN.random(0, "float32")
    state = transformation.init(params)
    same = optax.tree.map_params(transformation, lambda v: v, state)
    assert jax.tree.structure(same) == jax.tree.structure(state)
    shapes = []
    optax.tree.map_params(
        transformation, lambda v, w: shapes.append((v.shape, w.shape)), state, params
    )
    # Adam's two moments, and the six momenta of a functional: all like the parameters.
    assert len(shapes) == 4 * (2 if name in ("learned_sgdm", *MIXED) else 8)
    assert all(own == of_params for own, of_params in shapes)


@pytest.mark.parametrize("name", NAMES)
def test_updates_and_states_keep_shapes_types_and_shardings(name):
    transformation = of_chain(name)
    params = CHAIN.random(0, "float32")
    state = transformation.init(params)
    updates, after = transformation.update(CHAIN.random(1, "float32"), state, params, value=LOSS)
    assert jax.tree.map(jax.typeof, state) == jax.tree.map(jax.typeof, after)
    assert jax.tree.map(jax.typeof, updates) == jax.tree.map(jax.typeof, params)
    mesh = jax.make_mesh((1,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    sharded = jax.sharding.NamedSharding(mesh, jax.P("x"))
    params = jax.tree.map(lambda w: jax.device_put(w, sharded), params)
    shardings = []
    optax.tree.map_params(
        transformation, lambda v: shardings.append(v.sharding), transformation.init(params)
    )
    assert set(shardings) == {sharded}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wrapper", ["masked", "partition", "selective_transform"])
def test_parts_of_the_parameters_are_trained_or_the_error_says_how(name, wrapper):
    transformation = of_chain(name)
    params = CHAIN.random(0, "float32")
    trained = {"first": {"w": True, "b": False}, "last": {"w": True, "b": True}}
    labels = jax.tree.map(lambda own: "train" if own else "freeze", trained)
    wrapped = {
        "masked": lambda: optax.masked(transformation, trained),
        "partition": lambda: optax.partition(
            {"train": transformation, "freeze": optax.set_to_zero()}, labels
        ),
        "selective_transform": lambda: optax.selective_transform(
            transformation, freeze_mask=jax.tree.map(lambda own: not own, trained)
        ),
    }[wrapper]()
    frozen = ("first/b",)
    if not optimizer(name).one_theta_for_all:
        with pytest.raises(ValueError, match=r"\['first/b'\].*frozen=\('first/b',\)"):
            wrapped.init(params)
        return
    grad = CHAIN.random(1, "float32")
    updates, _ = wrapped.update(grad, wrapped.init(params), params, value=LOSS)
    alone = of_chain(name, frozen=frozen)
    expected, _ = alone.update(grad, alone.init(params), params, value=LOSS)
    np.testing.assert_allclose(updates["first"]["w"], expected["first"]["w"], rtol=1e-6)
    np.testing.assert_allclose(updates["last"]["w"], expected["last"]["w"], rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_flax_optimizer_trains_with_it(name):
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.a, self.b = nnx.Linear(4, 6, rngs=rngs), nnx.Linear(6, 3, rngs=rngs)

        def __call__(self, x):
            return self.b(nnx.relu(self.a(x)))

    x, y = jax.random.normal(jax.random.key(1), (8, 4)), jnp.arange(8) % 3

    def compute(model):
        return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

    model = Net(nnx.Rngs(0))
    graph, params = nnx.split(model, nnx.Param)

    def loss(own):
        return compute(nnx.merge(graph, own))

    transformation = made(optimizer(name), loss, params, infer_spec(loss, params))
    trainer = nnx.Optimizer(model, transformation, wrt=nnx.Param)
    before, both = compute(model), nnx.jit(nnx.value_and_grad(compute))
    for _ in range(10):
        value, gradient = both(model)
        trainer.update(model, gradient, value=value)
    assert compute(model) < before


@pytest.mark.parametrize("name", NAMES)
def test_missing_and_empty_leaves(name):
    def loss(params):
        hidden = jnp.tanh(jnp.ones((2, 3)) @ params["a"])
        return jnp.mean(hidden @ params["b"]) + jnp.sum(params["empty"])

    params = {"a": jnp.ones((3, 4)), "none": None, "b": jnp.ones((4, 2)), "empty": jnp.ones((0, 5))}
    if name == "nfn":
        loss, params = CHAIN.loss, {**CHAIN.random(0, "float32"), "none": None}
    full = {path: leaf for path, leaf in params.items() if path not in ("none", "empty")}
    spec = infer_spec(lambda own: loss({**params, **own}), full)
    transformation = made(optimizer(name), loss, params, spec)
    grad, state = jax.grad(loss)(params), transformation.init(params)
    updates, _ = transformation.update(grad, state, params, value=LOSS)
    assert jax.tree.structure(updates) == jax.tree.structure(params)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(updates))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_scaled_chained_injected_and_accumulated_like_any(name):
    transformation = of_chain(name)
    params, grad = CHAIN.random(0, "float32"), CHAIN.random(1, "float32")
    plain, _ = transformation.update(grad, transformation.init(params), params, value=LOSS)
    chain = optax.chain(transformation, optax.scale(0.5))
    halved, _ = chain.update(grad, chain.init(params), params, value=LOSS)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, 0.5 * b, rtol=1e-6), halved, plain)
    every = optax.MultiSteps(transformation, every_k_schedule=2)
    state = every.init(params)
    first, state = every.update(grad, state, params, value=LOSS)
    second, _ = every.update(grad, state, params, value=LOSS)
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(first))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), second, plain)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "nfn"])  # of chains alone
def test_numbers_of_python_are_parameters(name):
    """As they are of Adam, outside of jit."""

    def loss(p):
        return (p["a"] - 1.0) ** 2 + p["b"] ** 2

    params = {"a": 0.5, "b": 2.0}
    lopt = optimizer(name)
    if lopt.needs_spec:
        lopt = lopt.bind(infer_spec(loss, params))
    theta = jax.jit(lopt.init)(KEY)
    transformation = to_optax(theta, loss, params, optimizer=lopt, num_steps=NUM_STEPS)
    state = transformation.init(params)
    updates, _ = transformation.update(jax.grad(loss)(params), state, params, value=LOSS)
    arrays = jax.tree.map(jnp.float32, params)
    state = transformation.init(arrays)
    expected, _ = transformation.update(jax.grad(loss)(arrays), state, arrays, value=LOSS)
    jax.tree.map(np.testing.assert_array_equal, updates, expected)


@pytest.mark.parametrize("name", NAMES)
def test_shapes_of_different_rank_are_not_mixed(name):
    """With JAX's strict setting, as optax's own."""
    params = CHAIN.random(0, "float32")
    transformation = of_chain(name)
    with jax.numpy_rank_promotion("raise"):
        jax.eval_shape(
            transformation.update, params, transformation.init(params), params, value=LOSS
        )


@pytest.mark.parametrize("name", NAMES)
def test_axes_of_a_mesh_may_be_explicit(name):
    """As `jax.make_mesh` makes them: every array's type then says how it lies."""
    orthogonalized = {"directions": ("adam", "orthogonalized")} if name in MIXED else {}
    params, grads = CHAIN.random(0, "float32"), CHAIN.random(1, "float32")
    mesh = jax.make_mesh((1,), ("d",), axis_types=(jax.sharding.AxisType.Explicit,))
    own = of_chain(name, **orthogonalized)
    expected, _ = own.update(grads, own.init(params), params, value=LOSS)
    with jax.set_mesh(mesh):
        lopt = optimizer(name, **orthogonalized)
        transformation = made(lopt, CHAIN.loss, params, CHAIN.spec)  # theta lies on the mesh, too
        there = [
            jax.tree.map(lambda x: jax.device_put(x, jax.P(*(None,) * (x.ndim - 1), "d")), tree)
            for tree in (params, grads)
        ]
        state = transformation.init(there[0])
        updates, new = transformation.update(there[1], state, there[0], value=LOSS)
    for one, other in ((updates, there[1]), (new, state)):
        types = (jax.tree.map(lambda x: str(jax.typeof(x)), tree) for tree in (one, other))
        jax.tree.map(lambda a, b: None if a == b else pytest.fail(f"{a} {b}"), *types)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), updates, expected)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_its_own_is_refused(name):
    params = CHAIN.random(0, "float32")
    transformation = of_chain(name)
    with pytest.raises(TypeError, match=rf"{name}: the state is a .* of another optimizer"):
        transformation.update(params, optax.adam(0.1).init(params), params, value=LOSS)
    turned = jax.tree.map(lambda x: x * 1j, params)
    with pytest.raises(ValueError, match=rf"{name}: parameter 'first/b' is complex.*two arrays"):
        transformation.init(turned)


@pytest.mark.parametrize("name", MIXED)
@pytest.mark.parametrize("loss", [jnp.inf, jnp.nan])
def test_a_loss_that_is_no_number_is_forgotten(name, loss):
    """With gradients that are finite, as where a metric overflows."""
    params = CHAIN.random(0, "float32")
    transformation = of_chain(name)
    state = transformation.init(params)
    for value in (LOSS, jnp.float32(loss), LOSS):
        updates, state = transformation.update(params, state, params, value=value)
        assert all(np.isfinite(own).all() for own in jax.tree.leaves(updates))


@pytest.mark.parametrize("steps", ["20", True, 0])
def test_a_number_of_steps_is_a_number(steps):
    params = CHAIN.random(0, "float32")
    transformation = to_optax("universal", CHAIN.loss, params, num_steps=steps)
    with pytest.raises(ValueError, match=f"num_steps={steps!r} must be a number, 1 or more"):
        transformation.init(params)


@pytest.mark.parametrize("theta", [None, 3])
def test_what_is_no_theta_is_named(theta):
    with pytest.raises(TypeError, match=rf"to_optax\({theta!r}, .*give theta .*universal"):
        to_optax(theta, CHAIN.loss, CHAIN.random(0))


def test_an_empty_name_is_no_theta():
    with pytest.raises(FileNotFoundError, match=r"'' names no theta.*universal"):
        to_optax("", CHAIN.loss, CHAIN.random(0))
