"""Groups nested in other spaces: the action, its laws, and what is refused."""

import itertools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unf_lopt import PermutationSpec
from unf_lopt.symmetry import SpecError, random_features

PARAMS = {
    "joined": jnp.zeros((5, 6)),
    "apart": jnp.zeros((5, 2, 3)),
    "turned": jnp.zeros((3, 5, 2)),
    "sum": jnp.zeros((6 + 4, 2)),
    "pairs": jnp.zeros((6, 6)),
    "router": jnp.zeros((5, 2)),
    "layers": jnp.zeros((4, 2, 7)),
    "stack": jnp.zeros((4, 7, 2, 7)),
    "scalar": jnp.zeros(()),
}
NAMES = {
    "joined": ("stream", "heads*width"),
    "apart": ("stream", "heads", "width"),
    "turned": ("width", "stream", "heads"),
    "sum": ("heads*width + hidden", "two"),
    "pairs": ("heads*width", "heads*width"),
    "router": ("stream", "heads"),
    "layers": ("layer", "inner", "unit"),
    "stack": ("layer", "unit", "inner", "unit"),
    "scalar": (),
}
NESTED = {"unit": ("layer", "inner"), "width": "heads", "inner": "layer"}


def named(nested=NESTED):
    return PermutationSpec.from_names(NAMES, PARAMS, {"layer", "two"}, {"width": 3}, nested)


def tree(seed):
    return random_features(named(), jax.random.key(seed), 2)


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def by_loops(spec, x, axes, permutation):
    """A block's entries one by one, as the docstring says it."""
    result, spaces = np.empty_like(x), list(axes)
    for place in np.ndindex(x.shape[: len(axes)]):
        origin = []
        for position, space in enumerate(spaces):
            number = spaces[:position].count(space)
            outer = []
            for other in spec.nested.get(space, ()):
                own = [i for i, s in enumerate(spaces) if s == other]
                outer.append(place[own[number if len(own) > 1 else 0]])
            index = permutation.get(space, np.arange(10))
            origin.append(index[(*outer, place[position])])
        result[place] = x[tuple(origin)]
    return result


@pytest.mark.parametrize("seed", range(3))
def test_the_action_is_that_of_the_definition(seed):
    spec, given = named(), jax.device_get(tree(seed))
    permutation = jax.device_get(spec.sample(jax.random.key(seed)))
    moved = spec.view.flatten(spec.permute(given, permutation))[0]
    blocks, _ = spec.view.flatten(given)
    for block, axes, found in zip(blocks, spec.view.spec.axes, moved, strict=True):
        np.testing.assert_array_equal(found, by_loops(spec, block, axes, permutation))
    by_numpy = spec.permute(given, permutation)
    assert_same(by_numpy, spec.permute(tree(seed), jax.tree.map(jnp.asarray, permutation)))


@pytest.mark.parametrize("dropped", [(), ("heads",), ("width",), ("inner", "unit")])
def test_it_is_a_group(dropped):
    """Also where elements leave out outer or inner groups."""
    spec, given = named(), tree(0)
    first, second = (spec.sample(jax.random.key(seed)) for seed in (1, 2))
    second = {name: index for name, index in second.items() if name not in dropped}
    for a, b in ((first, second), (second, first)):
        in_turn = spec.permute(spec.permute(given, a), b)
        assert_same(in_turn, spec.permute(given, spec.compose(a, b)))
        undone = spec.compose(a, spec.inverse(a))
        assert_same(spec.permute(given, undone), given)
        assert_same(spec.compose(spec.inverse(a), a), undone)


def test_elements_of_the_sample_differ_between_outer_indices():
    spec = named()
    assert spec.index_shapes["unit"] == (4, 2, 7) and spec.index_shapes["heads"] == (2,)
    rows = spec.sample(jax.random.key(0))["unit"].reshape(-1, 7)
    assert len({tuple(row) for row in rows.tolist()}) > 1
    assert (jnp.sort(rows, -1) == jnp.arange(7)).all()


def test_one_permutation_for_all_outer_indices_is_that_of_the_spec_without_nesting():
    spec, plain = named(), named(None)
    assert plain.nesting == () and spec.nest({}) == plain != spec
    permutation = plain.sample(jax.random.key(0))
    same = {
        name: jnp.broadcast_to(index, spec.index_shapes[name])
        for name, index in permutation.items()
    }
    assert_same(spec.permute(tree(0), same), plain.permute(tree(0), permutation))


def test_permuting_works_under_transformations():
    spec = named()
    trees = jax.tree.map(lambda *leaves: jnp.stack(leaves), tree(0), tree(1))
    permutation = spec.sample(jax.random.key(0))
    batched = jax.jit(jax.vmap(spec.permute, in_axes=(0, None)))(trees, permutation)
    one = spec.permute(tree(1), permutation)
    assert_same(jax.tree.map(lambda x: x[1], batched), one)


def test_a_nested_spec_is_a_value():
    spec = named()
    assert spec == named() and hash(spec) == hash(named())
    assert PermutationSpec.from_json(spec.to_json()) == spec
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert '"nested"' not in spec.nest({}).to_json()
    turned = spec.aligned(tuple(reversed(spec.paths)))
    assert turned.nested == spec.nested
    renamed = spec.renamed(lambda name: f"the {name}")
    assert renamed.nested["the width"] == ("the heads",)
    assert renamed.canonical() == spec.canonical()
    assert "nested" in spec.difference(spec.nest({}))
    assert "width (3, of its own for each of heads)" in str(spec)
    assert spec.view.spec.nested == spec.nested


def test_the_group_has_the_size_of_a_wreath_product():
    """All elements of S_3 wr S_2, as they act: 3!² · 2."""
    spec = PermutationSpec.from_names(
        {"w": ("h*k",)}, {"w": jnp.zeros(6)}, (), {"k": 3}, {"k": "h"}
    )
    orders = list(itertools.permutations(range(3)))
    seen = {
        tuple(spec.permute({"w": np.arange(6)}, {"h": np.array(p), "k": np.array(q)})["w"].tolist())
        for p in ((0, 1), (1, 0))
        for q in itertools.product(orders, repeat=2)
    }
    assert len(seen) == 72


@pytest.mark.parametrize(
    "nested, message",
    [
        ({"width": "wheads"}, r"\['wheads'\] are no spaces"),
        ({"layer": "unit"}, "'layer' is fixed"),
        ({"width": ()}, "name one or more other spaces"),
        ({"width": "width"}, "name one or more other spaces"),
        ({"unit": "inner", "inner": "layer"}, r"nested in \['layer'\]; so must 'unit'"),
        ({"width": "heads", "heads": "width"}, "never in itself"),
        ({"heads": "width"}, "'router': 'heads' is nested in 'width', but axes"),
        (
            {"hidden": "heads"},
            "'sum': 'hidden' is nested in 'heads', but axes",
        ),
    ],
)
def test_what_is_no_nesting_is_refused(nested, message):
    with pytest.raises(SpecError, match=message):
        named(nested)


def test_other_indices_are_refused():
    spec = named()
    with pytest.raises(SpecError, match=r"nested in \('heads',\) and needs \(2, 3\)"):
        spec.permute(tree(0), {"width": jnp.arange(3)})
    with pytest.raises(SpecError, match="is no permutation"):
        spec.permute(tree(0), {"width": np.array([[0, 1, 2], [0, 1, 1]])})
    with pytest.raises(SpecError, match=r"groups are nested in \['layer'\]"):
        spec.distinguished({"layer"})
    with pytest.raises(SpecError, match="no spec that to_json wrote"):
        PermutationSpec.from_json(spec.to_json().replace('"width": ["heads"]', '"width": 3'))
