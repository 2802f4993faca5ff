"""Optimizers on weight spaces with nested groups: whole updates commute with wreath products."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.optimizers.problems import MIXED, NOISE, NUM_STEPS, small_options
from unf_lopt import PermutationSpec, assert_equivariant, ecosystem
from unf_lopt.optimizers import OPTIMIZERS

# Heads joined with their widths and apart, in two orders; a router; a stack of layers with heads;
# a residual matrix of heads and widths.
SHAPES = {
    "embed": (5, 4),
    "joined": (4, 6),
    "joined_bias": (6,),
    "joined_out": (6, 4),
    "apart": (4, 2, 3),
    "apart_bias": (2, 3),
    "apart_out": (2, 3, 4),
    "turned": (3, 4, 2),
    "router": (4, 2),
    "pairs": (6, 6),
    "stack": (3, 4, 8),
    "stack_bias": (3, 8),
    "stack_apart": (3, 2, 4, 4),
    "stack_heads": (3, 2),
    "scale": (),
}
NAMES = {
    "embed": ("tokens", "stream"),
    "joined": ("stream", "heads*keys"),
    "joined_bias": ("heads*keys",),
    "joined_out": ("heads*keys", "stream"),
    "apart": ("stream", "h", "k"),
    "apart_bias": ("h", "k"),
    "apart_out": ("h", "k", "stream"),
    "turned": ("k", "stream", "h"),
    "router": ("stream", "h"),
    "pairs": ("heads*keys", "heads*keys"),
    "stack": ("layer", "stream", "lh*lk"),
    "stack_bias": ("layer", "lh*lk"),
    "stack_apart": ("layer", "lh", "stream", "lk"),
    "stack_heads": ("layer", "lh"),
    "scale": (),
}
NESTED = {"keys": "heads", "k": "h", "lk": ("layer", "lh"), "lh": "layer"}
OPTIONS = {
    "mixed_step": {"functional": 2, "directions": ("adam", "orthogonalized", "normalized")},
    "unf_controller": {
        "functional": 2,
        "hypergradient": True,
        "extents": True,
        "rows_and_columns": True,
        "directions": ("adam", "factored", "orthogonalized"),
    },
}


def tree(seed):
    generator = np.random.default_rng(seed)
    return {path: jnp.asarray(generator.normal(size=shape)) for path, shape in SHAPES.items()}


def spec():
    sizes = {"heads": 2, "keys": 3, "lh": 2, "lk": 4}
    return PermutationSpec.from_names(NAMES, tree(0), {"tokens", "layer"}, sizes, NESTED)


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "nfn"])
def test_three_steps_commute_with_permutations_of_each_heads_own(name):
    options = small_options(name) | OPTIONS.get(name, {})
    lopt = OPTIMIZERS[name](**options).bind(spec())
    generator = np.random.default_rng(0)
    theta = {
        part: jax.tree.map(
            lambda x, own=NOISE[part]: jnp.asarray(x + own * generator.normal(size=x.shape)), x
        )
        for part, x in lopt.init(jax.random.PRNGKey(0)).items()
    }
    optimizer = ecosystem.learned_optimizer(lopt).opt_fn(theta)
    update = jax.jit(functools.partial(optimizer.update, loss=jnp.ones(())))

    def three_steps(channels):
        params = jax.tree.map(lambda x: x[..., 0], channels)
        state = optimizer.init(params, num_steps=NUM_STEPS)
        for step in range(1, 4):
            state = update(state, jax.tree.map(lambda x, step=step: x[..., step], channels))
        return jax.tree.map(lambda x: x[..., None], state.params)

    features = jax.tree.map(lambda *leaves: np.stack(leaves, axis=-1), *map(tree, range(4)))
    for seed in range(3):
        key = jax.random.key(seed)
        assert_equivariant(three_steps, spec(), key, features=features, tolerance=1e-11)
    moved = three_steps(features)
    assert name not in MIXED or all(np.all(np.isfinite(x)) for x in jax.tree.leaves(moved))
