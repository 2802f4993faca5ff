"""What pooling keeps of a weight space, and fixed spaces whose indices are told apart."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import from_axes, specs
from unf_lopt.layers import count_maps, invariant_features
from unf_lopt.symmetry import SpecError, random_features

STATISTICS = ("mean", "rms", "max", "min")


@settings(max_examples=5)
@given(specs(max_rank=2), st.booleans(), st.integers(0, 9))
def test_pooling_is_invariant_and_of_the_promised_length(spec, keep_fixed, seed):
    with jax.enable_x64(True):
        features = random_features(spec, jax.random.key(seed), 2)
        permuted = spec.permute(features, spec.sample(jax.random.key(seed + 1)))
        one, other = (
            invariant_features(spec, tree, statistics=STATISTICS, keep_fixed=keep_fixed)
            for tree in (features, permuted)
        )
    np.testing.assert_allclose(one, other, atol=1e-14)
    kept = spec.fixed if keep_fixed else ()
    entries = [
        np.prod([spec.spaces[name] for name in axes if name in kept])
        for axes in spec.view.spec.axes
    ]
    assert one.shape == (len(STATISTICS) * 2 * int(sum(entries)),)


def test_kept_axes_tell_fixed_indices_apart():
    spec = from_axes({"w": ("a", "pixels"), "b": ("pixels",)}, fixed={"pixels"})
    x = random_features(spec, jax.random.key(0), 1)
    swapped = {"w": x["w"][:, ::-1], "b": x["b"][::-1]}

    def difference(**options):
        pooled = [invariant_features(spec, tree, **options) for tree in (x, swapped)]
        return float(np.max(np.abs(pooled[0] - pooled[1])))

    assert difference() < 1e-6
    assert difference(keep_fixed=True) > 0.1


@settings(max_examples=10)
@given(specs(max_rank=2))
def test_telling_all_fixed_indices_apart_is_what_free_axes_are(spec):
    own = spec.distinguished(spec.fixed)
    assert not own.fixed
    assert count_maps(own) == count_maps(spec, fixed_axes="free")


def test_one_of_two_fixed_spaces_is_told_apart():
    axes = {"w": ("a", "pixels"), "v": ("b", "a")}
    spec = from_axes(axes, fixed={"pixels", "b"})
    own = spec.distinguished({"pixels"})
    assert own.fixed == {"b"} and own.shapes == spec.shapes
    assert count_maps(spec) < count_maps(own) < count_maps(spec, fixed_axes="free")
    for spaces in ({"a"}, {"nothing"}, "pixels"):
        with pytest.raises(SpecError, match=r"fixed spaces.*'b', 'pixels'"):
            spec.distinguished(spaces)


@pytest.mark.parametrize("statistics", [(), "mean", ("mean", "median")])
def test_statistics_that_are_none(statistics):
    spec = from_axes({"w": ("a",)})
    features = random_features(spec, jax.random.key(0), 1)
    with pytest.raises(ValueError, match="'mean', 'rms', 'max', 'min'"):
        invariant_features(spec, features, statistics=statistics)
