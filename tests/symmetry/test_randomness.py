"""Symmetries in distribution: which draws are free, which are the same, which are related."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random

from tests.symmetry.randomness import flow, keys
from tests.symmetry.randomness.case import (
    CASES,
    FREE,
    FROZEN,
    RAW,
    TIED,
    TYPED,
    N,
    array,
    expected,
    meet,
    params_of,
)
from tests.symmetry.randomness.law import NotInvariant, infer_in_distribution
from unf_lopt import infer_spec
from unf_lopt.symmetry import PermutationSpec, SpecError
from unf_lopt.symmetry.inference import _keys, infer_traced, trace_loss
from unf_lopt.symmetry.inference._permuted_draws import permute_draws
from unf_lopt.symmetry.verification._promote import Notes, promoted_function

SEVERAL = [case for case in CASES if case.values[1] != FREE and case.values[3]]


def test_the_cases_are_there():
    assert {case.values[0].__module__ for case in CASES} == {flow.__name__, keys.__name__}


@pytest.mark.parametrize(("loss", "relation", "b", "provable", "key"), CASES)
def test_draws_are_free_tied_or_frozen(loss, relation, b, provable, key):
    spec = infer_in_distribution(loss, params_of(b), key)
    assert spec.canonical() == expected(relation, b).canonical(), spec


@pytest.mark.parametrize(("loss", "relation", "b", "provable", "key"), SEVERAL)
def test_the_numbers_show_what_is_not_tied(loss, relation, b, provable, key, monkeypatch):
    monkeypatch.setattr(_keys.KeyTable, "constrain", lambda table, graph: None)
    with pytest.raises(NotInvariant):
        infer_in_distribution(loss, params_of(b), key)


@pytest.mark.parametrize("key", [TYPED, RAW])
def test_draws_are_frozen_unless_asked_for(key):
    loss = next(case.values[0] for case in CASES if case.values[1] == FREE)
    spec = infer_spec(loss, params_of(N), key)
    assert spec.canonical() == expected(FROZEN).canonical()


def test_keys_that_are_two_arguments_are_independent():
    def loss(params, first, other):
        return meet(params, random.normal(first, (N,)), random.normal(other, (N,)))

    spec = infer_in_distribution(loss, params_of(N), TYPED, random.PRNGKey(4))
    assert spec.canonical() == expected(FREE).canonical()


@pytest.mark.parametrize(("row", "relation"), [(0, TIED), (1, FREE)])
@pytest.mark.parametrize("key", [TYPED, RAW])
def test_rows_of_an_argument_that_is_an_array_of_keys(key, row, relation):
    def loss(params, keys):
        return meet(params, random.normal(keys[0], (N,)), random.normal(keys[row], (N,)))

    spec = infer_in_distribution(loss, params_of(N), random.split(key, 3))
    assert spec.canonical() == expected(relation).canonical()


@pytest.mark.parametrize(("step", "relation"), [(0, TIED), (1, FREE)])
def test_a_count_that_is_an_argument(step, relation):
    def loss(params, key, count):
        first = random.fold_in(key, count)
        other = random.fold_in(key, (count + 2).astype(jnp.uint32) + step + np.uint32(2**32 - 2))
        return meet(params, random.normal(first, (N,)), random.normal(other, (N,)))

    spec = infer_in_distribution(loss, params_of(N), TYPED, jnp.uint32(5))
    assert spec.canonical() == expected(relation).canonical()


@pytest.mark.parametrize("counts", [(5, 5), (5, 6)])
def test_two_counts_may_be_equal(counts):
    def loss(params, key, count, other):
        first, other = random.fold_in(key, count), random.fold_in(key, other)
        return meet(params, random.normal(first, (N,)), random.normal(other, (N,)))

    spec = infer_in_distribution(loss, params_of(N), TYPED, *map(jnp.uint32, counts))
    assert spec.canonical() == expected(TIED).canonical()


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.uint32])
def test_counts_of_a_narrow_type_meet_again(dtype):
    def loss(params, key, count):
        narrow = (count + 128 + 128).astype(jnp.uint8)
        first, other = random.fold_in(key, count.astype(jnp.uint8)), random.fold_in(key, narrow)
        return meet(params, random.normal(first, (N,)), random.normal(other, (N,)))

    spec = infer_in_distribution(loss, params_of(N), TYPED, dtype(5))
    assert spec.canonical() == expected(TIED).canonical()


@pytest.mark.parametrize(("step", "relation"), [(0, TIED), (1, FREE), (-(2**31), TIED)])
def test_a_seed_that_is_an_argument(step, relation):
    def loss(params, seed):
        u = random.normal(random.key(seed), (N,))
        return meet(params, u, random.normal(random.PRNGKey(seed + step + step), (N,)))

    spec = infer_in_distribution(loss, params_of(N), jnp.int32(5))
    assert spec.canonical() == expected(relation).canonical()


def test_the_words_of_a_key_among_the_parameters_are_in_order():
    def loss(params):
        first, other = random.split(params["key"])
        return meet(params, random.normal(first, (N,)), random.normal(other, (N,)))

    spec = infer_in_distribution(loss, {**params_of(N), "key": RAW})
    assert spec.groups == {"a:0": N, "b:0": N}
    assert spec.fixed == {"key:0"}


def test_a_key_in_the_model_state_goes_on_to_the_next_step():
    def loss(params, key):
        key, first, other = random.split(key, 3)
        return meet(params, random.normal(first, (N,)), random.normal(other, (N,))), key

    spec = infer_in_distribution(loss, params_of(N), TYPED, state_argnum=0)
    assert spec.canonical() == expected(FREE).canonical()


def test_a_tie_is_explained_by_both_draws():
    def loss(params, key):
        u = random.normal(key, (N,))
        return meet(params, u, random.uniform(key, (N,)))

    spec = infer_spec(loss, params_of(N), TYPED, randomness="in_distribution")
    text = spec.explain("a", 0)
    assert text.count("random_bits at ") == text.count(__file__.rpartition("/")[2]) == 2
    assert "may draw the same numbers as" in text


def test_a_frozen_draw_is_explained_by_both_uses_of_the_key():
    def loss(params, key):
        u = random.normal(key, (N,))
        return meet(params, u, random.normal(random.split(key)[0], (N,)))

    spec = infer_spec(loss, params_of(N), TYPED, randomness="in_distribution")
    assert "random_split at " in spec.explain("a", 0)
    assert "random_bits at " in spec.explain("a", 0)


def test_a_key_that_cannot_be_followed_is_explained():
    def loss(params, key):
        other = random.wrap_key_data(random.key_data(key) + 1)
        return meet(params, random.normal(key, (N,)), random.normal(other, (N,)))

    spec = infer_spec(loss, params_of(N), TYPED, randomness="in_distribution")
    assert "uses a key that cannot be followed" in spec.explain("a", 0)


def two_draws(params, key):
    first, other = random.split(key)
    return meet(params, random.normal(first, (N,)), random.normal(other, (N,)))


def one_draw(params, key):
    u = random.normal(key, (N,))
    return meet(params, u, u)


def permuted(loss, spec, key):
    traced = trace_loss(loss, params_of(N), [key])
    inference = infer_traced(traced, within=spec, randomness="in_distribution", record=True)
    return traced, lambda permutation: permute_draws(traced, inference, permutation)


def test_the_permutation_of_draws_may_be_traced():
    spec = expected(FREE)
    traced, permute = permuted(two_draws, spec, TYPED)
    orders = {"x": np.roll(np.arange(N), 2), "y": np.arange(N)[::-1].copy()}
    params = [np.linspace(-1, 1, N), np.linspace(2, 3, N) ** 2]
    moved = [params[0][orders["x"]], params[1][orders["y"]]]

    @jax.jit
    def evaluate(permutation, a, b):
        return promoted_function(permute(permutation), Notes())(a, b, TYPED)[0]

    with jax.enable_x64(True):
        before = promoted_function(traced.jaxpr, Notes())(*params, TYPED)[0]
        np.testing.assert_allclose(evaluate(orders, *moved), before, rtol=1e-12)
        other = {"x": orders["x"], "y": np.arange(N)}
        assert abs(evaluate(other, *moved) - before) > 1e-3


def test_draws_are_not_permuted_by_what_is_no_symmetry():
    _, permute = permuted(one_draw, expected(FREE), TYPED)
    order = np.arange(N)
    with pytest.raises(SpecError, match="permuted alike"):
        permute({"x": order, "y": order})

    def ordered(params, key):
        return two_draws(params, key) + jnp.sum(params["a"] * jnp.arange(N))

    _, permute = permuted(ordered, expected(FREE), TYPED)
    with pytest.raises(SpecError, match=r"'x'.*randomness='in_distribution'"):
        permute({"x": order})


def test_a_draw_moves_along_products_and_sums_of_spaces():
    def loss(params, key):
        first, other = random.split(key)
        noise = random.normal(first, (6,)).reshape(2, 3) * params["w"]
        mask = random.uniform(other, (5,))
        both = jnp.concatenate([params["u"], params["v"]]) * mask
        return jnp.sum(jnp.sin(noise)) + jnp.sum(both[:2] ** 2) * jnp.sum(jnp.exp(both[2:]))

    params = {"w": array(2, 3), "u": array(2), "v": array(3)}
    spec = infer_in_distribution(loss, params, TYPED)
    names = {"w": ("a", "b"), "u": ("c",), "v": ("d",)}
    assert spec.canonical() == PermutationSpec.from_names(names, params).canonical()
