"""The paper's MLP on digits: a task of the ecosystem, trainable, with the symmetry it declares."""

import gin
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.strategies import haiku_mlp_spec
from unf_lopt import ecosystem
from unf_lopt.tasks import image_mlp

KEY = jax.random.PRNGKey(0)


@pytest.fixture(scope="module")
def task():
    return image_mlp.ImageMLP_Digits8_Relu32()


@pytest.fixture(scope="module")
def reference(task):
    """The ecosystem's own class for such tasks, on the same data."""
    ecosystem_tasks = ecosystem.load("tasks.fixed.image_mlp")
    return ecosystem_tasks._MLPImageTask(task.datasets, [32])


@pytest.fixture
def clean_gin():
    gin.clear_config()
    yield
    gin.clear_config()


def shapes(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)


def test_the_ecosystem_accepts_it(task):
    family = ecosystem.single_task_to_family(task)
    ecosystem.load("tasks.test_utils").smoketest_task_family(family)


def test_it_is_the_ecosystems_image_mlp(task, reference):
    params = reference.init(KEY)
    assert shapes(task.init(KEY)) == shapes(params)
    batch = task.datasets.train.batch(0)
    np.testing.assert_allclose(
        task.loss(params, KEY, batch), reference.loss(params, KEY, batch), rtol=1e-6
    )
    losses = jnp.asarray([0.0, 1.0, 3.4, 3.5, -1.0, jnp.inf, jnp.nan])
    np.testing.assert_allclose(task.normalizer(losses), reference.normalizer(losses), rtol=1e-6)


@pytest.mark.parametrize("hidden_sizes", [(32,), (12, 7), ()])
@pytest.mark.parametrize(("x64", "tolerance"), [(False, 1e-6), (True, 1e-12)])
def test_the_spec_is_a_symmetry_of_the_loss(hidden_sizes, x64, tolerance):
    with jax.enable_x64(x64):
        task = image_mlp.digits_mlp(hidden_sizes)
        spec = haiku_mlp_spec(jax.eval_shape(task.init, KEY))
        assert list(spec.groups.values()) == list(hidden_sizes)
        dtype = jnp.float64 if x64 else jnp.float32
        random = np.random.default_rng(0)
        # Not as initialized, where biases are zero and a wrong axis of theirs would not show.
        params = jax.tree.map(
            lambda leaf: jnp.asarray(random.normal(size=leaf.shape), dtype),
            jax.eval_shape(task.init, KEY),
        )
        permutation = {group: random.permutation(size) for group, size in spec.groups.items()}
        permuted = jax.jit(spec.permute)(params, permutation)
        batch = task.datasets.train.batch(0)
        loss = jax.jit(task.loss)
        before, after = (loss(tree, KEY, batch) for tree in (params, permuted))
        assert before.dtype == dtype
        np.testing.assert_allclose(after, before, rtol=tolerance)
        moved = jax.tree.leaves(jax.tree.map(lambda a, b: bool((a != b).any()), params, permuted))
        assert any(moved) == bool(hidden_sizes)


def test_pixels_and_classes_are_fixed_for_a_reason(task):
    params = jax.tree.map(lambda leaf: leaf + 0.1, task.init(KEY))
    batch = task.datasets.train.batch(0)
    for layer, axis in (("mlp/~/linear_0", 0), ("mlp/~/linear_1", 1)):
        weights = jnp.flip(params[layer]["w"], axis)
        other = {**params, layer: {**params[layer], "w": weights}}
        assert abs(task.loss(other, KEY, batch) - task.loss(params, KEY, batch)) > 1e-3


def test_the_spec_is_found_from_the_loss(task):
    family = image_mlp.digits_mlp_family()
    before = ecosystem.positions(family.datasets)
    found = ecosystem.spec_of(family)
    assert found.canonical() == haiku_mlp_spec(jax.eval_shape(task.init, KEY)).canonical()
    assert found.groups == {"mlp/~/linear_0/b:0": 32}
    assert ecosystem.verify_spec_of(family, found).certified
    assert ecosystem.positions(family.datasets) == before  # no batch of theirs was read


def test_each_task_has_readers_of_its_own(task):
    before = ecosystem.positions(task.datasets)
    other = image_mlp.ImageMLP_Digits8_Relu32(data_seed=1)
    assert not np.array_equal(
        next(other.datasets.train)["label"], task.datasets.train.batch(0)["label"]
    )
    assert ecosystem.positions(task.datasets) == before
    assert ecosystem.positions(other.datasets)["train"] == 1


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ("single_task_to_family.task = @ImageMLP_Digits8_Relu32()", "ImageMLP_Digits8_Relu32"),
        (
            "single_task_to_family.task = @unf_lopt.digits_mlp()\n"
            "digits_mlp.hidden_sizes = (16, 8)",
            "ImageMLP_Digits8_Relu16x8",
        ),
    ],
)
def test_gin_chooses_the_task(clean_gin, config, name):
    gin.parse_config(config)
    family = ecosystem.single_task_to_family()
    assert family.name == name
    assert family.task_fn(family.sample(KEY)).name == name


def test_gin_chooses_the_family(clean_gin):
    gin.parse_config(
        "sample_single_task_family.task_family = @digits_mlp_family()\n"
        "digits_mlp_family.hidden_sizes = [5]"
    )
    family = ecosystem.sample_single_task_family(KEY)
    assert list(ecosystem.spec_of(family).groups.values()) == [5]


@pytest.mark.parametrize("hidden_sizes", [(0,), (32.0,), ("32",)])
def test_widths_that_are_none_are_an_error(hidden_sizes):
    with pytest.raises(ValueError, match="positive integers, such as"):
        image_mlp.digits_mlp(hidden_sizes)
