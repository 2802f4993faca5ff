"""The spec: what it refuses, what it does to trees, and what survives a round trip."""

import pickle

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.layers.random_arrays import random_tree
from tests.strategies import mlp_spec, specs
from unf_lopt import (
    PermutationSpec,
    SpecError,
    SymmetryError,
    assert_equivariant,
    verify_spec,
    weights,
)

PARAMS = {"linear": {"w": jnp.zeros((5, 3)), "b": jnp.zeros(3)}, "scale": jnp.zeros(())}
LAYER = PermutationSpec.from_names({"w": ("in", "hidden")}, {"w": np.zeros((2, 3))}, fixed={"in"})
NAMES = {"linear": {"w": ("pixels", "hidden"), "b": ("hidden",)}, "scale": ()}


def test_from_names():
    spec = PermutationSpec.from_names(NAMES, PARAMS, fixed={"pixels"})
    assert spec.groups == {"hidden": 3}
    assert spec.spaces == {"hidden": 3, "pixels": 5}
    assert spec.paths == ("linear/b", "linear/w", "scale")
    assert spec.shapes == ((3,), (5, 3), ())


def test_shapes_are_enough():
    shapes = jax.eval_shape(lambda: PARAMS)
    assert PermutationSpec.from_names(NAMES, shapes) == PermutationSpec.from_names(NAMES, PARAMS)


@pytest.mark.parametrize(
    ("names", "fixed", "message"),
    [
        (
            {**NAMES, "linear": {"w": ("pixels", "hidden"), "b": ("pixels",)}},
            (),
            r"'pixels' has size",
        ),
        (
            {**NAMES, "linear": {"w": ("pixels",), "b": ("hidden",)}},
            (),
            r"'linear/w'.*2 axes.*1 names",
        ),
        ({**NAMES, "linear": {"w": ("pixels", "hidden")}}, (), r"only in params: \['linear/b'\]"),
        ({**NAMES, "extra": ("x",)}, (), r"only in the spec: \['extra'\]"),
        ({**NAMES, "linear": {"w": ("pixels", 1), "b": ("hidden",)}}, (), r"linear/w"),
        (NAMES, {"classes"}, r"no axis lies in \['classes'\].*hidden"),
        (NAMES, "pixels", r"collection of names"),
    ],
)
def test_contradictions_are_errors_that_name_the_parameter(names, fixed, message):
    with pytest.raises(SpecError, match=message):
        PermutationSpec.from_names(names, PARAMS, fixed=fixed)


def test_conflicting_sizes_name_both_places():
    names = {"linear": {"w": ("hidden", "hidden"), "b": ("hidden",)}, "scale": ()}
    with pytest.raises(SpecError, match=r"size 3 at 'linear/b' axis 0 but 5 at 'linear/w' axis 0"):
        PermutationSpec.from_names(names, PARAMS)


def test_nothing_to_permute():
    with pytest.raises(SpecError, match="no leaves"):
        PermutationSpec.from_names({}, {})
    with pytest.raises(SpecError, match="'w' has shape \\(0, 3\\)"):
        PermutationSpec.from_names({"w": ("a", "b")}, {"w": jnp.zeros((0, 3))})


def elements(spec, seed):
    """Two random ones of the group, as NumPy arrays."""
    generator = np.random.default_rng(seed)
    return [{n: generator.permutation(size) for n, size in spec.groups.items()} for _ in range(2)]


@given(specs(), st.integers(0, 99))
def test_permute_is_a_group_action(spec, seed):
    tree, first, second = random_tree(spec, seed, 2), *elements(spec, seed)
    one_by_one = spec.permute(spec.permute(tree, first), second)
    composed = {name: first[name][second[name]] for name in spec.groups}
    at_once = spec.permute(tree, composed)
    inverse = {name: np.argsort(index) for name, index in first.items()}
    back = spec.permute(spec.permute(tree, first), inverse)
    for path in spec.paths:
        np.testing.assert_array_equal(one_by_one[path], at_once[path])
        np.testing.assert_array_equal(back[path], tree[path])


@given(specs(), st.integers(0, 99), st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)))
def test_composition_and_inverse(spec, seed, some, others):
    """Of elements that need not name every group."""
    tree = random_tree(spec, seed, 2)
    first, second = (
        {name: index for n, (name, index) in enumerate(element.items()) if n in kept}
        for element, kept in zip(elements(spec, seed), (some, others), strict=True)
    )
    once = spec.permute(tree, spec.compose(first, second))
    twice = spec.permute(spec.permute(tree, first), second)
    back = spec.permute(twice, spec.compose(spec.inverse(second), spec.inverse(first)))
    for path in spec.paths:
        np.testing.assert_array_equal(once[path], twice[path])
        np.testing.assert_array_equal(back[path], tree[path])
    identity = spec.compose(first, spec.inverse(first))
    for name, index in identity.items():
        np.testing.assert_array_equal(index, np.arange(spec.groups[name]))


def test_composition_refuses_what_does_not_fit():
    spec = PermutationSpec.from_names(NAMES, PARAMS, fixed={"pixels"})
    with pytest.raises(SpecError, match=r"inverse\(.*'pixels' is not a group"):
        spec.inverse({"pixels": jnp.arange(5)})
    with pytest.raises(SpecError, match=r"compose\(.*shape \(4,\)"):
        spec.compose({}, {"hidden": jnp.arange(4)})


def test_permuted_entries_come_from_the_index():
    spec = PermutationSpec.from_names(NAMES, PARAMS, fixed={"pixels"})
    tree = {"linear": {"w": jnp.arange(15.0).reshape(5, 3), "b": jnp.arange(3.0)}, "scale": 1.0}
    permuted = spec.permute(tree, {"hidden": jnp.array([2, 0, 1])})
    np.testing.assert_array_equal(permuted["linear"]["b"], [2, 0, 1])
    np.testing.assert_array_equal(permuted["linear"]["w"][0], [2, 0, 1])


def test_permute_refuses_what_does_not_fit():
    spec = PermutationSpec.from_names(NAMES, PARAMS, fixed={"pixels"})
    with pytest.raises(SpecError, match=r"'pixels' is not a group.*hidden"):
        spec.permute(PARAMS, {"pixels": jnp.arange(5)})
    with pytest.raises(SpecError, match=r"shape \(4,\).*size 3"):
        spec.permute(PARAMS, {"hidden": jnp.arange(4)})
    with pytest.raises(SpecError, match=r"'linear/b' has shape \(4,\)"):
        spec.permute({**PARAMS, "linear": {"w": jnp.zeros((5, 3)), "b": jnp.zeros(4)}}, {})


@pytest.mark.parametrize(
    ("permutation", "message"),
    [
        ({"hidden": [0, 0, 0]}, "index of 'hidden' is no permutation: every number from 0 to 2"),
        ({"hidden": [1, 2, 3]}, "no permutation"),
        (jnp.arange(3), r"a dictionary, \{group: index array\}, not a"),
    ],
)
def test_what_is_no_permutation_is_refused(permutation, message):
    with pytest.raises(SpecError, match=message):
        LAYER.permute({"w": np.zeros((2, 3))}, permutation)


def test_an_index_may_be_a_list_or_traced():
    tree = {"w": np.arange(6.0).reshape(2, 3)}
    expected = tree["w"][:, [2, 0, 1]]
    np.testing.assert_array_equal(LAYER.permute(tree, {"hidden": [2, 0, 1]})["w"], expected)
    traced = jax.jit(LAYER.permute)(tree, {"hidden": jnp.array([2, 0, 1])})
    np.testing.assert_array_equal(traced["w"], expected)


def test_an_axis_is_told_by_its_position():
    with pytest.raises(SpecError, match=r"explain\('w', '1'\): 'w' has 2 axes"):
        LAYER.explain("w", "1")


@pytest.mark.parametrize("what", [verify_spec, weights.align])
def test_arguments_in_another_order_are_named(what):
    with pytest.raises(
        SpecError, match=r"spec must be a PermutationSpec, not a dict; .*infer_spec"
    ):
        what({"w": np.zeros((2, 3))}, {"w": np.zeros((2, 3))}, None)


@given(specs())
def test_round_trips(spec):
    assert PermutationSpec.from_json(spec.to_json()) == spec
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert hash(PermutationSpec.from_json(spec.to_json())) == hash(spec)
    assert jax.tree.leaves(spec) == []
    assert not spec.difference(spec)


def test_is_a_static_argument_of_jit():
    traces = []

    @jax.jit
    def count(spec, x):
        traces.append(spec)
        return x + len(spec.groups)

    assert count(mlp_spec((4, 3, 2)), 0) == count(mlp_spec((4, 3, 2)), 0) == 1
    assert len(traces) == 1
    assert count(mlp_spec((4, 3, 3, 2)), 0) == 2


def test_trees_of_any_container_keep_their_kind():
    spec = PermutationSpec.from_names(NAMES, PARAMS, fixed={"pixels"})
    frozen = hk.data_structures.to_haiku_dict(PARAMS["linear"])
    tree = {"linear": frozen, "scale": PARAMS["scale"]}
    permuted = spec.permute(tree, {"hidden": jnp.arange(3)})
    assert jax.tree.structure(permuted) == jax.tree.structure(tree)


def test_print_is_a_table():
    spec = PermutationSpec.from_names(NAMES, PARAMS, fixed={"pixels"})
    assert str(spec).splitlines() == [
        "parameter  shape   axes",
        "linear/b   3       hidden",
        "linear/w   5×3     [pixels], hidden",
        "scale      scalar",
        "groups: hidden (3)",
    ]


def test_difference_names_what_differs():
    wide, narrow = mlp_spec((4, 3, 2)), mlp_spec((4, 5, 2))
    assert wide.difference(narrow) == "size of 'space_1': 3 against 5"
    freer = mlp_spec((4, 3, 2), fixed=())
    assert "fixed" in wide.difference(freer)


def test_assert_equivariant_tells_law_breakers():
    spec = mlp_spec((4, 3, 2))
    assert_equivariant(lambda tree: jax.tree.map(jnp.sin, tree), spec, jax.random.key(0))

    def reverses(tree):
        return {**tree, "linear_0/b": tree["linear_0/b"][::-1]}

    with pytest.raises(SymmetryError, match="'linear_0/b'"):
        assert_equivariant(reverses, spec, jax.random.key(0))
    with pytest.raises(SymmetryError, match="nan"):
        assert_equivariant(
            lambda tree: jax.tree.map(lambda x: x * jnp.nan, tree), spec, jax.random.key(0)
        )
