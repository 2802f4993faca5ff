"""Keys in loops, branches and maps, and draws other than uniform bits."""

import functools

import jax
import jax.numpy as jnp
from jax import lax, random

from tests.symmetry.randomness.case import BOTH, FREE, FROZEN, TIED, N, case, meet


@case(FREE)
def a_chain_through_a_scan(params, key):
    def body(key, _):
        key, first, other = random.split(key, 3)
        return key, (random.normal(first, (N,)), random.normal(other, (N,)))

    _, (u, v) = lax.scan(body, key, None, length=3)
    return meet(params, jnp.prod(u, 0), jnp.sum(v, 0))


@case(FREE, b=4, keys=BOTH)
def a_chain_with_two_splits_in_each_step_and_on_after_the_scan(params, key):
    def body(key, _):
        key, first = random.split(key)
        key, other = random.split(key)
        return key, random.normal(first, (N,)) * random.normal(other, (N,))

    key, u = lax.scan(body, key, None, length=3)
    return meet(params, jnp.sum(u, 0), random.normal(random.split(key)[1], (4,)))


@case(TIED)
def the_first_key_of_a_scan_is_used_again(params, key):
    def body(key, _):
        key, other = random.split(key)
        return key, random.normal(other, (N,))

    _, u = lax.scan(body, key, None, length=3)
    return meet(params, jnp.sum(u, 0), random.normal(random.split(key)[1], (N,)))


@case(FREE, keys=BOTH)
def what_nobody_reads_in_a_loop(params, key):
    first, other = random.split(key)

    def body(carry):
        count, _ = carry
        numbers = random.normal(first, (2,))
        lax.cond(count > 0, lambda: numbers, lambda: -numbers)
        lax.scan(lambda total, number: (total + number, total), 0.0, numbers)
        lax.while_loop(lambda total: total < 1, lambda total: total + 1, numbers[0])
        return count - 1, random.normal(first, (N,))

    _, u = lax.while_loop(lambda carry: carry[0] > 0, body, (3, jnp.zeros(N)))
    return meet(params, u, random.normal(other, (N,)))


@case(FREE, keys=BOTH)
def nothing_comes_out(params, key):
    keys = random.split(key)
    (first,) = jnp.concatenate([keys[:0], keys[:1]])
    u = random.normal(first, (N,))
    nothing = lax.cond(u[0] > 0, lambda: u[:0], lambda: random.normal(first, (0,)))
    return meet(params, u, random.normal(keys[1], (N,))) + jnp.sum(nothing)


@case(FROZEN, b=4)
def a_scan_does_not_always_derive_a_new_key(params, key):
    def body(key, count):
        new, other = random.split(key)
        return jnp.where(count < 2, new, key), random.normal(other, (N,))

    key, u = lax.scan(body, key, jnp.arange(3))
    return meet(params, jnp.sum(u, 0), random.normal(random.split(key)[1], (4,)))


@case(FROZEN, b=4)
def one_of_several_keys_in_a_scan_is_ahead_of_another(params, key):
    def body(keys, _):
        pairs = jax.vmap(random.split)(keys)
        return pairs[:, 0], jax.vmap(functools.partial(random.normal, shape=(N,)))(pairs[:, 1])

    keys, u = lax.scan(body, jnp.stack([key, random.split(key)[0]]), None, length=3)
    return meet(params, jnp.sum(u, (0, 1)), random.normal(random.split(keys[0])[1], (4,)))


@case(FROZEN, b=4)
def a_scan_ends_with_a_key_that_was_drawn_from(params, key):
    def body(key, _):
        other, _ = random.split(key)
        return other, random.normal(other, (N,))

    key, u = lax.scan(body, key, None, length=3)
    return meet(params, jnp.sum(u, 0), random.normal(key, (4,)))


@case(TIED)
def two_keys_change_places_in_a_scan(params, key):
    def body(keys, _):
        first, other = keys
        return (other, first), (random.normal(first, (N,)), random.normal(other, (N,)))

    _, (u, v) = lax.scan(body, tuple(random.split(key)), None, length=3)
    return meet(params, u[1] * u[2], v[0] + v[2])


@case(FREE, keys=BOTH)
def a_scan_over_keys(params, key):
    def body(total, keys):
        first, other = random.split(keys)
        return total, (random.normal(first, (N,)), random.normal(other, (N,)))

    _, (u, v) = lax.scan(body, 0.0, random.split(key, 3))
    return meet(params, jnp.prod(u, 0), jnp.sum(v, 0))


@case(FROZEN, b=4)
def a_key_of_a_scan_over_keys_is_used_again(params, key):
    keys = random.split(key, 3)
    _, u = lax.scan(lambda total, key: (total, random.normal(key, (N,))), 0.0, keys)
    return meet(params, jnp.prod(u, 0), random.normal(keys[2], (4,)))


@case(TIED)
def a_key_that_stays_the_same_in_a_scan_is_used_again(params, key):
    _, u = lax.scan(lambda total, x: (total, x * random.normal(key, (N,))), 0.0, jnp.ones(3))
    return meet(params, jnp.sum(u, 0), random.normal(key, (N,)))


@case(TIED)
def loop_counters_folded_in_by_two_loops(params, key):
    def draws():
        return lax.map(lambda i: random.normal(random.fold_in(key, i), (N,)), jnp.arange(3))

    return meet(params, jnp.prod(draws(), 0), jnp.sum(draws() * jnp.arange(3.0)[:, None], 0))


@case(FREE)
def an_inner_scan_and_on_after_it(params, key):
    def inner(key, _):
        key, other = random.split(key)
        return key, random.normal(other, (N,))

    def outer(key, _):
        key, other = random.split(key)
        _, u = lax.scan(inner, other, None, length=2)
        key, other = random.split(key)
        return key, (jnp.sum(u, 0), random.normal(other, (N,)))

    _, (u, v) = lax.scan(outer, key, None, length=2)
    return meet(params, u[0] * u[1], v[0] + v[1])


@case(TIED)
def an_inner_loop_begins_again_with_the_same_key(params, key):
    def inner(state):
        count, key, u = state
        key, other = random.split(key)
        return count - 1, key, u + random.normal(other, (N,))

    def outer(total, count):
        start = count, key, jnp.zeros(N)
        _, last, u = lax.while_loop(lambda state: state[0] > 0, inner, start)
        return total, (u, random.normal(random.split(last)[1], (N,)))

    _, (u, v) = lax.scan(outer, 0.0, jnp.arange(3))
    return meet(params, jnp.sum(u, 0), jnp.sum(v, 0))


@case(FREE, b=4, keys=BOTH)
def a_while_loop_and_on_after_it(params, key):
    def body(state):
        count, key, u = state
        key, other = random.split(key)
        return count + 1, key, u + random.normal(other, (N,))

    _, key, u = lax.while_loop(lambda s: jnp.sum(s[2]) < 3 + s[0], body, (0, key, jnp.zeros(N)))
    return meet(params, u, random.normal(random.split(key)[1], (4,)))


@case(FROZEN, b=4)
def the_test_of_a_while_loop_draws_from_the_key_that_its_body_drew_from(params, key):
    def goes_on(state):
        count, key, _ = state
        v = random.normal(random.split(key)[1], (4,))
        return jnp.sum(jnp.sin(params["b"] * v)) ** 2 + 2 > count

    def body(state):
        count, key, u = state
        key, _ = random.split(key)
        return count + 1, key, u + random.normal(random.split(key)[1], (N,))

    _, _, u = lax.while_loop(goes_on, body, (0, key, jnp.zeros(N)))
    return meet(params, u, jnp.ones(4))


@case(TIED)
def a_branch_draws_from_a_key_used_before(params, key):
    u = random.normal(key, (N,))
    draw = functools.partial(random.uniform, shape=(N,))
    v = lax.cond(jnp.sum(u) < 1e6, draw, lambda key: jnp.exp(draw(key)), key)
    return meet(params, u, v)


@case(FROZEN, b=4)
def the_branches_draw_different_shapes(params, key):
    def long(key):
        return jnp.sum(jnp.sin(params["a"] * random.normal(key, (N,))))

    def short(key):
        return jnp.sum(jnp.sin(params["b"] * random.normal(key, (4,))))

    total = jnp.sum(params["a"])
    return lax.cond(total < 1e6, long, short, key) + lax.cond(total > 1e6, long, short, key)


@case(TIED, keys=BOTH)
def a_branch_gives_a_key_used_before(params, key):
    first, other = random.split(key)
    chosen = lax.cond(jnp.sum(params["a"]) < 1e6, lambda: first, lambda: other)
    return meet(params, random.normal(first, (N,)), random.normal(chosen, (N,)))


@case(FREE)
def keys_mapped_over(params, key):
    keys = random.split(key, 2 * N)
    draw = jax.vmap(random.normal)
    return meet(params, draw(keys[:N]), draw(keys[N:]))


@case(FREE, keys=BOTH)
def rows_of_keys_that_were_split_by_a_map(params, key):
    keys = jax.vmap(random.split)(random.split(key, 3))
    return meet(params, random.normal(keys[0, 1], (N,)), random.normal(keys[2, 1], (N,)))


@case(TIED, keys=BOTH)
def the_same_keys_mapped_over_twice(params, key):
    draw = jax.vmap(random.normal)
    return meet(params, draw(random.split(key, N)), draw(random.split(key, N)) ** 2)


@case(FROZEN, b=4)
def some_of_the_keys_mapped_over(params, key):
    draw = jax.vmap(random.normal)
    return meet(params, draw(random.split(key, N)), draw(random.split(key, 4)))


@case(FREE, keys=(random.key(3, impl="rbg"),))
def one_rbg_key_after_the_other(params, key):
    key, first = random.split(key)
    return meet(params, random.normal(first, (N,)), random.normal(random.split(key)[0], (N,)))


@case(FROZEN, keys=(random.key(3, impl="rbg"),), provable=False)
def rbg_keys_mapped_over(params, key):
    keys = random.split(key, 4)
    draw = jax.vmap(functools.partial(random.normal, shape=(N,)))
    return meet(params, jnp.sum(draw(keys[:2]), 0), jnp.prod(draw(keys[2:]), 0))


@case(FROZEN, keys=(random.key(3, impl="unsafe_rbg"),), provable=False)
def keys_of_a_generator_that_derives_equal_keys(params, key):
    first = random.fold_in(random.fold_in(key, 1), 2)
    other = random.fold_in(random.fold_in(key, 2), 1)
    return meet(params, random.normal(first, (N,)), random.normal(other, (N,)))


@case(FREE, keys=BOTH)
def splits_of_keys_mapped_over(params, key):
    def both(key):
        first, other = random.split(key)
        return random.normal(first, (N,)), random.normal(other, (N,))

    u, v = jax.vmap(both)(random.split(key, 3))
    return meet(params, jnp.prod(u, 0), jnp.sum(v, 0))


@case(FREE)
def entries_of_gamma_variates(params, key):
    first, other = random.split(key)
    v = random.dirichlet(other, jnp.exp(params["b"]))
    return meet(params, random.gamma(first, jnp.exp(params["a"])), v * jnp.arange(1.0))


@case(FREE)
def gamma_variates_of_keys_mapped_over(params, key):
    first, other = random.split(key)
    u = jax.vmap(random.gamma)(random.split(first, N), jnp.exp(params["a"]))
    return meet(params, u, random.normal(other, (N,)))


@case(FROZEN, provable=False)
def gamma_variates_and_a_row_of_their_key(params, key):
    u = random.gamma(key, jnp.exp(params["a"]))
    return meet(params, u, random.normal(random.split(key, N)[2], (N,)))


@case(TIED, provable=False)
def poisson_variates(params, key):
    counts = random.poisson(key, jnp.exp(params["a"]) + jnp.exp(params["b"]))
    return meet(params, counts, jnp.ones(N))


@case(FREE)
def distributions_made_entry_by_entry(params, key):
    keys = random.split(key, 5)
    u = random.truncated_normal(keys[0], -1, 1, (N,)) + random.randint(keys[1], (N,), 0, 9)
    v = random.beta(keys[2], 2.0, 3.0, (N,)) + random.bernoulli(keys[3], 0.3, (N,))
    return meet(params, u, v + random.gumbel(keys[4], (N,)))


@case(FROZEN, provable=False)
def an_order_and_a_choice(params, key):
    first, other = random.split(key)
    v = random.categorical(other, jnp.broadcast_to(params["b"], (3, N)))
    return meet(params, random.permutation(first, N), v[0])


@case(FROZEN, provable=False)
def a_permutation_of_parameters(params, key):
    first, other = random.split(key)
    u = jnp.cumsum(random.permutation(first, params["a"]))
    return meet(params, u, random.choice(other, N, (N,), replace=False))


@case(TIED)
def draws_in_a_gradient_that_are_made_again(params, key):
    @jax.checkpoint
    def inner(scale):
        return meet({"a": scale * params["a"], "b": params["b"]}, random.normal(key, (N,)), 1.0)

    return jax.grad(inner)(1.1) + jnp.sum(jnp.cos(params["b"] * random.normal(key, (N,))))


@case(FREE)
def draws_in_a_gradient_under_remat(params, key):
    first, other = random.split(key)

    @jax.checkpoint
    def inner(scale):
        u, v = random.normal(first, (N,)), random.normal(other, (N,))
        return meet(jax.tree.map(lambda p: scale * p, params), u, v)

    return jax.grad(lambda scale: jnp.sin(inner(scale)))(1.1)
