"""From a task to its spec: declared by the task, or written by hand in a config."""

import gin
import jax
import jax.numpy as jnp
import pytest

from unf_lopt import ecosystem
from unf_lopt.symmetry import PermutationSpec, SpecError

_AXES = {"w": ("pixels", "hidden"), "b": ("hidden",)}
_SHAPES = {"w": (3, 5), "b": (5,)}


class Linear(ecosystem.Task):
    """Two parameters; a mean square."""

    def init(self, key):
        return {name: jax.random.normal(key, shape) for name, shape in _SHAPES.items()}

    def loss(self, params, key, data):
        del key, data
        return jnp.mean(jnp.square(params["w"])) + jnp.mean(jnp.square(params["b"]))


def by_hand():
    """The spec of these parameters, whatever the loss."""
    shapes = {name: jax.ShapeDtypeStruct(shape, "float32") for name, shape in _SHAPES.items()}
    return PermutationSpec.from_names(_AXES, shapes, fixed={"pixels"})


class Switching(ecosystem.TaskFamily):
    """Members with and without an operation in which the order of the units counts."""

    datasets = None

    def sample(self, key):
        return jax.random.randint(key, (), 0, 2)

    def task_fn(self, cfg):
        task = Linear()
        ordered = lambda params: jnp.sum(jnp.cumsum(params["b"]) ** 2)  # noqa: E731
        unordered = lambda params: jnp.sum(params["b"] ** 2)  # noqa: E731
        task.loss = lambda params, key, data: jax.lax.switch(
            cfg, (ordered, unordered), {"b": params["b"] + jnp.sum(params["w"] ** 2, axis=0)}
        )
        return task


class Averaging(ecosystem.Task):
    """A model state that is permuted with the parameters."""

    def init_with_state(self, key):
        return {"w": jnp.ones((3, 5)), "v": jnp.ones(5)}, {"mean": jnp.zeros(5)}

    def loss_with_state(self, params, state, key, data):
        hidden = jnp.tanh(jnp.sum(params["w"], axis=0)) - state["mean"]
        return jnp.sum(hidden * params["v"]), {"mean": 0.9 * state["mean"] + 0.1 * hidden}


def _family(task):
    return ecosystem.single_task_to_family(task)


@pytest.fixture(autouse=True)
def own_gin():
    yield
    gin.clear_config()


def test_no_more_is_fixed_than_the_loss_asks_for():
    spec = ecosystem.spec_of(_family(Linear()))
    assert list(spec.groups.values()) == [5, 3, 5]  # b and both axes of w, each for itself


def test_members_of_a_family_share_what_all_of_them_have():
    spec = ecosystem.spec_of(Switching())
    assert list(spec.groups.values()) == [3]
    assert "cumsum" in spec.explain("b", 0)


def test_model_state_moves_with_the_parameters():
    family = _family(Averaging())
    spec = ecosystem.spec_of(family)
    assert list(spec.groups.values()) == [5, 3]
    assert ecosystem.verify_spec_of(family, spec).certified


def test_a_task_without_data():
    family = _family(ecosystem.QuadraticTask())
    assert ecosystem.verify_spec_of(family, ecosystem.spec_of(family)).certified


def test_shapes_are_those_of_the_parameters_and_nothing_is_computed():
    class Counting(Linear):
        def init(self, key):
            assert isinstance(key, jax.core.Tracer)
            return super().init(key)

    shapes = ecosystem.params_shapes(_family(Counting()))
    assert {name: leaf.shape for name, leaf in shapes.items()} == _SHAPES
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in shapes.values())


def test_shapes_of_a_family_that_is_sampled():
    family = ecosystem.FixedDimQuadraticFamily(dim=7)
    leaves = jax.tree_util.tree_leaves(ecosystem.params_shapes(family))
    assert [leaf.shape for leaf in leaves] == [(7,)]


def test_a_spec_by_hand_from_a_config():
    gin.parse_config(f"""
        unf_lopt.spec_from_names.axes = {_AXES}
        spec_from_names.fixed = ["pixels"]
    """)
    assert ecosystem.spec_from_names(_family(Linear())) == by_hand()


def test_a_spec_by_hand_that_does_not_fit_is_refused():
    with pytest.raises(SpecError, match="w"):
        ecosystem.spec_from_names(_family(Linear()), {**_AXES, "w": ("hidden",)})
