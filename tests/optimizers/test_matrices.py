"""What parameters are for and how they are seen as matrices."""

import jax
import numpy as np
import pytest

from tests.optimizers.problems import CHAIN
from tests.optimizers.weight_spaces import mixed_spec, random_tree
from unf_lopt.optimizers.matrices import USUAL, Block, matrices_by_shape, matrices_of
from unf_lopt.symmetry import SpecError

SPEC = mixed_spec()
MATRICES = matrices_of(SPEC)
EXPECTED = {
    "embed": ("embedding", [(1, 9, 4)]),
    "query": ("hidden", [(2, 4, 3)]),
    "query_bias": ("vector", []),
    "attended": ("hidden", [(2, 5, 4)]),
    "split_query": ("hidden", [(2, 4, 3)]),
    "split_query_bias": ("vector", []),
    "split_attended": ("hidden", [(2, 3, 4)]),
    "gates": ("hidden", [(1, 4, 5)] * 4 + [(1, 5, 5)] * 4),
    "gates_bias": ("vector", []),
    "recurrent": ("hidden", [(1, 5, 5)]),
    "start": ("vector", []),
    "pixels": ("embedding", [(1, 9, 6)]),
    "kernel": ("hidden", [(1, 54, 4)]),
    "upsampled": ("hidden", [(1, 4, 6)]),
    "flat": ("hidden", [(1, 18, 4)]),
    "flat_kernel": ("embedding", [(1, 9, 3)]),
    "experts": ("hidden", [(3, 4, 7)]),
    "experts_out": ("hidden", [(3, 7, 4)]),
    "logits": ("last", [(1, 4, 8)]),
    "logits_bias": ("vector", []),
    "temperature": ("vector", []),
}


@pytest.mark.parametrize("path", EXPECTED)
def test_role_and_matrices(path):
    index = MATRICES.paths.index(path)
    found = MATRICES.roles[index], [block.matrices for block in MATRICES.blocks[index]]
    assert found == EXPECTED[path]


def test_rows_columns_and_window_of_a_matrix():
    extents = dict(zip(MATRICES.paths, np.exp(MATRICES.log_extents) * USUAL, strict=True))
    np.testing.assert_allclose(extents["kernel"], (54, 4, 9))
    np.testing.assert_allclose(extents["flat_kernel"], (9, 3, 9))
    np.testing.assert_allclose(extents["pixels"], (9, 6, 9))
    np.testing.assert_allclose(extents["embed"], (9, 4, 1))
    np.testing.assert_allclose(extents["flat"], (18, 4, 1))
    np.testing.assert_allclose(extents["query"], (4, 3, 1))  # of one head
    np.testing.assert_allclose(extents["gates"], (4, 5, 1))  # of the first gate
    np.testing.assert_allclose(extents["logits_bias"], USUAL)  # a vector's say nothing


def test_dense_is_what_is_neither_a_window_nor_a_head():
    dense = {
        p for p, own in zip(MATRICES.paths, MATRICES.blocks, strict=True) if own and own[0].is_dense
    }
    assert {"embed", "gates", "recurrent", "logits"} <= dense
    assert dense.isdisjoint({"kernel", "flat_kernel", "query", "attended", "experts"})


def test_names_are_not_asked():
    renamed = matrices_of(SPEC.canonical())
    assert renamed.roles == MATRICES.roles
    assert renamed.blocks == MATRICES.blocks


def test_heads_are_rows_or_columns_on_request():
    whole = matrices_of(SPEC, heads=False)
    shapes = dict(zip(whole.paths, whole.blocks, strict=True))
    assert shapes["query"][0].matrices == (1, 4, 6)
    assert shapes["attended"][0].matrices == (1, 10, 4)
    assert shapes["experts"][0].matrices == (1, 12, 7)


def test_without_a_spec_shapes_decide():
    tree = random_tree(0)
    matrices = matrices_by_shape(tree)
    roles = dict(zip(matrices.paths, matrices.roles, strict=True))
    assert roles["logits"] == roles["embed"] == "hidden"
    assert roles["start"] == roles["temperature"] == roles["logits_bias"] == "vector"
    assert all(b.copies == () for blocks in matrices.blocks for b in blocks)


@pytest.mark.parametrize("matrices", [MATRICES, matrices_by_shape(random_tree(0))])
def test_mapping_by_the_identity_changes_nothing(matrices):
    tree = random_tree(1)
    leaves, unflatten = matrices.flatten(tree)
    same = unflatten(matrices.map(lambda batches: batches, leaves))
    jax.tree.map(np.testing.assert_array_equal, same, tree)


def test_mapping_reaches_every_entry_of_a_matrix_once():
    leaves, _ = MATRICES.flatten(random_tree(1))
    doubled = MATRICES.map(lambda batches: [2 * x for x in batches], leaves)
    for role, x, y in zip(MATRICES.roles, leaves, doubled, strict=True):
        np.testing.assert_array_equal(y, x if role == "vector" else 2 * x)


def test_rows_of_a_head_are_what_feeds_it():
    tree = random_tree(1)
    block = MATRICES.blocks[MATRICES.paths.index("query")][0]
    heads = block.batch(tree["query"].reshape(4, 2, 3))
    np.testing.assert_array_equal(heads[1], tree["query"][:, 3:])


def test_a_column_axis_is_longer_than_one():
    (blocks,) = matrices_by_shape({"w": np.zeros((3, 5, 1))}).blocks
    assert blocks == (Block((3, 5, 1), columns=(1,)),)
    assert blocks[0].matrices == (1, 3, 5)


def test_another_tree_is_an_error():
    with pytest.raises(SpecError):
        MATRICES.flatten(CHAIN.random(0))
    with pytest.raises(ValueError, match="not the parameters'"):
        matrices_by_shape(random_tree(0)).flatten(CHAIN.random(0))
