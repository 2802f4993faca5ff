"""Axes made of several spaces: reading, sizes, views, and what permutations do to them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unf_lopt import PermutationSpec, SpecError
from unf_lopt.symmetry import Axis, Product, Sum, _axes

SPACES = {"a": 2, "b": 3, "c": 4, "fixed": 2}


def axes(depth=2) -> st.SearchStrategy[Axis]:
    names = st.sampled_from(sorted(SPACES))
    if not depth:
        return names
    parts = st.lists(axes(depth - 1), min_size=2, max_size=3).map(tuple)
    return st.one_of(names, st.builds(Product, parts), st.builds(Sum, parts))


@st.composite
def composite_specs(draw):
    """One to three tensors whose axes are names, products and sums."""
    shapes = draw(st.lists(st.lists(axes(), max_size=2), min_size=1, max_size=3))
    names = {f"tensor_{i}": tuple(map(_axes.show, own)) for i, own in enumerate(shapes)}
    params = {
        path: jax.ShapeDtypeStruct(tuple(_axes.size_of(axis, SPACES) for axis in own), "float32")
        for path, own in zip(names, shapes, strict=True)
    }
    used = {space for own in shapes for axis in own for space in _axes.spaces_of(axis)}
    return PermutationSpec.from_names(names, params, {"fixed"} & used, SPACES)


def entries(spec):
    """Leaves with two channels in which every entry is unlike every other."""
    leaves, start = {}, 0
    for path, shape in zip(spec.paths, spec.shapes, strict=True):
        size = 2 * int(np.prod(shape, dtype=int))
        leaves[path] = np.arange(start, start + size).reshape(*shape, 2)
        start += size
    return leaves


@given(axes(3))
def test_text_round_trip(axis):
    again = _axes.parse(_axes.show(axis))
    assert _axes.show(again) == _axes.show(axis)
    assert list(_axes.spaces_of(again)) == list(_axes.spaces_of(axis))
    assert _axes.from_record(_axes.to_record(axis)) == axis


def test_what_people_write():
    assert _axes.parse("x + gate*hidden") == Sum(("x", Product(("gate", "hidden"))))
    assert _axes.parse("heads*(k + v)") == Product(("heads", Sum(("k", "v"))))
    assert _axes.parse("1") == Product(())
    assert _axes.parse("mlp/~/linear_0/b:0") == "mlp/~/linear_0/b:0"


@pytest.mark.parametrize("text", ["", "a +", "a b", "(a", "a)", "*a", "a ** b"])
def test_what_cannot_be_read(text):
    with pytest.raises(SpecError, match="axis "):
        _axes.parse(text)


@given(composite_specs())
def test_the_view_is_plain_and_there_is_a_way_back(spec):
    view = spec.view
    assert all(isinstance(axis, str) for own in view.spec.axes for axis in own)
    leaves = entries(spec)
    blocks, unflatten = view.flatten(leaves)
    assert tuple(block.shape[:-1] for block in blocks) == view.spec.shapes
    jax.tree.map(np.testing.assert_array_equal, unflatten(blocks), leaves)
    assert view.spec.view.spec is view.spec


@given(composite_specs(), st.integers(0, 99))
def test_the_view_moves_as_the_tree_does(spec, seed):
    rng = np.random.default_rng(seed)
    moved = {name: rng.permutation(size) for name, size in spec.groups.items()}
    leaves = entries(spec)
    outside = spec.view.flatten(spec.permute(leaves, moved))[0]
    blocks = dict(zip(spec.view.spec.paths, spec.view.flatten(leaves)[0], strict=True))
    known = {name: index for name, index in moved.items() if name in spec.view.spec.groups}
    inside = spec.view.spec.permute(blocks, known)
    for path, block in zip(spec.view.spec.paths, outside, strict=True):
        np.testing.assert_array_equal(block, inside[path])


@given(composite_specs())
def test_round_trips_and_canonical_names(spec):
    assert PermutationSpec.from_json(spec.to_json()) == spec
    renamed = spec.renamed(lambda name: f"other {name}")
    assert renamed != spec or not spec.sizes
    assert renamed.canonical() == spec.canonical()
    assert spec.canonical().canonical() == spec.canonical()


def test_sizes_that_shapes_do_not_tell():
    params = {"q": jnp.zeros((6, 8))}
    with pytest.raises(SpecError, match=r"'q' axis 1 is heads\*k of length 8.*sizes="):
        PermutationSpec.from_names({"q": ("d", "heads*k")}, params)
    spec = PermutationSpec.from_names({"q": ("d", "heads*k")}, params, sizes={"heads": 4})
    assert spec.groups == {"d": 6, "heads": 4, "k": 2}
    with pytest.raises(SpecError, match=r"length 8, but heads\*k has 6 with"):
        PermutationSpec.from_names({"q": ("d", "heads*k")}, params, sizes={"heads": 3})


def test_the_table_shows_products_and_sums():
    params = {"w": jnp.zeros((5, 12)), "scale": jnp.zeros((1, 3))}
    names = {"w": ("x + hidden", "gate*hidden"), "scale": ("1", "hidden")}
    spec = PermutationSpec.from_names(names, params, fixed={"gate", "x"})
    assert str(spec).splitlines() == [
        "parameter  shape  axes",
        "scale      1×3    1, hidden",
        "w          5×12   [x] + hidden, [gate]*hidden",
        "groups: hidden (3)",
    ]
