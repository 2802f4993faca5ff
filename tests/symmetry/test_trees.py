"""A leaf is the same leaf in whatever containers a library hands it over."""

import collections
import dataclasses

import flax
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from unf_lopt import PermutationSpec, SpecError, common_refinement, infer_spec, verify_spec
from unf_lopt.symmetry import leaf_paths, path_string

X = jax.random.normal(jax.random.key(0), (5, 4))
ARRAYS = {"w": np.zeros((4, 6)), "b": np.zeros(6), "out": np.zeros((6, 3))}


# ------------------------------------------------------------------------------ the containers
@jax.tree_util.register_pytree_node_class
class Unnamed:
    """A box as a user writes it: no key paths, and static data that compares by identity."""

    def __init__(self, held):
        self.held = held
        self.static = object()

    def tree_flatten(self):
        return (self.held,), self.static

    @classmethod
    def tree_unflatten(cls, static, children):
        return cls(*children)


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Layer:  # its fields are not in alphabetical order, as the keys of a dictionary are
    w: object
    b: object
    out: object
    unused: object = None


Fields = collections.namedtuple("Fields", ["w", "out", "b"])

CONTAINERS = {
    "dict": dict,
    "frozen dict": flax.core.freeze,
    "ordered dict": collections.OrderedDict,
    "haiku": hk.data_structures.to_haiku_dict,
    "namedtuple": lambda tree: Fields(**tree),
    "dataclass with a field of None": lambda tree: Layer(**tree),
    "empty containers": lambda tree: {**tree, "none": None, "list": [], "dict": {}, "tuple": ()},
}
BOXES = {
    "bare": lambda x: x,
    "nnx.Param": nnx.Param,
    "linen.Partitioned": lambda x: linen.Partitioned(x, (None,) * np.ndim(x)),
    "nnx.Variable": nnx.Variable,
    "without names": Unnamed,
    "in a dictionary": lambda x: {"value": x},
}
TREES = [(container, box) for container in CONTAINERS for box in BOXES]


def boxed(kind, arrays=ARRAYS):
    container, box = kind
    return CONTAINERS[container]({path: BOXES[box](array) for path, array in arrays.items()})


def loss(params, x):
    """Takes leaves by their shapes, so that it takes any tree."""
    by_shape = {np.shape(leaf): leaf for leaf in jax.tree.leaves(params)}
    hidden = jnp.tanh(x @ by_shape[4, 6] + by_shape[6,])
    return jnp.sum(hidden @ by_shape[6, 3] * jnp.arange(3.0))


def spec_of(params):
    return infer_spec(loss, params, X)


# ------------------------------------------------------------------------------------ the law
@given(st.sampled_from(TREES), st.sampled_from(TREES), st.integers(0, 99))
@settings(max_examples=40)
def test_a_spec_of_one_spelling_permutes_all_others(first, second, seed):
    spec = spec_of(boxed(first))
    rng = np.random.default_rng(seed)
    arrays = {path: rng.normal(size=array.shape) for path, array in ARRAYS.items()}
    tree = boxed(second, arrays)
    (group,) = spec.groups
    index = rng.permutation(6)
    permuted = spec.permute(tree, {group: index})
    by_shape = {np.shape(leaf): leaf for leaf in jax.tree.leaves(permuted)}
    np.testing.assert_allclose(by_shape[4, 6], arrays["w"][:, index], rtol=1e-6)
    np.testing.assert_allclose(by_shape[6,], arrays["b"][index], rtol=1e-6)
    np.testing.assert_allclose(by_shape[6, 3], arrays["out"][index], rtol=1e-6)
    assert leaf_paths(permuted) == leaf_paths(tree)
    assert type(permuted) is type(tree)


@given(st.sampled_from(TREES), st.sampled_from(TREES))
@settings(max_examples=15)
def test_specs_of_two_spellings_are_of_the_same_parameters(first, second):
    one, other = boxed(first), boxed(second)
    spec = spec_of(other)
    assert spec_of(one).aligned(spec.paths).canonical() == spec.canonical()
    assert common_refinement([spec_of(one), spec]).groups.keys() == spec_of(one).groups.keys()
    within = infer_spec(loss, one, X, within=spec)
    assert sorted(within.groups.values()) == [6]
    assert verify_spec(spec, loss, one, X, maximality=False).change < 1e-12


@pytest.mark.parametrize("kind", TREES)
def test_names_of_axes_may_be_spelled_otherwise(kind):
    names = {"w": ("x", "h"), "b": ("h",), "out": ("h", "y")}
    spec = PermutationSpec.from_names(names, boxed(kind), fixed={"x", "y"})
    assert spec.groups == {"h": 6}
    assert spec.canonical() == spec_of(boxed(kind)).canonical()


def test_boxes_are_no_part_of_a_path():
    boxes = ("bare", "nnx.Param", "linen.Partitioned")
    assert {leaf_paths(boxed(("dict", box))) for box in boxes} == {("b", "out", "w")}
    with_paths, _ = jax.tree_util.tree_flatten_with_path(boxed(("dict", "nnx.Param")))
    assert [path_string(path) for path, _ in with_paths] == ["b", "out", "w"]


def test_an_attribute_called_value_is_no_box_beside_others():
    Heads = collections.namedtuple("Heads", ["query", "key", "value"])
    arrays = {name: np.zeros((2, n)) for n, name in enumerate(Heads._fields, 1)}
    assert leaf_paths({"a": Heads(**arrays)}) == ("a/query", "a/key", "a/value")
    names = {name: ("x", name) for name in arrays}
    spec = PermutationSpec.from_names({"a": names}, {"a": arrays})
    np.testing.assert_array_equal(
        spec.flatten({"a": Heads(**arrays)})[0][spec.paths.index("a/value")], arrays["value"]
    )
    boxed_heads = Heads(**{name: nnx.Param(array) for name, array in arrays.items()})
    assert leaf_paths(boxed_heads) == ("query", "key", "value")


@given(
    st.recursive(
        st.just(0.0),
        lambda own: st.one_of(
            st.lists(own, min_size=1, max_size=3),
            st.dictionaries(st.sampled_from(["value", "0", "a", "b"]), own, min_size=1),
            own.map(Unnamed),
            own.map(nnx.Variable),
        ),
        max_leaves=12,
    )
)
def test_leaves_of_a_tree_keep_apart(tree):
    """Whatever is left out of paths, two leaves never become one."""
    paths = leaf_paths(tree)
    assert len(set(paths)) == len(jax.tree.leaves(tree))
    numbers = jax.tree.unflatten(jax.tree.structure(tree), [float(i) for i in range(len(paths))])
    spec = PermutationSpec(paths, ((),) * len(paths), (), frozenset())
    values, unflatten = spec.flatten(numbers)
    assert values == list(range(len(paths)))
    assert jax.tree.leaves(unflatten(values)) == values


# ------------------------------------------------------------------------------- model state
def stateful(params, state, x):
    h = x @ params["w"]
    (mean,) = jax.tree.leaves(state)
    return jnp.sum(jnp.tanh(h - mean) @ params["out"] * jnp.arange(3.0)), 0.9 * mean + h.mean(0)


@pytest.mark.parametrize("before", BOXES)
@pytest.mark.parametrize("after", BOXES)
def test_a_state_may_come_back_in_another_box(before, after):
    def loss(params, state, x):
        value, mean = stateful(params, state, x)
        return value, {"mean": BOXES[after](mean)}

    params = {path: ARRAYS[path] for path in ("w", "out")}
    spec = infer_spec(loss, params, {"mean": BOXES[before](jnp.zeros(6))}, X, state_argnum=0)
    assert list(spec.groups.values()) == [6]


def test_a_state_may_come_back_in_another_order():
    State = collections.namedtuple("State", ["second", "first"])

    def loss(params, state, x):
        value, mean = stateful(params, [state["first"]], x)
        return value, State(second=state["second"], first=mean)

    state = {"first": jnp.zeros(6), "second": jnp.zeros(6)}
    params = {path: ARRAYS[path] for path in ("w", "out")}
    spec = infer_spec(loss, params, state, X, state_argnum=0)
    assert list(spec.groups.values()) == [6]
    assert verify_spec(spec, loss, params, state, X, state_argnum=0, maximality=False).certified


def test_a_state_of_other_leaves_is_refused():
    def loss(params, state, x):
        value, mean = stateful(params, state, x)
        return value, {"average": mean}

    params = {path: ARRAYS[path] for path in ("w", "out")}
    with pytest.raises(SpecError, match=r"\['mean'\].*\['average'\]"):
        infer_spec(loss, params, {"mean": jnp.zeros(6)}, X, state_argnum=0)


# ------------------------------------------------------------------------------------- errors
def test_what_is_not_there_is_named():
    spec = spec_of(ARRAYS)
    for masked in (optax.MaskedNode(), None, ()):
        with pytest.raises(SpecError, match=r"only in the spec: \['b'\].*placeholders.*infer"):
            spec.flatten({**ARRAYS, "b": masked})
    with pytest.raises(SpecError, match="'b' is a object, not an array"):
        spec.flatten({**ARRAYS, "b": object()})
    with pytest.raises(SpecError, match=r"jax\.vmap\(spec\.permute"):
        spec.flatten({path: np.zeros((7, *array.shape)) for path, array in ARRAYS.items()})
    with pytest.raises(SpecError, match=r"'b' has shape \(5,\)") as raised:
        spec.flatten({**ARRAYS, "b": np.zeros(5)})
    assert "vmap" not in str(raised.value)


def test_the_training_loop_of_nnx():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.a, self.b = nnx.Linear(4, 6, rngs=rngs), nnx.Linear(6, 3, rngs=rngs)

        def __call__(self, x):
            return self.b(nnx.relu(self.a(x)))

    graph, params = nnx.split(Net(nnx.Rngs(0)), nnx.Param)

    def loss(params):
        return jnp.sum(nnx.merge(graph, params)(X) * jnp.arange(3.0))

    spec = infer_spec(loss, params)
    assert spec.paths == ("a/bias", "a/kernel", "b/bias", "b/kernel")
    bare = nnx.to_pure_dict(params)
    permutation = spec.sample(jax.random.key(1))
    for one, other in zip(
        jax.tree.leaves(spec.permute(params, permutation)),
        jax.tree.leaves(spec.permute(bare, permutation)),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
