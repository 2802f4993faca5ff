"""Keys derived from each other in a straight line: split, folded in, picked, computed."""

import functools

import jax
import jax.numpy as jnp
from jax import lax, random

from tests.symmetry.randomness.case import BOTH, FREE, FROZEN, RAW, TIED, N, case, meet


@case(FREE, keys=BOTH)
def two_rows_of_a_split(params, key):
    first, other = random.split(key)
    return meet(params, random.normal(first, (N,)), random.uniform(other, (N,)))


@case(FREE, b=4)
def a_chain_of_splits(params, key):
    key, first = random.split(key)
    key, other = random.split(key)
    return meet(params, random.normal(first, (N,)), random.normal(other, (4,)))


@case(TIED)
def one_key_twice(params, key):
    return meet(params, random.normal(key, (N,)), random.uniform(key, (N,)))


@case(TIED)
def one_key_twice_with_an_axis_of_size_one(params, key):
    return meet(params, random.normal(key, (N,)), random.uniform(key, (1, N))[0])


@case(FROZEN, b=4)
def one_key_for_two_shapes(params, key):
    return meet(params, random.normal(key, (N,)), random.normal(key, (4,)))


@case(FROZEN)
def one_key_for_two_factorings(params, key):
    return meet(params, random.normal(key, (N,)), random.normal(key, (2, 3)).reshape(N))


@case(FROZEN)
def one_key_for_two_bit_widths(params, key):
    v = random.bits(key, (N,), jnp.uint16).astype(jnp.float32) / 2**16
    return meet(params, random.normal(key, (N,)), v)


@case(TIED, keys=BOTH)
def one_row_recomputed(params, key):
    u = random.normal(random.split(key)[1], (N,))
    return meet(params, u, random.normal(random.split(key)[1], (N,)))


@case(TIED)
def one_row_of_splits_of_different_length(params, key):
    u = random.normal(random.split(key, 2)[1], (N,))
    return meet(params, u, random.normal(random.split(key, 5)[1], (N,)))


@case(TIED)
def a_row_is_what_its_number_folds_in(params, key):
    u = random.normal(random.split(key)[1], (N,))
    return meet(params, u, random.normal(random.fold_in(key, 1), (N,)))


@case(FREE)
def different_numbers_folded_in(params, key):
    u = random.normal(random.fold_in(key, 7), (N,))
    return meet(params, u, random.normal(random.fold_in(key, 8), (N,)))


@case(TIED)
def a_number_folded_in_may_be_a_computed_one(params, key):
    computed = jnp.sum(params["a"] > 100).astype(jnp.int32)
    u = random.normal(random.fold_in(key, 0), (N,))
    return meet(params, u, random.normal(random.fold_in(key, computed), (N,)))


@case(FREE)
def sums_that_are_known(params, key):
    u = random.normal(random.fold_in(key, jnp.uint32(1)), (N,))
    return meet(params, u, random.normal(random.fold_in(key, jnp.uint32(1) + jnp.uint32(1)), (N,)))


@case(FREE)
def different_numbers_folded_in_after_the_same_computed_one(params, key):
    key = random.fold_in(key, jnp.sum(params["a"] > 0))
    u = random.normal(random.fold_in(key, 1), (N,))
    return meet(params, u, random.normal(random.fold_in(key, 2), (N,)))


@case(FROZEN, b=4, keys=BOTH)
def a_row_may_be_the_one_at_a_computed_place(params, key):
    keys = random.split(key, 3)
    computed = jnp.sum(params["a"] > 100).astype(jnp.int32)
    u = random.normal(keys[0], (N,))
    return meet(params, u, random.normal(lax.dynamic_index_in_dim(keys, computed, 0, False), (4,)))


@case(TIED, keys=BOTH)
def a_row_may_be_one_that_is_gathered(params, key):
    keys = random.split(key, 3)
    computed = jnp.sum(params["a"] > 100).astype(jnp.int32)
    u = random.normal(keys[0], (N,))
    return meet(params, u, random.normal(jnp.take(keys, computed, axis=0), (N,)))


@case(TIED, keys=BOTH)
def one_of_two_keys_is_selected(params, key):
    first, other = random.split(key)
    computed = jnp.sum(params["a"]) < 1e6
    selected = jnp.where(computed, first, other)
    return meet(params, random.normal(first, (N,)), random.normal(selected, (N,)))


@case(TIED)
def a_row_of_a_split_along_two_axes_is_one_of_a_split_along_one(params, key):
    u = random.normal(random.split(key, (3, 2))[1, 0], (N,))
    return meet(params, u, random.normal(random.split(key, 6)[2], (N,)))


@case(FREE, keys=BOTH)
def rows_of_a_split_along_two_axes(params, key):
    keys = random.split(key, (3, 2))
    u = [random.normal(keys[i, 0], (N,)) for i in range(3)]
    return meet(params, u[0] * u[1] + u[2], random.normal(keys[1, 1], (N,)))


@case(FREE, keys=BOTH)
def a_scan_over_keys_in_pairs(params, key):
    def body(total, pair):
        first, other = pair
        return total, (random.normal(first, (N,)), random.normal(other, (N,)))

    _, (u, v) = lax.scan(body, 0.0, random.split(key, (3, 2)))
    return meet(params, jnp.prod(u, 0), jnp.sum(v, 0))


@case(FREE)
def every_other_row(params, key):
    keys = random.split(key, 6)
    draw = jax.vmap(functools.partial(random.normal, shape=(N,)))
    even, odd = (lax.slice_in_dim(keys, start, None, 2) for start in (0, 1))
    return meet(params, jnp.prod(draw(even), 0), jnp.sum(draw(odd), 0))


@case(TIED)
def rows_at_two_strides_that_meet(params, key):
    keys = random.split(key, 6)
    draw = jax.vmap(functools.partial(random.normal, shape=(N,)))
    return meet(params, jnp.prod(draw(keys[1::2]), 0), jnp.sum(draw(keys[::3]), 0))


@case(TIED, provable=False, keys=BOTH)
def rows_are_not_told_apart_after_a_reshape_that_splits_an_axis(params, key):
    keys = random.split(key, 4)
    keys = keys.reshape(2, 2, *keys.shape[1:])
    return meet(params, random.normal(keys[0, 1], (N,)), random.normal(keys[1, 0], (N,)))


@case(FROZEN, provable=False, keys=BOTH)
def words_of_a_key_are_used_as_numbers(params, key):
    words = key if key.dtype == jnp.uint32 else random.key_data(key)
    first, other = random.split(key)
    u = random.normal(first, (N,)) + jnp.sum(words.astype(jnp.float32)) / 2.0**33
    return meet(params, u, random.normal(other, (N,)))


@case(FROZEN, provable=False)
def a_key_and_its_child(params, key):
    return meet(params, random.normal(key, (N,)), random.normal(random.split(key)[0], (N,)))


@case(FROZEN, provable=False, keys=BOTH)
def a_key_of_computed_words(params, key):
    words = key if key.dtype == jnp.uint32 else random.key_data(key)
    other = random.wrap_key_data(words ^ jnp.uint32(1))
    return meet(params, random.normal(key, (N,)), random.normal(other, (N,)))


@case(FROZEN, provable=False)
def a_key_of_computed_words_for_one_number(params, key):
    first, other = random.split(key)
    x = random.normal(random.wrap_key_data(random.key_data(first) ^ jnp.uint32(1)))
    return meet(params, x * random.normal(first, (N,)), random.normal(other, (N,)))


@case(FROZEN, provable=False, keys=(RAW,))
def a_key_of_words_changed_in_a_loop(params, key):
    words = lax.fori_loop(0, 3, lambda i, words: words * 3, key)
    u = random.normal(random.split(key)[0], (N,))
    return meet(params, u, random.normal(random.wrap_key_data(words), (N,)))


@case(FREE)
def keys_of_two_seeds(params, key):
    del key
    u = random.normal(random.PRNGKey(1), (N,))
    return meet(params, u, random.normal(random.key(2), (N,)))


@case(TIED)
def a_key_that_is_a_constant_and_one_of_the_same_seed(params, key):
    del key
    return meet(params, random.normal(RAW, (N,)), random.normal(random.key(3), (N,)))


@case(TIED)
def a_seed_that_is_computed(params, key):
    del key
    seed = jnp.sum(params["a"] > 100).astype(jnp.int32)
    return meet(params, random.normal(random.key(0), (N,)), random.normal(random.key(seed), (N,)))
