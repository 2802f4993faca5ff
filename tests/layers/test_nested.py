"""Layers on weight spaces with nested groups: as many maps as orbits, and equivariant."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.symmetry.test_nesting import named, tree
from unf_lopt import PermutationSpec, assert_equivariant
from unf_lopt.layers import EquivariantLinear, TiedLinear, count_maps, untied
from unf_lopt.layers._plan import terms
from unf_lopt.layers.reference import apply_by_definition
from unf_lopt.symmetry import SpecError

NESTINGS = [
    {},
    {"width": "heads"},
    {"unit": ("layer", "inner"), "width": "heads", "inner": "layer"},
]


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def perturbed(params):
    generator = np.random.default_rng(0)
    return jax.tree.map(lambda x: x + jnp.asarray(generator.normal(size=x.shape)), params)


def orbits(spec):
    """How many orbits the group has on pairs of an output's and an input's entry.

    What Burnside's lemma counts: here by joining what generators take to each other.
    """
    views, total = spec.view.spec, 0
    moves = []
    for group, shape in spec.index_shapes.items():
        for row, i in itertools.product(np.ndindex(shape[:-1]), range(shape[-1] - 1)):
            index = np.broadcast_to(np.arange(shape[-1]), shape).copy()
            index[(*row, i)], index[(*row, i + 1)] = i + 1, i
            counts = {p: np.arange(np.prod(s, dtype=int)).reshape(s) for p, s in _shapes(views)}
            moves.append(views.permute(counts, {group: index}))
    for (one, a), (other, b) in itertools.product(_shapes(views), repeat=2):
        width = int(np.prod(b, dtype=int))
        labels = np.arange(int(np.prod(a, dtype=int)) * width)
        changed = True
        while changed:
            before = labels
            for move in moves:
                pairs = move[one].reshape(-1, 1) * width + move[other].reshape(1, -1)
                moved = np.minimum(labels, labels[pairs.reshape(-1)])
                labels = moved
            changed = bool((labels != before).any())
        total += len(set(labels.tolist()))
    return total


def _shapes(spec):
    return list(zip(spec.paths, spec.shapes, strict=True))


@pytest.mark.parametrize(
    "names, params, fixed, sizes, nested",
    [
        (
            {"w": ("out", "h*k"), "b": ("h", "k")},
            {"w": (2, 4), "b": (2, 2)},
            (),
            {"k": 2},
            {"k": "h"},
        ),
        ({"w": ("h", "k", "j"), "v": ("h",)}, {"w": (2, 2, 3), "v": (2,)}, (), {}, {"k": "h"}),
        ({"w": ("h", "k", "k")}, {"w": (2, 4, 4)}, (), {}, {"k": "h"}),
        pytest.param(
            {"w": ("h*k", "h*k")},
            {"w": (16, 16)},
            (),
            {"k": 4},
            {"k": "h"},
            marks=pytest.mark.slow,
        ),
        (
            {"w": ("e", "h", "k"), "b": ("e", "h")},
            {"w": (2, 2, 3), "b": (2, 2)},
            (),
            {},
            {"k": ("e", "h"), "h": "e"},
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_nested", [True, False])
def test_there_are_as_many_maps_as_orbits(names, params, fixed, sizes, nested, is_nested):
    arrays = {path: np.zeros(shape) for path, shape in params.items()}
    spec = PermutationSpec.from_names(names, arrays, fixed, sizes, nested if is_nested else None)
    plan = EquivariantLinear(spec, 1).plan
    count = sum(len(features) * len(slots) for features, slots in plan.buckets.values())
    assert count == count_maps(spec) == len(list(terms(plan.spec))) == orbits(spec)


@pytest.mark.parametrize("nested", NESTINGS)
@pytest.mark.parametrize("bias", ["tensor", "full"])
def test_the_full_layer_is_equivariant_and_as_defined(nested, bias):
    spec = named(nested)
    layer = EquivariantLinear(spec, 2, bias=bias)
    found = {layer.plan.locate(term) for term in terms(layer.plan.spec)}
    assert len(found) == count_maps(spec)  # every map has a place of its own
    params = perturbed(layer.init(jax.random.key(0), 2))
    for seed in range(2):
        key = jax.random.key(seed)
        assert_equivariant(lambda x: layer.apply(params, x), spec, key, channels=2)
    if bias == "full":
        features = jax.device_get(tree(0))
        defined = apply_by_definition(layer, jax.device_get(params), features, xp=np)
        for path, x in layer.apply(params, features).items():
            np.testing.assert_allclose(x, defined[path], atol=1e-10)


@pytest.mark.parametrize("nested", NESTINGS)
@pytest.mark.parametrize("cross_terms", [False, True])
def test_the_tied_layer_is_equivariant_and_a_full_one(nested, cross_terms):
    spec = named(nested)
    layer = TiedLinear(spec, 2, cross_terms=cross_terms)
    params = perturbed(layer.init(jax.random.key(0), 2))
    for seed in range(2):
        key = jax.random.key(seed)
        assert_equivariant(lambda x: layer.apply(params, x), spec, key, channels=2)
    full, full_params = untied(layer, params)
    expected = full.apply(full_params, tree(0))
    for path, x in layer.apply(params, tree(0)).items():
        np.testing.assert_allclose(x, expected[path], atol=1e-12)


def test_a_layer_without_nesting_is_not_equivariant_to_permutations_of_each_heads_own():
    plain, spec = named({}), named({"width": "heads"})
    layer = EquivariantLinear(plain, 2)
    params = perturbed(layer.init(jax.random.key(0), 2))
    with pytest.raises(ValueError, match="not equivariant"):
        assert_equivariant(lambda x: layer.apply(params, x), spec, jax.random.key(0), channels=2)


def test_free_axes_that_groups_are_nested_in_are_refused():
    with pytest.raises(SpecError, match=r"groups are nested in \['layer'\]"):
        EquivariantLinear(named(), 1, fixed_axes="free")
