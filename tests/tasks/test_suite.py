"""The suites: what every line of them has to be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unf_lopt import ecosystem
from unf_lopt.ecosystem import params_shapes, spec_of
from unf_lopt.tasks.image_cnn import digits_cnn
from unf_lopt.tasks.image_mlp import digits_mlp
from unf_lopt.tasks.rnn_lm import docs_rnn
from unf_lopt.tasks.suite import (
    HELD_OUT,
    LARGE,
    TRAINING,
    held_out,
    suite_family,
    training_suite,
)
from unf_lopt.tasks.transformer_lm import docs_transformer

SUITES = {"held out": HELD_OUT, "large": LARGE, "training": TRAINING}
# Parameters: what keeps the suites short.
LARGEST = {"held out": 50_000, "large": 4_000_000, "training": 250_000}

WITHOUT_GROUPS = "digits_linear", "linear_4x4", "quadratic_10", "quadratic_noisy_16"
# Groups of permutations that are known beforehand.
KNOWN = {
    "digits_linear": [],
    "digits_mlp_128_relu": [128],
    "digits_mlp_24x5_relu": [24] * 5,
    "digits_mlp_residual": [32],
    "digits_experts_4x16": [4, 16],
    "bytes_transformer_8heads": [6, 6, 8, 48, 96],
}


def shapes_of(family):
    return sorted(x.shape for x in jax.tree.leaves(params_shapes(family)))


def test_there_are_thirty_and_none_is_a_task_that_optimizers_are_trained_on():
    assert len(HELD_OUT) >= 30
    offline = digits_mlp(), digits_cnn(), docs_rnn(), docs_transformer()
    families = [*map(ecosystem.single_task_to_family, offline), *training_suite()]
    trained_on = list(map(shapes_of, families))
    held = [suite_family(name, suite) for suite in (HELD_OUT, LARGE) for name in suite]
    assert not [family.name for family in held if shapes_of(family) in trained_on]


@pytest.mark.parametrize(
    ("which", "name"), [(which, name) for which, suite in SUITES.items() for name in suite]
)
def test_every_line_has_a_spec_a_finite_loss_and_a_finite_gradient(which, name):
    family = suite_family(name, SUITES[which])
    assert family.name == name
    assert ecosystem.positions(family.datasets) is not None  # the same batches for everyone
    shapes = params_shapes(family)
    assert sum(x.size for x in jax.tree.leaves(shapes)) <= LARGEST[which]
    spec = spec_of(family)
    assert [tuple(x.shape) for x in jax.tree.leaves(shapes)] == list(spec.shapes)
    assert bool(spec.groups) == (name not in WITHOUT_GROUPS)
    batch = ecosystem.batch_apart(family.datasets)

    # Initial parameters are only traced, for their shapes: to compile them takes longest.
    draw = np.random.default_rng(0)
    params = jax.tree.map(lambda x: draw.normal(scale=0.3, size=x.shape).astype(x.dtype), shapes)

    @jax.jit
    def loss_and_gradient(params, batch, key):
        task = family.task_fn(family.sample(key))
        return jax.value_and_grad(task.loss)(params, key, batch)

    loss, gradient = loss_and_gradient(params, batch, jax.random.PRNGKey(0))
    assert np.isfinite(loss) and loss > 0
    norms = [jnp.abs(leaf).max() for leaf in jax.tree.leaves(gradient)]
    assert np.all(np.isfinite(norms)) and max(norms) > 0


@pytest.mark.parametrize("name", KNOWN)
def test_symmetries_that_are_known_are_found(name):
    sizes = spec_of(suite_family(name)).groups.values()
    assert sorted(size for size in sizes if size > 1) == sorted(KNOWN[name])


def test_lines_are_selected_by_name_and_pattern():
    names = [family.name for family in held_out(("bytes_lstm_*", "quadratic_10"))]
    assert names == ["bytes_lstm_32", "bytes_lstm_24x24", "quadratic_10"]
    assert [family.name for family in held_out()] == list(HELD_OUT)
    with pytest.raises(ValueError, match=r"only='mlp_\*'.*digits_linear"):
        held_out(("mlp_*",))
    assert [family.name for family in held_out(large=True)] == list(LARGE)
    assert [family.name for family in training_suite()] == list(TRAINING)
    with pytest.raises(ValueError, match=r"only='bytes_\*'.*bigram"):
        training_suite(("bytes_*",))
