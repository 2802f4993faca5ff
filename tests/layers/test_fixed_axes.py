"""How layers treat fixed spaces: counts, what breaks the symmetry, and limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.layers.random_arrays import random_params, random_tree
from tests.strategies import compiling, from_axes, mlp_spec, specs
from unf_lopt import SpecError, SymmetryError, assert_equivariant, count_maps
from unf_lopt.layers import EquivariantLinear, TiedLinear, bell_number, reference
from unf_lopt.symmetry import PermutationSpec

LAYERS = [EquivariantLinear, TiedLinear]


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def few_maps(spec):
    return count_maps(spec, fixed_axes="free") <= 500


@given(
    specs(max_rank=3).filter(few_maps), st.sampled_from(["positional", "free"]), st.integers(0, 9)
)
@compiling
def test_fast_equals_definition(spec, fixed_axes, seed):
    layer = EquivariantLinear(spec, 2, fixed_axes=fixed_axes)
    params, features = random_params(layer, seed, 3), random_tree(spec, seed, 3)
    fast = jax.jit(layer.apply)(params, features)
    slow = reference.apply_by_definition(layer, params, features, xp=np)
    for path in spec.paths:
        scale = max(1.0, float(np.max(np.abs(slow[path]))))
        np.testing.assert_allclose(fast[path], slow[path], atol=1e-12 * scale, err_msg=path)


@given(
    specs(max_rank=3).filter(few_maps), st.sampled_from(["positional", "free"]), st.integers(0, 9)
)
@compiling
def test_groups_stay_symmetries(spec, fixed_axes, seed):
    layer = EquivariantLinear(spec, 2, fixed_axes=fixed_axes)
    params = random_params(layer, seed, 3)
    apply = jax.jit(lambda x: layer.apply(params, x))
    assert_equivariant(apply, spec, jax.random.key(seed), features=random_tree(spec, seed, 3))


@pytest.mark.parametrize("fixed_axes", ["exchangeable", "positional", "free"])
@pytest.mark.parametrize("make", LAYERS)
def test_only_exchangeable_treats_a_fixed_space_as_permutable(make, fixed_axes):
    if make is TiedLinear and fixed_axes == "free":
        pytest.skip("tied coefficients take no free axes")
    spec = mlp_spec((5, 4, 3))
    as_if_free = PermutationSpec(spec.paths, spec.axes, spec.sizes, frozenset())
    layer = make(spec, 2, fixed_axes=fixed_axes)
    params, features = random_params(layer, 0, 3), random_tree(spec, 0, 3)
    check = lambda: assert_equivariant(  # noqa: E731
        jax.jit(lambda x: layer.apply(params, x)), as_if_free, jax.random.key(0), features=features
    )
    if fixed_axes == "exchangeable":
        check()
    else:
        with pytest.raises(SymmetryError):
            check()


def dws_dimension(widths):
    """Dimension of the equivariant maps of an MLP's weights and biases, inputs and outputs fixed.

    Navon et al., arXiv 2301.12780: a fixed axis of size n multiplies the number of maps by n, a
    permutable one that k axes share gives Bell(k).
    """
    tensors = []
    for layer in range(len(widths) - 1):
        tensors += [(layer, layer + 1), (layer + 1,)]
    fixed = {0: widths[0], len(widths) - 1: widths[-1]}
    total = 0
    for output in tensors:
        for input_ in tensors:
            maps = 1
            for layer in range(len(widths)):
                count = output.count(layer) + input_.count(layer)
                maps *= fixed[layer] ** count if layer in fixed else bell_number(count)
            total += maps
    return total


@pytest.mark.parametrize("widths", [(5, 4, 3), (2, 4, 4, 3), (3, 5, 4, 5, 2)])
def test_free_axes_give_the_layer_of_dws_nets(widths):
    spec = mlp_spec(widths)
    assert count_maps(spec, fixed_axes="free") == dws_dimension(widths)
    layer = EquivariantLinear(spec, 1, fixed_axes="free", bias="none")
    shapes = layer.parameter_shapes(1).values()
    assert sum(int(np.prod(shape)) for shape in shapes) == dws_dimension(widths)


def test_rank_of_the_free_layer():
    spec = mlp_spec((2, 4, 2))
    layer = EquivariantLinear(spec, 1, fixed_axes="free", bias="none")
    zero = {name: np.zeros(shape) for name, shape in layer.parameter_shapes(1).items()}
    inputs = [random_tree(spec, seed, 1) for seed in range(20)]

    def outputs(params):
        applied = [layer.apply(params, features) for features in inputs]
        return jnp.concatenate([jnp.ravel(x) for x in jax.tree.leaves(applied)])

    stacked = jax.jit(jax.jacfwd(outputs))(zero)
    columns = [np.asarray(block).reshape(block.shape[0], -1) for block in stacked.values()]
    rank = np.linalg.matrix_rank(np.concatenate(columns, axis=1))
    assert rank == count_maps(spec, fixed_axes="free") == dws_dimension((2, 4, 2))


def test_too_many_maps_are_an_error_before_anything_is_made():
    spec = mlp_spec((784, 32, 10))
    with pytest.raises(SpecError, match=r"1,2\d\d,\d\d\d basis maps.*limit is 200,000.*positional"):
        EquivariantLinear(spec, 1, fixed_axes="free")
    with pytest.raises(SpecError, match=r"32 basis maps.*limit is 10\. Take coefficients=.tied"):
        EquivariantLinear(spec, 1, maps_limit=10)


def test_options():
    spec = from_axes({"w": ("a", "pixels")}, fixed={"pixels"})
    with pytest.raises(ValueError, match="fixed_axes='free' has coefficients for every index"):
        TiedLinear(spec, 1, fixed_axes="free")
    with pytest.raises(ValueError, match=r"fixed_axes='fre'.*positional"):
        count_maps(spec, fixed_axes="fre")
