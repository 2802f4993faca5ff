"""Random draws inside a loss, from keys that are data."""

from __future__ import annotations

import jax
import jax.extend
import jax.numpy as jnp
from jax import lax

from tests.symmetry.inference.builder import Builder
from tests.symmetry.inference.operations.registry import operation


@operation("random_bits", "random_seed", "random_wrap", "random_unwrap", "random_split")
def noise(builder: Builder) -> None:
    array = builder.array()
    first, second = jax.random.split(jax.random.key(builder.integer(0, 9)))
    builder.add(array + jax.random.normal(first, array.shape))
    builder.add(
        array
        * jax.random.bernoulli(
            jax.random.wrap_key_data(jax.random.key_data(second)), 0.5, array.shape
        )
    )


@operation("random_fold_in", "random_clone", "random_gamma")
def more_noise(builder: Builder) -> None:
    array = builder.positive(rank=(1, 2))
    key = jax.random.clone(jax.random.fold_in(jax.random.key(3), builder.integer(0, 9)))
    builder.add(jax.random.gamma(key, array))


@operation("random_wrap", "random_bits")
def raw_keys(builder: Builder) -> None:
    array = builder.array(rank=(1, 2))
    builder.add(array * jax.random.uniform(jax.random.PRNGKey(5), array.shape))


@operation("threefry2x32", "split")
def threefry(builder: Builder) -> None:
    array = builder.array(rank=1)
    counts = jnp.arange(array.size, dtype=jnp.uint32)
    bits = jax.extend.random.threefry_2x32(jnp.arange(2, dtype=jnp.uint32), counts)
    builder.add(array * bits.astype(jnp.float64))


@operation("rng_bit_generator", "rng_uniform")
def generators(builder: Builder) -> None:
    array = builder.array(rank=(1, 2))
    key = jnp.arange(4, dtype=jnp.uint32)
    _, bits = lax.rng_bit_generator(key, array.shape)
    uniform = lax.rng_uniform(0.0, 1.0, array.shape)
    builder.add(array * bits.astype(jnp.float64), array * uniform)


@operation("random_bits", "random_split")
def noise_in_a_batch(builder: Builder) -> None:
    array = builder.array(rank=2)
    keys = jax.random.split(jax.random.key(1), array.shape[0])
    builder.add(jax.vmap(lambda key, x: x + jax.random.normal(key, x.shape))(keys, array))
