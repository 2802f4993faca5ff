"""A jaxpr evaluated in float64 is the function as it would have been written in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from unf_lopt.symmetry.verification._promote import Notes, promoted_function

RNG = np.random.default_rng(0)
X, W, SQUARE = (RNG.standard_normal(shape) for shape in ((4, 6), (6, 5), (6, 6)))
IMAGES, FILTERS = RNG.standard_normal((2, 6, 6, 3)), RNG.standard_normal((3, 3, 3, 4))
INDEX = np.array([0, 3, 2, 2], np.int32)


def promoted(function, *inputs):
    """Traces for inputs of float32 and evaluates in float64: the outputs and the notes."""
    narrow = [x.astype(np.float32) if x.dtype == np.float64 else x for x in inputs]
    jaxpr = jax.make_jaxpr(function)(*narrow)
    notes = Notes()
    with jax.enable_x64(True):
        outputs = jax.jit(promoted_function(jaxpr, notes))(*inputs)
    return [np.asarray(x) for x in outputs], notes.lines


@jax.custom_jvp
def with_jvp(x):
    return jnp.sin(x)


with_jvp.defjvp(lambda x, dx: (with_jvp(x[0]), 2 * jnp.cos(x[0]) * dx[0]))


@jax.custom_vjp
def with_vjp(x):
    return jnp.sin(x)


with_vjp.defvjp(lambda x: (jnp.sin(x), x), lambda x, dy: (jnp.exp(x) * dy,))


def convolution(filters, images):
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(images, filters, (1, 1), "SAME", dimension_numbers=layout)


def pooled(operation, initial, filters, images):
    window = (1, 2, 2, 1)
    x = convolution(filters, images)
    return jnp.sum(lax.reduce_window(x, initial, operation, window, window, "VALID") ** 2)


def scanned(w, x):
    def step(h, row):
        h = jnp.tanh(h @ w + row)
        return h, h.sum()

    h, sums = lax.scan(step, jnp.zeros(6, x.dtype), x)
    return jnp.sum(h * h) + jnp.sum(sums)


def references(w, x):
    reference = jax.new_ref(x @ w)
    reference[0] = reference[0] * 2
    return jnp.sum(jnp.sin(reference[...]))


def vmapped_loop(x):
    """Every row goes on for another number of steps."""

    def double(row):
        return lax.while_loop(lambda c: c.sum() < 999, lambda c: c * 2 + 1, row)

    return jax.vmap(double)(jnp.abs(x) * jnp.array([1.0, 8.0, 64.0, 512.0])[:, None])


# No constant that rounds in float32, or the functions would differ.
DIFFERENTIABLE = {
    "mlp": (lambda w, x: jnp.sum(jax.nn.relu(x @ w) ** 2), W, X),
    "softmax": (lambda w, x: jnp.sum(jax.nn.softmax(x @ w) ** 2), W, X),
    "layer norm": (lambda w, x: jnp.sum(jax.nn.standardize(x @ w, epsilon=0.25) ** 3), W, X),
    "sort and top_k": (lambda w: jnp.sum(jnp.sort(w, 0)[0]) + lax.top_k(w, 2)[0].sum(), W),
    "cumulative": (lambda w: jnp.sum(jnp.cumsum(w, 0) ** 2 + jnp.cumprod(w, 1)), W),
    "max pool": (functools.partial(pooled, lax.max, -jnp.inf), FILTERS, IMAGES),
    "sum pool": (functools.partial(pooled, lax.add, 0.0), FILTERS, IMAGES),
    "scan": (scanned, SQUARE, X),
    "remat": (jax.checkpoint(scanned), SQUARE, X),
    "cond": (lambda w: lax.cond(w[0, 0] > 0, jnp.sum, lambda w: jnp.sum(jnp.sin(w)), w), W),
    "fori_loop": (lambda w: lax.fori_loop(0, 3, lambda i, c: jnp.tanh(c @ w), w).sum(), SQUARE),
    "custom_jvp": (lambda w: jnp.sum(with_jvp(w)), W),
    "custom_vjp": (lambda w: jnp.sum(with_vjp(w)), W),
    "solve": (lambda v: jnp.sum(jnp.linalg.solve(v, v[0])), SQUARE),
    "eigenvalues": (lambda v: jnp.sum(jnp.sin(jnp.linalg.eigvalsh(v @ v.T))), SQUARE),
    "fft": (lambda v: jnp.sum(jnp.abs(jnp.fft.rfft2(v)) ** 2), SQUARE),
    "take": (lambda w, i: jnp.sum(jnp.take(w, i, axis=0) ** 2), W, INDEX),
    "scatter": (lambda w, i: jnp.sum(jnp.sin(w.at[i[:3]].set(2.0).at[i].add(w[0]))), W, INDEX),
    "gradient in the loss": (lambda w: jnp.sum(jax.grad(lambda v: jnp.sum(v**3))(w) ** 2), W),
    "references": (references, W, X),
}
OTHERS = {
    "while": (lambda w: lax.while_loop(lambda c: c.sum() < 99, lambda c: c * 2 + 1, w), W),
    "vmapped while": (vmapped_loop, X),
    "reduce": (lambda w: lax.reduce(w, 0.5, lambda a, b: a * b + a + b, (0,)), W),
    "reduce window": (
        lambda w: lax.reduce_window(w, 1.0, lambda a, b: a * b + a, (2, 2), (1, 1), "VALID"),
        W,
    ),
    "scatter of a function": (lambda w, i: w.at[i[:3]].apply(jnp.sin).at[i].max(0.5), W, INDEX),
    "select and scatter": (
        lambda k, x: jax.jvp(lambda k: pooled(lax.max, -jnp.inf, k, x), (k,), (k,))[1],
        FILTERS,
        IMAGES,
    ),
}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_value_and_gradient_are_those_of_a_trace_in_float64(name):
    function, *inputs = DIFFERENTIABLE[name]
    check_equals_float64(jax.value_and_grad(function), *inputs)


@pytest.mark.parametrize("name", OTHERS)
def test_value_is_that_of_a_trace_in_float64(name):
    function, *inputs = OTHERS[name]
    check_equals_float64(function, *inputs)


def check_equals_float64(function, *inputs):
    outputs, notes = promoted(function, *inputs)
    assert notes == []
    with jax.enable_x64(True):
        expected = jax.tree.leaves(jax.jit(function)(*inputs))
    for found, wanted in zip(outputs, expected, strict=True):
        assert found.dtype == wanted.dtype == np.float64
        np.testing.assert_allclose(found, wanted, rtol=1e-13, atol=1e-13)
    assert jnp.zeros(1).dtype == jnp.float32  # the precision is changed here only


@pytest.mark.parametrize("narrow", [jnp.float32, jnp.bfloat16, jnp.float16, jnp.float8_e4m3fn])
def test_casts_and_roundings_are_left_out(narrow):
    def function(w):
        return lax.reduce_precision(jnp.tanh(w.astype(narrow)).astype(jnp.float32), 5, 3)

    outputs, notes = promoted(function, W)
    assert notes == []
    np.testing.assert_allclose(outputs[0], np.tanh(W), rtol=1e-14)


def test_a_product_in_bfloat16_is_taken_in_float64():
    def function(w):
        precision = lax.DotAlgorithmPreset.BF16_BF16_F32
        return lax.dot(w, w.T, precision=precision, preferred_element_type=jnp.float32)

    outputs, notes = promoted(function, W)
    assert notes == []
    np.testing.assert_allclose(outputs[0], W @ W.T, rtol=1e-14, atol=1e-14)


def test_what_only_float32_can_trace():
    def function(x):
        return lax.scan(lambda h, row: (h + row, None), jnp.zeros(6, jnp.float32), x)[0]

    with jax.enable_x64(True), pytest.raises(TypeError, match="carry"):
        jax.eval_shape(function, X)
    np.testing.assert_allclose(promoted(function, X)[0][0], X.sum(0), rtol=1e-14)


def draws(key):
    part = jax.random.split(jax.random.fold_in(key, 3))[0]
    return {
        "normal": jax.random.normal(key, (50,)),
        "uniform": jax.random.uniform(part, (50,)),
        "dropout": jax.random.bernoulli(key, 0.3, (50,)),
        "categorical": jax.random.categorical(part, jnp.zeros((50, 4))),
        "integers": jax.random.randint(part, (50,), 0, 9),
    }


@pytest.mark.parametrize("key", [jax.random.key(3), jax.random.PRNGKey(3)], ids=["new", "old"])
def test_random_draws_are_those_of_the_original(key):
    outputs, notes = promoted(draws, key)
    native = jax.jit(draws)(key)
    assert notes == []
    for found, (name, wanted) in zip(outputs, sorted(native.items()), strict=True):
        if wanted.dtype == np.float32:
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(found, wanted, err_msg=name)


def test_what_cannot_be_promoted_runs_as_it_is_and_is_named():
    def function(w):
        shape = jax.ShapeDtypeStruct(w.shape, w.dtype)
        called = jax.pure_callback(lambda x: np.sin(np.asarray(x)), shape, w)
        bits = lax.bitcast_convert_type(w, jnp.int32)
        return called, bits, jax.random.gamma(jax.random.key(0), jnp.abs(w) + 1)

    outputs, notes = promoted(function, W)
    np.testing.assert_allclose(outputs[0], np.sin(W), rtol=1e-6)
    np.testing.assert_array_equal(outputs[1], W.astype(np.float32).view(np.int32))
    kinds = [note.split(" runs in float32 at ")[0] for note in notes]
    assert kinds == ["pure_callback", "bitcast_convert_type", "random_gamma"]
    assert all("test_promotion.py:" in note and "function)" in note for note in notes)


def test_what_is_not_needed_is_not_run(capfd):
    def function(w):
        jax.debug.print("the sum is {}", w.sum())
        lax.bitcast_convert_type(w, jnp.int32)
        return w * 2

    outputs, notes = promoted(function, W)
    jax.effects_barrier()
    assert notes == []
    assert capfd.readouterr().out == ""
    np.testing.assert_array_equal(outputs[0], W * 2)


def test_in_a_process_of_float64():
    with jax.enable_x64(True):
        jaxpr = jax.make_jaxpr(lambda x: jnp.tanh(x @ x.T))(X)
        notes = Notes()
        outputs = jax.jit(promoted_function(jaxpr, notes))(X)
        np.testing.assert_allclose(outputs[0], np.tanh(X @ X.T), rtol=1e-13)
    assert notes.lines == []
