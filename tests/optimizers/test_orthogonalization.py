"""Laws of orthogonalization: singular values near one, wholly and in a subspace."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.optimizers.weight_spaces import mixed_spec, random_tree
from unf_lopt.optimizers.batches import in_batches
from unf_lopt.optimizers.matrices import matrices_by_shape, matrices_of
from unf_lopt.optimizers.minimax import minimax_coefficients
from unf_lopt.optimizers.orthogonalization import (
    POLYNOMIALS,
    Orthogonalization,
    newton_schulz,
    orthogonalize,
)
from unf_lopt.optimizers.subspace import in_subspaces, start_basis

SPEC = mixed_spec()


@pytest.mark.parametrize("polynomials", POLYNOMIALS)
@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (3, 4, 9)])
def test_newton_schulz_is_nearly_orthogonal(shape, polynomials):
    x = np.random.default_rng(0).normal(size=shape)
    values = np.linalg.svd(newton_schulz(jnp.asarray(x, "f4"), 8, polynomials), compute_uv=False)
    assert values.min() > 0.6
    assert values.max() < 1.25


def test_newton_schulz_points_along_the_polar_factor():
    x = np.random.default_rng(0).normal(size=(8, 20))
    left, _, right = np.linalg.svd(x, full_matrices=False)
    found = np.asarray(newton_schulz(jnp.asarray(x, "f4")))
    polar = left @ right
    cosine = np.sum(found * polar) / np.linalg.norm(found) / np.linalg.norm(polar)
    assert cosine > 0.98


@jax.enable_x64(True)
def test_transposing_passes_through():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 5, 9)))
    (found,) = in_batches(newton_schulz, [x.swapaxes(1, 2)])
    expected = newton_schulz(x).swapaxes(1, 2)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    tall = newton_schulz(x.swapaxes(1, 2))
    np.testing.assert_allclose(tall, expected, atol=1e-11)


def test_dense_matrices_have_rounds_of_their_own():
    matrices = matrices_of(SPEC)
    leaves, _ = matrices.flatten(random_tree(3, "f4"))
    three, two, both = (
        orthogonalize(matrices, leaves, Orthogonalization(*n))[0] for n in [(3,), (2,), (3, 2)]
    )
    for i, blocks in enumerate(matrices.blocks):
        expected = two if blocks and blocks[0].is_dense else three
        np.testing.assert_allclose(both[i], expected[i], atol=1e-5)


def test_equal_shapes_are_one_product():
    calls = []

    def function(x):
        calls.append(x.shape)
        return x

    xs = [jnp.ones(shape) for shape in [(1, 4, 6), (2, 6, 4), (1, 5, 5), (3, 4, 6)]]
    in_batches(function, xs)
    assert calls == [(6, 4, 6), (1, 5, 5)]


def test_matrices_in_one_batch_are_as_if_alone():
    xs = [jnp.asarray(np.random.default_rng(i).normal(size=(i, 4, 6)), "f4") for i in (1, 2, 3)]
    together = in_batches(newton_schulz, xs)
    for x, found in zip(xs, together, strict=True):
        np.testing.assert_allclose(found, newton_schulz(x), atol=1e-5)


@given(st.integers(1, 6), st.floats(0.001, 0.3))
def test_minimax_polynomials_keep_what_they_promise(steps, smallest):
    x = np.linspace(smallest, 1, 5001)
    for a, b, c in minimax_coefficients(steps, smallest):
        low, high = x.min(), x.max()
        x = a * x + b * x**3 + c * x**5
        # Equal errors on both sides: no other odd quintic is nearer to one on the whole interval.
        np.testing.assert_allclose(1 - x.min(), x.max() - 1, rtol=1e-3, atol=1e-8)
        assert x.max() - 1 <= max(1 - low, high - 1)


@pytest.mark.parametrize("steps", [2, 3])
def test_minimax_polynomials_leave_singular_values_nearer_to_one(steps):
    x = np.random.default_rng(0).normal(size=(16, 40)) * np.geomspace(0.05, 1, 16)[:, None]
    far = [
        np.max(np.abs(np.linalg.svd(newton_schulz(jnp.asarray(x, "f4"), steps, own))[1] - 1))
        for own in ("minimax", "quintic")
    ]
    assert far[0] < far[1]


def _in_subspace(x, basis):
    (found,), (new_basis,) = in_subspaces([x], [basis])
    return found, new_basis


def _low_rank(rank, rows=24, columns=40, rest=0.0):
    generator = np.random.default_rng(rank)
    left, right = (np.linalg.qr(generator.normal(size=(n, rank)))[0] for n in (rows, columns))
    own = left * np.geomspace(1, 0.1, rank) @ right.T
    return left @ right.T, own + rest * generator.normal(size=(rows, columns))


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 5))
def test_a_matrix_of_low_rank_is_orthogonalized_wholly(rank):
    with jax.enable_x64(True):
        polar, x = _low_rank(rank)
        basis = start_basis((1, *x.shape), 6, jnp.float64)
        for _ in range(3):
            found, basis = _in_subspace(jnp.asarray(x)[None], basis)
        found, polar = found[0] / np.linalg.norm(found), polar / np.linalg.norm(polar)
        np.testing.assert_allclose(found, polar, atol=0.02)


def test_a_subspace_comes_to_the_largest_singular_values():
    _, x = _low_rank(4, rest=1e-3)
    basis = start_basis((1, *x.shape), 4)
    for _ in range(4):
        found, basis = _in_subspace(jnp.asarray(x, "f4")[None], basis)
    values = found[0] / np.sqrt(found[0].size / 24)
    left, _, right = np.linalg.svd(x, full_matrices=False)
    own = left.T @ values @ right.T
    np.testing.assert_allclose(own[:4, :4], np.eye(4), atol=0.01)
    np.testing.assert_allclose(own[:4, 4:], 0, atol=0.01)
    rest = np.linalg.svd(own[4:, 4:])[1]
    np.testing.assert_allclose(np.sqrt(np.mean(rest**2)), 1, atol=0.01)


@jax.enable_x64(True)
def test_rotations_pass_through_a_subspace():
    generator = np.random.default_rng(0)
    x, basis = generator.normal(size=(2, 24, 40)), generator.normal(size=(2, 24, 4))
    left, right = (np.linalg.qr(generator.normal(size=(n, n)))[0] for n in (24, 40))
    found, new_basis = _in_subspace(jnp.asarray(x), jnp.asarray(basis))
    moved, new_moved = _in_subspace(jnp.asarray(left @ x @ right), jnp.asarray(left @ basis))
    np.testing.assert_allclose(moved, left @ found @ right, atol=1e-10)
    np.testing.assert_allclose(new_moved, left @ new_basis, atol=1e-10)


@jax.enable_x64(True)
def test_a_new_basis_moves_with_the_rows_and_not_with_the_columns():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(2, 24, 40))
    rows, columns = (generator.permutation(n) for n in (24, 40))
    start = start_basis(x.shape, 4, jnp.float64)
    found, basis = _in_subspace(jnp.asarray(x), start)
    moved, new = _in_subspace(jnp.asarray(x[:, rows][:, :, columns]), start)
    np.testing.assert_allclose(moved, found[:, rows][:, :, columns], atol=1e-8)
    np.testing.assert_allclose(new, basis[:, rows], atol=1e-8)


@pytest.mark.parametrize("scale", [0.0, 1e-25, 1e25])
def test_a_subspace_has_root_mean_square_one_at_every_scale(scale):
    _, x = _low_rank(6, rest=0.05)
    basis = start_basis((1, *x.shape), 4)
    for _ in range(2):
        found, basis = _in_subspace(jnp.asarray(scale * x, "f4")[None], basis)
    np.testing.assert_allclose(np.sqrt(np.mean(np.square(found))), scale > 0, atol=1e-4)
    assert np.all(np.isfinite(basis))


@jax.enable_x64(True)
def test_many_runs_are_each_as_alone():
    generator = np.random.default_rng(0)
    xs = jnp.asarray(generator.normal(size=(2, 3, 1, 24, 40)))
    bases = jnp.asarray(generator.normal(size=(2, 3, 1, 24, 4)))
    bases = bases.at[0].set(0).at[1, 2].set(0)
    found, new_bases = jax.vmap(jax.vmap(_in_subspace))(xs, bases)
    for i in np.ndindex(2, 3):
        own, new_basis = _in_subspace(xs[i], bases[i])
        np.testing.assert_allclose(found[i], own, atol=1e-10)
        np.testing.assert_allclose(new_bases[i], new_basis, atol=1e-10)


def _unconditional(jaxpr):
    """The primitives that are run at every call."""
    for eqn in jaxpr.eqns:
        yield eqn.primitive.name
        if eqn.primitive.name != "cond":
            for own in jax.tree.leaves(list(eqn.params.values())):
                if hasattr(own, "eqns") or hasattr(own, "jaxpr"):
                    yield from _unconditional(getattr(own, "jaxpr", own))


def test_many_runs_that_know_their_bases_make_none():
    xs, bases = jnp.ones((3, 1, 24, 40)), jnp.ones((3, 1, 24, 4))
    jaxpr = jax.make_jaxpr(jax.vmap(_in_subspace))(xs, bases)
    found = set(_unconditional(jaxpr.jaxpr))
    assert {"cond", "cholesky"} <= found
    assert "sin" in str(jaxpr)
    assert "sin" not in found


def test_matrices_of_different_ranks_are_each_as_alone():
    generator = np.random.default_rng(0)
    sizes = [(24, 40, 4), (30, 33, 6), (24, 25, 4)]
    xs = [
        jnp.asarray(generator.normal(size=(2, rows, columns)), "f4") for rows, columns, _ in sizes
    ]
    bases = [start_basis(x.shape, rank) for x, (_, _, rank) in zip(xs, sizes, strict=True)]
    for found, new, x, basis in zip(*in_subspaces(xs, bases), xs, bases, strict=True):
        own, own_basis = _in_subspace(x, basis)
        np.testing.assert_allclose(found, own, atol=1e-5)
        np.testing.assert_allclose(new, own_basis, atol=1e-5)


def test_a_subspace_is_differentiated_within_a_loop():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 24, 40)), "f4")

    def last(scale):
        def step(basis, weight):
            found, basis = _in_subspace(x * (1 + scale * weight), basis)
            return basis, found

        start = start_basis(x.shape, 4)
        return jax.lax.scan(step, start, jnp.arange(3.0))[1][-1][0, 0, 0]

    assert np.isfinite(jax.grad(last)(0.1))


def test_only_matrices_of_two_long_sides_are_in_a_subspace():
    leaves = [jnp.ones(shape) for shape in [(16, 16), (15, 99), (99, 16), (16,)]]
    way = Orthogonalization(rank=4)
    bases = way.start(matrices_by_shape(leaves))
    assert [basis.shape for basis in bases] == [(1, 16, 4), (1, 16, 4)]
    assert Orthogonalization().start(matrices_by_shape(leaves)) == ()


@pytest.mark.parametrize(("shorter", "rank"), [(31, 0), (32, 8), (48, 12), (64, 16), (512, 16)])
def test_a_subspace_is_at_most_a_quarter_of_a_matrix(shorter, rank):
    way = Orthogonalization(rank=16)
    (blocks,) = matrices_by_shape([jnp.ones((shorter, 600))]).blocks
    assert way.rank_of(blocks[0]) == rank


def test_all_matrices_are_orthogonalized_each_in_its_way():
    generator = np.random.default_rng(0)
    shapes = [(40, 24), (5, 9), (24, 40), (3,), (5, 9)]
    leaves = [jnp.asarray(generator.normal(size=shape), "f4") for shape in shapes]
    matrices, way = matrices_by_shape(leaves), Orthogonalization(3, rank=6)
    found, bases = orthogonalize(matrices, leaves, way, way.start(matrices))
    whole, _ = orthogonalize(matrices, leaves, Orthogonalization(3))
    for i in (1, 3, 4):
        np.testing.assert_array_equal(found[i], whole[i])
    for i, transposed in ((0, True), (2, False)):
        x = leaves[i].T if transposed else leaves[i]
        own, basis = _in_subspace(x[None], start_basis((1, *x.shape), 6))
        np.testing.assert_allclose(found[i], own[0].T if transposed else own[0], atol=1e-5)
        np.testing.assert_allclose(bases[i // 2], basis, atol=1e-5)


def test_other_polynomials_are_refused():
    with pytest.raises(ValueError, match="polynomials='cubic'"):
        Orthogonalization(polynomials="cubic")


def test_accelerators_wait_for_no_condition_and_find_the_same():
    x = np.random.default_rng(0).normal(size=(1, 24, 40)).astype("f4")
    start = start_basis(x.shape, 4)
    traced = jax.jit(_in_subspace).trace(jnp.asarray(x), start)
    on_cpu, on_gpu = (
        traced.lower(lowering_platforms=(platform,)).as_text().count("stablehlo.case")
        for platform in ("cpu", "cuda")
    )
    assert on_cpu == on_gpu + 1  # the others choose the platform, by a constant
    _, basis = expected = _in_subspace(jnp.asarray(x), start)
    always = functools.partial(_in_subspace, jnp.asarray(x))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax.lax, "platform_dependent", lambda *, cpu, default: default())
        for own, begun in ((start, expected), (basis, _in_subspace(jnp.asarray(x), basis))):
            # Compiled apart, products are summed in another order.
            jax.tree.map(
                functools.partial(np.testing.assert_allclose, atol=1e-4), always(own), begun
            )
