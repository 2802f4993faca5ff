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


class Declared(Linear):
    """The same, with its symmetry."""

    def permutation_spec(self):
        shapes = {name: jax.ShapeDtypeStruct(shape, "float32") for name, shape in _SHAPES.items()}
        return PermutationSpec.from_names(_AXES, shapes, fixed={"pixels"})


def _family(task):
    return ecosystem.single_task_to_family(task)


@pytest.fixture(autouse=True)
def own_gin():
    yield
    gin.clear_config()


def test_a_declared_spec_is_found():
    spec = ecosystem.spec_of(_family(Declared()))
    assert spec == Declared().permutation_spec()
    assert spec.groups == {"hidden": 5}


def test_a_spec_may_be_an_attribute():
    task = Linear()
    task.permutation_spec = Declared().permutation_spec()
    assert ecosystem.spec_of(_family(task)) == task.permutation_spec


def test_a_task_without_spec_is_named_with_the_way_out():
    with pytest.raises(ValueError, match=r"task 'Linear'.*spec=PermutationSpec\.from_names"):
        ecosystem.spec_of(_family(Linear()))


def test_what_is_declared_has_to_be_a_spec():
    task = Linear()
    task.permutation_spec = _AXES
    with pytest.raises(TypeError, match="task 'Linear' is a dict"):
        ecosystem.spec_of(_family(task))


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
    assert ecosystem.spec_from_names(_family(Linear())) == Declared().permutation_spec()


def test_a_spec_by_hand_that_does_not_fit_is_refused():
    with pytest.raises(SpecError, match="w"):
        ecosystem.spec_from_names(_family(Linear()), {**_AXES, "w": ("hidden",)})
