"""Laws of the directions: equivariance, scale, orthogonality, derivatives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.optimizers.weight_spaces import mixed_spec, random_tree
from unf_lopt.optimizers import directions
from unf_lopt.optimizers.matrices import matrices_by_shape, matrices_of
from unf_lopt.optimizers.orthogonalization import (
    Orthogonalization,
    orthogonalize,
    orthogonalized,
)

SPEC = mixed_spec()
MATRICES = matrices_of(SPEC)
# A few of its parameters, for what does not depend on the kind of axis.
FEW = ("query", "gates", "logits", "logits_bias", "temperature")
FEW_MATRICES = matrices_of(mixed_spec(FEW))
DIRECTIONS = {
    "momentum": lambda decay, matrices: directions.momentum(decay),
    "biased momentum": lambda decay, matrices: directions.momentum(decay, debias=False),
    "adam": lambda decay, matrices: directions.adam(decay, 0.99),
    "factored": lambda decay, matrices: directions.factored(matrices, decay, 0.99),
    "orthogonalized": lambda decay, matrices: orthogonalized(matrices, decay),
}
# Squares of smaller gradients vanish beside the ε that Adam adds.
SCALES = [("adam", 1e12), ("factored", 1e12), ("orthogonalized", 1e12), ("orthogonalized", 1e-12)]
STEPS = 2


def _orthogonalize(matrices, leaves):
    return orthogonalize(matrices, leaves, Orthogonalization())[0]


any_direction = pytest.mark.parametrize("name", DIRECTIONS)


def _run(name, grads, decay=0.9, matrices=FEW_MATRICES):
    return _compiled(name, matrices)(grads, decay)


@functools.cache
def _compiled(name, matrices):
    def run(grads, decay):
        transformation = DIRECTIONS[name](decay, matrices)
        state = transformation.init(grads[0])
        for grad in grads:
            updates, state = transformation.update(grad, state)
        return updates, state

    return jax.jit(run)


def _grads(dtype=None, paths=FEW):
    return [random_tree(seed, dtype, paths) for seed in range(STEPS)]


@any_direction
@jax.enable_x64(True)
def test_permutations_pass_through(name):
    grads = _grads("f8", SPEC.paths)
    permutation, permute = SPEC.sample(jax.random.PRNGKey(3)), jax.jit(SPEC.permute)
    moved, _ = _run(name, [permute(g, permutation) for g in grads], matrices=MATRICES)
    expected = permute(_run(name, grads, matrices=MATRICES)[0], permutation)
    # Newton-Schulz multiplies what rounding leaves by 3.4 in each of five steps.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-11), moved, expected)


@pytest.mark.parametrize(("name", "scale"), SCALES)
def test_the_scale_of_gradients_does_not_matter(name, scale):
    base = [jax.tree.map(lambda g: 1e-3 * g, grad) for grad in _grads("f4")]
    scaled = [jax.tree.map(lambda g: scale * g, grad) for grad in base]
    expected, found = _run(name, base)[0], _run(name, scaled)[0]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-3), found, expected)


@any_direction
def test_what_has_no_gradient_gets_no_direction(name):
    zeros = jax.tree.map(jnp.zeros_like, random_tree(0, "f4", FEW))
    updates, _ = _run(name, [zeros, zeros])
    jax.tree.map(lambda u: np.testing.assert_array_equal(u, 0), updates)


@any_direction
def test_low_precision_is_computed_in_float32(name):
    updates, state = _run(name, _grads("bfloat16"))
    averages = (state.first, state.second)
    assert {x.dtype for x in jax.tree.leaves((updates, averages))} == {np.dtype("float32")}


@any_direction
def test_the_state_keeps_its_types(name):
    transformation = DIRECTIONS[name](0.9, FEW_MATRICES)
    params = random_tree(0, "f4", FEW)
    before = jax.eval_shape(transformation.init, params)
    _, after = jax.eval_shape(transformation.update, params, before)
    assert before == after


@any_direction
def test_no_two_leaves_of_the_state_share_a_buffer(name):
    leaves = jax.tree.leaves(DIRECTIONS[name](0.9, FEW_MATRICES).init(random_tree(0, "f4", FEW)))
    assert len({leaf.unsafe_buffer_pointer() for leaf in leaves}) == len(leaves)


@any_direction
def test_a_traced_decay_is_differentiable_and_can_be_mapped(name):
    zeros = jax.tree.map(jnp.zeros_like, random_tree(0, "f4", FEW))

    def total(decay, grads):
        return sum(jnp.sum(u * u**2) for u in jax.tree.leaves(_run(name, grads, decay)[0]))

    slopes = jax.jit(jax.vmap(jax.grad(total), (0, None)))
    for grads in (_grads("f4"), [zeros, zeros]):
        assert np.isfinite(slopes(jnp.array([0.5, 0.9]), grads)).all()


@pytest.mark.parametrize("debias", [True, False])
def test_momentum_is_that_of_optax(debias):
    ours, theirs = directions.momentum(0.8, debias=debias), optax.ema(0.8, debias)
    _compare(ours, theirs)


def test_adam_is_that_of_optax():
    _compare(directions.adam(0.8, 0.95), optax.scale_by_adam(0.8, 0.95))


def _compare(ours, theirs):
    params = random_tree(0, "f4", FEW)
    state, other = ours.init(params), theirs.init(params)
    for grad in _grads("f4"):
        updates, state = ours.update(grad, state)
        expected, other = theirs.update(grad, other)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), updates, expected)


def test_factored_moments_of_a_product_are_exact():
    row, column = np.arange(1.0, 5), np.arange(2.0, 8)
    grad = {"w": jnp.asarray(np.outer(row, column))}
    transformation = directions.factored(matrices_by_shape(grad), 0.9, 0.9)
    updates, state = transformation.update(grad, transformation.init(grad))
    np.testing.assert_allclose(updates["w"], 1, rtol=1e-4)
    assert sum(x.size for x in jax.tree.leaves(state.second)) == 10


@pytest.mark.parametrize("direction", [_orthogonalize, directions.normalize])
def test_every_block_has_root_mean_square_one(direction):
    leaves, _ = MATRICES.flatten(random_tree(0, "f4"))
    unit = jax.jit(lambda leaves: direction(MATRICES, leaves))(leaves)
    checked = []

    def check(batches):
        checked.extend(np.sqrt(np.mean(np.square(x), (1, 2))) for x in batches)
        return batches

    MATRICES.map(check, unit)
    np.testing.assert_allclose(np.concatenate(checked), 1, rtol=1e-4)


def _normalized(x):
    (found,) = directions.normalize(matrices_by_shape([x]), [jnp.asarray(x)])
    return np.asarray(found)


@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (5, 5)])
def test_normalized_the_short_vectors_have_one_length(shape):
    x = np.random.default_rng(0).normal(size=shape).astype("f4")
    squares = np.mean(np.square(_normalized(x)), 0 if shape[0] <= shape[1] else 1)
    np.testing.assert_allclose(squares, 1, rtol=1e-5)


@jax.enable_x64(True)
def test_normalized_forgets_the_scales_of_rows():
    """What multiplies the longer vectors of a matrix changes nothing."""
    generator = np.random.default_rng(1)
    x, scales = generator.normal(size=(4, 6)), np.exp(generator.normal(size=(4, 1)))
    np.testing.assert_allclose(_normalized(scales * x), _normalized(x), rtol=1e-12)


def test_normalized_keeps_zeros_and_is_differentiable_there():
    x = jnp.zeros((3, 4)).at[1].set(1.0)
    np.testing.assert_array_equal(_normalized(x)[[0, 2]], 0)
    np.testing.assert_allclose(np.mean(np.square(_normalized(x))), 1, rtol=1e-6)
    slope = jax.grad(lambda x: jnp.sum(directions.normalize(matrices_by_shape([x]), [x])[0]))(x)
    assert np.isfinite(slope).all()
    np.testing.assert_array_equal(_normalized(jnp.zeros((3, 4))), 0)
