"""Right specs pass with figures near rounding; wrong ones are errors that name what is wrong."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import mlir

from unf_lopt import PermutationSpec, SpecError, SymmetryError, infer_spec
from unf_lopt.symmetry.verification import verify_spec

X = jax.random.normal(jax.random.key(0), (7, 4))
Y = jax.random.normal(jax.random.key(1), (7, 3))
# Initial values that hide errors: zeros, and scales of one.
PARAMS = {
    "first": {"w": jnp.zeros((4, 5)), "b": jnp.zeros(5)},
    "second": {"w": jnp.zeros((5, 3)), "b": jnp.zeros(3)},
}
NAMES = {
    "first": {"w": ("x", "hidden"), "b": ("hidden",)},
    "second": {"w": ("hidden", "y"), "b": ("y",)},
}


def spec_of(names=NAMES, params=PARAMS, fixed=("x", "y"), sizes=None):
    return PermutationSpec.from_names(names, params, fixed=set(fixed), sizes=sizes)


def hidden(params, x):
    return x @ params["first"]["w"] + params["first"]["b"]


def output(params, h):
    return h @ params["second"]["w"] + params["second"]["b"]


def mlp(params, x, y, nonlinearity=jax.nn.relu):
    return jnp.mean((output(params, nonlinearity(hidden(params, x))) - y) ** 2)


def verify(loss=mlp, spec=None, *args, **options):
    args = args or (X, Y)
    return verify_spec(spec or spec_of(), loss, PARAMS, *args, **{"maximality": False, **options})


def test_the_spec_of_an_mlp():
    found = verify_spec(spec_of(), mlp, PARAMS, X, Y)
    assert found.certified
    assert found.loss_only == ""
    assert found.change < 1e-12
    assert [name for name, change in found.group_changes if change < 1e-12] == ["hidden"]
    assert found.maximal == "maximal"
    assert found.without_effect == ()
    assert jnp.zeros(1).dtype == jnp.float32


def test_prints_a_short_table():
    lines = str(verify_spec(spec_of(), mlp, PARAMS, X, Y)).splitlines()
    assert re.match(r"hidden +\d\.\de-\d\d$", lines[2])
    assert "loss and gradients, float64" in lines[3]
    assert lines[4].startswith("maximality: maximal (")


WRONG = {
    "a bias of its own": ({"first": {"w": ("x", "hidden"), "b": ("own",)}}, ("x", "y"), "own"),
    "a fixed bias": ({"first": {"w": ("x", "hidden"), "b": ("own",)}}, ("x", "y", "own"), "hidden"),
    "free inputs": ({}, ("y",), "x"),
    "free outputs": ({}, ("x",), "y"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_spec_names_group_parameter_and_size(name):
    names, fixed, group = WRONG[name]
    with pytest.raises(SymmetryError) as error:
        verify(mlp, spec_of({**NAMES, **names}, fixed=fixed))
    message = str(error.value)
    assert f"group '{group}' alone" in message
    assert re.search(r"loss by \d\.\de[-+]\d\d of its value", message)
    assert re.search(r"most that of '(first|second)/[wb]', by \d", message)


def test_a_violation_that_float32_cannot_see():
    def loss(params, x, y):
        value = mlp(params, x, y)
        return value * (1 + 1e-7 * params["first"]["b"][0])

    native = jax.jit(loss)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: np.float32(rng.random(leaf.shape)), PARAMS)
    first, second, index = params["first"], params["second"], np.array([1, 2, 3, 4, 0])
    moved = {
        "first": {"w": first["w"][:, index], "b": first["b"][index]},
        "second": {"w": second["w"][index], "b": second["b"]},
    }
    before, after = (float(native(tree, X, Y)) for tree in (params, moved))
    assert abs(after - before) <= 3e-7 * before
    with pytest.raises(SymmetryError, match="group 'hidden' alone"):
        verify(loss)


def test_the_gradient_is_tested_where_the_loss_says_nothing():
    def loss(params, x, y):
        first = params["first"]["b"][0]
        return mlp(params, x, y) + first - lax.stop_gradient(first)

    with pytest.raises(SymmetryError, match=r"loss by \d\.\de-1\d .*most that of 'first/b'"):
        verify(loss)


def attention(params, x, y):
    h = hidden(params, x)
    weights = jax.nn.softmax(h @ h.T / np.sqrt(5))
    return jnp.mean((output(params, weights @ h) - y) ** 2)


def recurrent(params, x, y):
    def step(h, row):
        return jnp.tanh(hidden(params, row) + 0.5 * h), None

    h, _ = lax.scan(jax.checkpoint(step), jnp.zeros(5, jnp.float32), x)
    return jnp.mean((output(params, h) - y) ** 2)


def dropped(params, x, y, key):
    h = jax.nn.relu(hidden(params, x))
    kept = jax.random.bernoulli(key, 0.5, (7, 1))
    return jnp.mean((output(params, jnp.where(kept, h, 0.0)) - y) ** 2)


def branching(params, x, y):
    h = hidden(params, x)
    return jnp.mean((output(params, lax.cond(h.sum() > 0, jnp.tanh, jnp.sin, h)) - y) ** 2)


def looping(params, x, y):
    h = lax.fori_loop(0, 3, lambda i, h: jnp.sin(h + 1), hidden(params, x))
    return jnp.mean((output(params, h) - y) ** 2)


def in_bfloat16(params, x, y):
    narrow = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    return mlp(narrow, x.astype(jnp.bfloat16), y).astype(jnp.float32)


@jax.custom_vjp
def clipped(h):
    return jnp.clip(h, -1, 1)


clipped.defvjp(lambda h: (jnp.clip(h, -1, 1), None), lambda _, dh: (dh,))

HOLDS = {
    "softplus, a custom_jvp": (lambda params, x, y: mlp(params, x, y, jax.nn.softplus), X, Y),
    "custom_vjp": (lambda params, x, y: mlp(params, x, y, clipped), X, Y),
    "softmax": (attention, X, Y),
    "scan and remat": (recurrent, X, Y),
    "cond": (branching, X, Y),
    "loop": (looping, X, Y),
    "bfloat16": (in_bfloat16, X, Y),
    "dropout": (dropped, X, Y, jax.random.key(0)),
    "dropout with an old key": (dropped, X, Y, jax.random.PRNGKey(0)),
    "shapes": (
        dropped,
        *(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in (X, Y, jax.random.key(0))),
    ),
    "the shape of an old key": (dropped, X, Y, jax.ShapeDtypeStruct((2,), jnp.uint32)),
}


@pytest.mark.parametrize("name", HOLDS)
def test_losses_of_many_kinds_are_certified(name):
    loss, *args = HOLDS[name]
    found = verify(loss, None, *args)
    assert found.certified, found.not_certified
    assert found.loss_only == ""
    assert found.change < 1e-12


def test_dropout_of_units_breaks_the_symmetry():
    def loss(params, x, y, key):
        kept = jax.random.bernoulli(key, 0.5, (5,))
        return mlp(params, x, y, lambda h: jnp.where(kept, h, 0.0))

    with pytest.raises(SymmetryError, match="'hidden'"):
        verify(loss, None, X, Y, jax.random.key(1))


def test_a_callback_is_not_certified_and_its_line_is_named():
    def loss(params, x, y):
        shape = jax.ShapeDtypeStruct((7, 5), jnp.float32)
        called = jax.pure_callback(lambda h: np.tanh(np.asarray(h)), shape, hidden(params, x))
        return jnp.mean((output(params, called) - y) ** 2)

    found = verify(loss)
    assert not found.certified
    assert re.match(
        r"pure_callback runs in float32 at .*test_verify_spec.py:\d+", *found.not_certified
    )
    assert found.loss_only  # and a callback has no gradient
    assert found.change < found.tolerance == 1e-4
    with pytest.raises(SymmetryError, match="'own'"):
        verify(loss, spec_of({**NAMES, "first": {"w": ("x", "hidden"), "b": ("own",)}}))


def float32_only(refuses):
    """A sine that is refused in float64 by its ``"types"`` or only by its ``"compilation"``."""
    primitive = Primitive(f"sine_{refuses}")

    def check(dtype, when):
        if when == refuses and dtype != np.float32:
            raise TypeError(f"{dtype} in {when}")

    def types(x):
        check(x.dtype, "types")
        return x

    def lower(context, x):
        check(context.avals_in[0].dtype, "compilation")
        return mlir.lower_fun(jnp.sin, multiple_results=False)(context, x)

    primitive.def_abstract_eval(types)
    mlir.register_lowering(primitive, lower)
    return primitive.bind


@pytest.mark.parametrize(
    ("refuses", "note"),
    [("types", "sine_types runs in float32 at"), ("compilation", "the whole loss runs in its own")],
)
def test_a_primitive_without_float64_is_not_certified(refuses, note):
    found = verify(lambda params, x, y: mlp(params, x, y, float32_only(refuses)))
    assert [line.startswith(note) for line in found.not_certified] == [True]
    assert 0 < found.change < found.tolerance == 1e-4


def test_a_loss_without_gradient_is_tested_alone():
    def loss(params, x, y):
        settled = lax.while_loop(lambda h: h.max() > 0.5, lambda h: h * 0.75, hidden(params, x))
        return jnp.mean((output(params, settled) - y) ** 2)

    found = verify(loss)
    assert "while_loop" in found.loss_only
    assert found.certified
    assert found.change < 1e-12
    assert "loss only" in str(found)


def test_parameters_are_drawn_until_the_loss_can_be_computed():
    def loss(params, x, y):
        return jnp.mean((output(params, jnp.sqrt(params["first"]["w"])) - y[:4]) ** 2)

    names = {"first": {"w": ("x", "hidden"), "b": ("bias",)}, "second": NAMES["second"]}
    found = verify(loss, spec_of(names), X, Y)
    assert found.change < 1e-12


UNTESTABLE = {
    "no number": (lambda params, x, y: mlp(params, x, y) * jnp.nan, "the loss is nan"),
    "no gradient": (
        lambda params, x, y: jnp.sum(jnp.sqrt(params["first"]["b"] * 0)),
        r"gradient of 'first/b' is not finite",
    ),
    "nothing": (lambda params, x, y: jnp.sum(y**2), r"largest entry of all gradients is 0"),
}


@pytest.mark.parametrize("name", UNTESTABLE)
def test_a_loss_that_cannot_be_tested_is_an_error_that_tells_what_was_seen(name):
    loss, message = UNTESTABLE[name]
    with pytest.raises(SymmetryError, match=message):
        verify(loss)


def normalized(params, state, x, y, train=True):
    h = hidden(params, x)
    mean = h.mean(0) if train else state["mean"]
    centred = jnp.tanh((h - mean) * jnp.arange(1.0, 8.0)[:, None])
    loss = jnp.mean((output(params, centred) - y) ** 2)
    return loss, {"mean": 0.5 * state["mean"] + 0.5 * h.mean(0), "steps": state["steps"] + 1}


STATE = {"mean": jnp.zeros(5), "steps": jnp.zeros((), jnp.int32)}


@pytest.mark.parametrize("train", [True, False])
def test_model_state_moves_with_the_parameters(train):
    def loss(params, state, x, y):
        return normalized(params, state, x, y, train)

    found = verify_spec(spec_of(), loss, PARAMS, STATE, X, Y, state_argnum=0)
    assert found.certified
    assert found.change < 1e-12
    assert found.maximal == "maximal"
    assert found.without_effect == (("first/b",) if train else ())


def test_a_new_state_that_does_not_move_is_an_error():
    def loss(params, state, x, y):
        loss, new = normalized(params, state, x, y)
        return loss, {**new, "mean": new["mean"] + jnp.arange(5.0)}

    with pytest.raises(SymmetryError, match="'hidden'"):
        verify_spec(spec_of(), loss, PARAMS, STATE, X, Y, state_argnum=0)


def test_products_sums_and_integer_parameters():
    table = {"order": jnp.array([3, 1, 2, 0])}
    params = {"w": jnp.zeros((4, 6)), "v": jnp.zeros((3, 2)), "both": jnp.zeros(6), **table}

    def loss(params, x):
        h = jnp.tanh(x[:, params["order"]] @ params["w"]) * params["both"]
        return jnp.sum(h.reshape(-1, 3, 2) * params["v"])

    names = {"w": ("x", "a*b"), "v": ("a", "b"), "both": ("a*b",), "order": ("x",)}
    found = verify_spec(
        PermutationSpec.from_names(names, params, fixed={"x"}), loss, params, X, maximality=False
    )
    assert found.certified
    assert found.change < 1e-12
    assert sorted(name for name, _ in found.group_changes) == ["a", "b"]
    swapped = {**names, "both": ("b*a",)}
    with pytest.raises(SymmetryError):
        verify_spec(PermutationSpec.from_names(swapped, params, fixed={"x"}), loss, params, X)


def test_auxiliary_output_and_shapes_of_parameters():
    def loss(params, x, y):
        return mlp(params, x, y), {"hidden": hidden(params, x)}

    shapes = jax.eval_shape(lambda: PARAMS)
    found = verify_spec(spec_of(), loss, shapes, X, Y, has_aux=True, maximality=False)
    assert found.change < 1e-12
    assert found.maximal == "not checked"


def test_in_a_process_of_float64():
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), PARAMS)
        found = verify_spec(spec_of(), mlp, params, X, Y, maximality=False)
    assert found.certified
    assert found.change < 1e-12


def test_the_result_depends_on_the_seed_only():
    first, again, other = (verify(seed=seed) for seed in (1, 1, 2))
    assert (first.change, first.group_changes) == (again.change, again.group_changes)
    assert first.group_changes != other.group_changes


def test_a_spec_of_other_parameters():
    params = {**PARAMS, "extra": jnp.zeros(2)}
    with pytest.raises(SpecError, match=r"only in params: \['extra'\]"):
        verify_spec(spec_of(), mlp, params, X, Y)
    params = {**PARAMS, "second": {"w": jnp.zeros((5, 3)), "b": jnp.zeros(1)}}
    with pytest.raises(SpecError, match=r"'second/b' has shape \(1,\), but \(3,\) in the spec"):
        verify_spec(spec_of(), mlp, params, X, Y)
    with pytest.raises(ValueError, match="max_tests=0"):
        verify(max_tests=0)


def dropout_loss(params, key, x):
    hidden = jnp.tanh(x @ params["w"])
    keys = jax.random.split(key)
    kept = jax.random.bernoulli(keys[0], 0.5, hidden.shape)
    noise = jax.random.normal(keys[1], hidden.shape)
    return jnp.sum(jnp.where(kept, hidden, 0) * noise @ params["v"])


def test_a_symmetry_in_distribution_is_tested_with_permuted_draws():
    params = {"w": jax.ShapeDtypeStruct((3, 5), "f4"), "v": jax.ShapeDtypeStruct((5,), "f4")}
    args = (jax.random.key(0), jnp.arange(6.0).reshape(2, 3))
    spec = infer_spec(dropout_loss, params, *args, randomness="in_distribution")
    assert list(spec.groups.values()) == [5]
    with pytest.raises(SymmetryError, match="v:0"):
        verify_spec(spec, dropout_loss, params, *args)
    found = verify_spec(spec, dropout_loss, params, *args, randomness="in_distribution")
    assert found.certified and found.change < 1e-12 and not found.loss_only
    assert found.maximal == "not checked"


def test_a_wrong_symmetry_in_distribution_is_refused():
    params = {"w": jax.ShapeDtypeStruct((3, 5), "f4"), "v": jax.ShapeDtypeStruct((5,), "f4")}
    args = (jax.random.key(0), jnp.arange(6.0).reshape(2, 3))
    wrong = PermutationSpec.from_names({"w": ("x", "h"), "v": ("h",)}, params)
    with pytest.raises(SpecError, match="not known to be symmetric in distribution under 'x'"):
        verify_spec(wrong, dropout_loss, params, *args, randomness="in_distribution")
