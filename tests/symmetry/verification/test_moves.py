"""Moves of entries: those of whole groups are what specs do, and membership is told exactly."""

import numpy as np
import pytest

from unf_lopt import PermutationSpec
from unf_lopt.symmetry.verification._moves import WeightSpace, random_permutation

# A product, a sum, a space twice in one tensor, and axes of one size that are not tied.
NAMES = {"w": ("x", "a*b"), "both": ("a + b + x", "a"), "square": ("b", "b"), "c": ("c",), "d": ()}
SIZES = {"x": 2, "a": 3, "b": 2, "c": 3}
SHAPES = {"w": (2, 6), "both": (7, 3), "square": (2, 2), "c": (3,), "d": ()}


@pytest.fixture(scope="module")
def space():
    tree = {path: np.zeros(shape) for path, shape in SHAPES.items()}
    spec = PermutationSpec.from_names(NAMES, tree, fixed={"x"}, sizes=SIZES)
    return WeightSpace(spec, range(len(spec.paths)))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def element(space, rng, groups):
    return {name: random_permutation(rng, space.spec.spaces[name]) for name in groups}


def test_a_group_move_does_what_the_spec_does(space, rng):
    tree = {path: rng.integers(99, size=shape) for path, shape in SHAPES.items()}
    permutation = element(space, rng, space.spec.groups)
    move = dict(zip(space.spec.paths, space.group_move(permutation), strict=True))
    expected = space.spec.permute(tree, permutation)
    for path, leaf in tree.items():
        moved = leaf if move[path] is None else np.take(leaf, move[path])
        np.testing.assert_array_equal(moved, expected[path], err_msg=path)


@pytest.mark.parametrize("group", "abc")
def test_permuting_all_axes_of_a_group_is_permuting_the_group(space, rng, group):
    permutation = element(space, rng, [group])
    axes = space.occurrences({group})
    for one, other in zip(
        space.group_move(permutation),
        space.partial_move(axes, permutation[group]),
        strict=True,
    ):
        assert (one is None) == (other is None)
        np.testing.assert_array_equal(one, other)


def test_elements_are_told_from_other_moves(space, rng):
    for groups in ("a", "b", "ab", "abc", ""):
        assert space.contains(space.group_move(element(space, rng, groups)))
    for group in "ab":
        for axis in space.occurrences({group}):
            move = space.partial_move([axis], random_permutation(rng, SIZES[group]))
            assert not space.contains(move)
            assert space.contains(move, ignored={axis.block})
            assert space.contains(space.without(move, {axis.block}))
    for axis in space.occurrences({"x"}):
        assert not space.contains(space.partial_move([axis], np.array([1, 0])))


def test_a_move_between_blocks_is_no_element(space):
    """The first two rows of ``both`` belong to a, the next to b: such a move mixes blocks."""
    move = [None] * len(space.spec.paths)
    number = space.spec.paths.index("both")
    move[number] = np.arange(21).reshape(7, 3)[[3, 1, 2, 0, 4, 5, 6]]
    assert not space.contains(move)
    square = space.spec.paths.index("square")
    shuffled = [None] * len(space.spec.paths)
    shuffled[square] = np.array([[0, 1], [3, 2]])
    assert not space.contains(shuffled)
