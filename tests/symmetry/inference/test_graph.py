"""The axis graph against a model of it: all permutations of few small axes, one by one.

A history is a list of operations on axes. The model runs it on numbers: given a permutation of
every axis that the history starts from, it computes how every other axis is permuted, and says
whether what was asked for holds. The graph is right if all that it leaves free passes, and as
free as can be if nothing else passes.
"""

import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from unf_lopt.symmetry.inference._graph import LEAF, SUM, AxisGraph

MOST_PERMUTATIONS = 150
MOST_ENTRIES = 12


class Impossible(Exception):
    """A permutation that a history does not allow."""


# ------------------------------------------------------------------------------------- the model
def product_of(left, right):
    return np.add.outer(left * len(right), right).reshape(-1)


def sum_of(left, right):
    return np.concatenate([left, right + len(left)])


def model(history, permutations):
    """The permutation of every axis of a history, in order."""
    axes = [np.asarray(permutation) for permutation in permutations]
    for name, *arguments in history:
        if name in ("product", "sum"):
            left, right = (axes[n] for n in arguments)
            axes.append(product_of(left, right) if name == "product" else sum_of(left, right))
        elif name == "unify":
            require((axes[arguments[0]] == axes[arguments[1]]).all())
        elif name == "freeze":
            require((axes[arguments[0]] == np.arange(len(axes[arguments[0]]))).all())
        else:
            number, sizes = arguments
            split = split_product if name == "split_product" else split_sum
            axes += split(axes[number], sizes)
    return axes


def require(condition):
    if not condition:
        raise Impossible


def split_product(index, sizes):
    major, minor = sizes
    left, right = index[::minor] // minor, index[:minor] % minor
    require(sorted(left) == list(range(major)) and sorted(right) == list(range(minor)))
    require((product_of(left, right) == index).all())
    return [left, right]


def split_sum(index, sizes):
    first, _ = sizes
    left, right = index[:first], index[first:] - first
    require((left < first).all() and (right >= 0).all())
    return [left, right]


def allowed(sizes, history):
    """Every choice of permutations that the model lets pass."""
    found = set()
    for permutations in itertools.product(*map(permutations_of, sizes)):
        try:
            model(history, permutations)
        except Impossible:
            continue
        found.add(permutations)
    return found


def permutations_of(size):
    return list(itertools.permutations(range(size)))


# ------------------------------------------------------------------------------------- the graph
def run(sizes, history):
    """The graph after a history, and the nodes of its axes in order."""
    graph = AxisGraph()
    nodes = [graph.leaf(size) for size in sizes]
    for name, *arguments in history:
        if name in ("product", "sum"):
            nodes.append(getattr(graph, name)([nodes[n] for n in arguments]))
        elif name == "unify":
            graph.unify(*(nodes[n] for n in arguments))
        elif name == "freeze":
            graph.freeze(nodes[arguments[0]])
        else:
            number, parts = arguments
            nodes += getattr(graph, name)(nodes[number], parts)
    return graph, nodes


def index_of(node, drawn):
    node = node.find()
    if node.kind is LEAF:
        return drawn.get(node, np.arange(node.size))
    combine = sum_of if node.kind is SUM else product_of
    total = np.zeros(0 if node.kind is SUM else 1, int)
    for part in node.parts:
        total = combine(total, index_of(part, drawn))
    return total


def free_leaves(graph, nodes):
    return list(
        dict.fromkeys(
            leaf for n in nodes for leaf in graph.leaves(n) if not leaf.frozen and leaf.size > 1
        )
    )


def left_free(sizes, history):
    """Every choice of permutations of the first axes that the graph leaves free."""
    graph, nodes = run(sizes, history)
    leaves = free_leaves(graph, nodes)
    found = set()
    for chosen in itertools.product(*(permutations_of(leaf.size) for leaf in leaves)):
        drawn = {leaf: np.array(index) for leaf, index in zip(leaves, chosen, strict=True)}
        everything = [index_of(node, drawn) for node in nodes]
        first = tuple(tuple(int(i) for i in index) for index in everything[: len(sizes)])
        for mine, wanted in zip(everything, model(history, first), strict=True):
            assert (mine == wanted).all()
        found.add(first)
    return found


# ------------------------------------------------------------------------------------- histories
ALL = ("product", "sum", "unify", "unify", "freeze", "split_product", "split_sum")
SUMS = ("sum", "unify", "unify", "split_sum")
PRODUCTS = ("product", "unify", "unify", "split_product")


def random_history(seed, operations, sizes=(2, 3, 4)):
    """Sizes of the first axes, and what is done to them."""
    rng = np.random.default_rng(seed)
    first = [int(size) for size in rng.choice(sizes, rng.integers(1, 4))]
    while math.prod(map(math.factorial, first)) > MOST_PERMUTATIONS:
        first.pop()
    lengths, history = list(first), []
    for _ in range(rng.integers(1, 8)):
        name = operations[rng.integers(len(operations))]
        number, other = (int(n) for n in rng.integers(len(lengths), size=2))
        size = lengths[number]
        if name in ("product", "sum"):
            length = size * lengths[other] if name == "product" else size + lengths[other]
            if length <= MOST_ENTRIES:
                history.append((name, number, other))
                lengths.append(length)
        elif name == "unify":
            alike = [n for n, length in enumerate(lengths) if length == size]
            history.append((name, number, int(rng.choice(alike))))
        elif name == "freeze":
            history.append((name, number))
        elif name == "split_sum":
            cut = int(rng.integers(size + 1))
            history.append((name, number, (cut, size - cut)))
            lengths += history[-1][2]
        elif size:
            minor = int(rng.choice([n for n in range(1, size + 1) if size % n == 0]))
            history.append((name, number, (size // minor, minor)))
            lengths += history[-1][2]
    return first, history


SEEDS = st.integers(0, 2**32)


@given(SEEDS)
@example(3016)  # an empty axis that is to be a product of which it is a factor
def test_what_is_left_free_is_allowed(seed):
    sizes, history = random_history(seed, ALL)
    assert left_free(sizes, history) <= allowed(sizes, history), (sizes, history)


@given(SEEDS)
def test_sums_are_left_as_free_as_they_are(seed):
    sizes, history = random_history(seed, SUMS)
    assert left_free(sizes, history) == allowed(sizes, history), (sizes, history)


@given(SEEDS)
def test_products_of_one_prime_are_left_as_free_as_they_are(seed):
    sizes, history = random_history(seed, PRODUCTS, sizes=(2, 4))
    assert left_free(sizes, history) == allowed(sizes, history), (sizes, history)


@given(SEEDS)
def test_asking_twice_changes_nothing(seed):
    sizes, history = random_history(seed, ALL)
    graph, nodes = run(sizes, history)
    before = [(leaf, leaf.frozen) for node in nodes for leaf in graph.leaves(node)]
    for name, *numbers in history:
        if name in ("unify", "freeze"):
            getattr(graph, name)(*(nodes[n] for n in numbers))
    assert before == [(leaf, leaf.frozen) for node in nodes for leaf in graph.leaves(node)]


@given(SEEDS)
def test_constraints_only_ever_add_up(seed):
    """What holds after a part of a history holds after all of it."""
    sizes, history = random_history(seed, ALL)
    assert left_free(sizes, history) <= left_free(sizes, history[: len(history) // 2])


def test_axes_of_different_sizes_cannot_be_one():
    graph = AxisGraph()
    with pytest.raises(ValueError, match="axes of sizes 2 and 3"):
        graph.unify(graph.leaf(2), graph.leaf(3))


def test_axes_of_size_one_tie_nothing():
    graph = AxisGraph()
    first, second = graph.leaf(1), graph.leaf(1)
    graph.unify(first, second)
    assert first.find() is not second.find()
    assert graph.product([first, second]).size == 1


def test_a_frozen_axis_freezes_what_it_becomes_one_with():
    graph = AxisGraph()
    parts = [graph.leaf(2), graph.leaf(3)]
    graph.unify(graph.product(parts), graph.leaf(6, frozen=True))
    assert all(part.find().frozen for part in parts)
