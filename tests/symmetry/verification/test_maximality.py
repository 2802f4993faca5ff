"""A spec that lacks symmetries is told from one that has them all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unf_lopt import PermutationSpec
from unf_lopt.symmetry.inference import infer_spec
from unf_lopt.symmetry.verification import verify_spec
from unf_lopt.symmetry.verification._maximality import Search

X = jax.random.normal(jax.random.key(0), (6, 4))
NAMES = {
    "w0": ("x", "a"),
    "b0": ("a",),
    "w1": ("a", "b"),
    "b1": ("b",),
    "w2": ("b", "y"),
    "b2": ("y",),
}


def params_of(names, sizes):
    return {path: np.zeros([sizes[space] for space in own]) for path, own in names.items()}


def spec_of(names, sizes, fixed):
    return PermutationSpec.from_names(names, params_of(names, sizes), fixed=fixed)


def mlp(params, x, nonlinearity=jax.nn.relu):
    h = nonlinearity(x @ params["w0"] + params["b0"])
    h = nonlinearity(h @ params["w1"] + params["b1"])
    y = h @ params["w2"] + params["b2"]
    return jnp.mean(jax.nn.logsumexp(y, -1) - y @ jnp.arange(1.0, 1 + y.shape[-1]))


def verify(spec, loss=mlp, *args, **options):
    params = dict(zip(spec.paths, map(np.zeros, spec.shapes), strict=True))
    return verify_spec(spec, loss, params, *(args or (X,)), **options)


# All of one size, so that only numbers can tell what belongs together.
SAME = dict.fromkeys("xaby", 4)


@pytest.mark.parametrize("sizes", [SAME, dict(zip("xaby", (4, 2, 2, 2), strict=True))])
def test_the_right_spec_is_maximal(sizes):
    found = verify(spec_of(NAMES, sizes, {"x", "y"}))
    assert found.maximal == "maximal"
    assert found.symmetries == found.undecided == ()
    assert found.tests >= 2 * (2**2 - 1) + 2  # the splits of two groups, and fixed axes


@pytest.mark.parametrize("max_tests", [512, 3])
def test_all_fixed_is_not_maximal(max_tests):
    found = verify(spec_of(NAMES, SAME, set("xaby")), max_tests=max_tests)
    assert found.maximal == "not maximal"
    assert any("b0 axis 0, w0 axis 1, w1 axis 0" in line for line in found.symmetries)
    assert any("b1 axis 0, w1 axis 1, w2 axis 0" in line for line in found.symmetries)
    if max_tests == 512:  # found without the inference's help, too
        assert sum("(fixed)" in line for line in found.symmetries) == 2


@pytest.mark.parametrize("max_tests", [512, 3])
def test_merged_groups_are_not_maximal(max_tests):
    merged = {
        path: tuple({"b": "a"}.get(space, space) for space in own) for path, own in NAMES.items()
    }
    found = verify(spec_of(merged, SAME, {"x", "y"}), max_tests=max_tests)
    assert found.change < 1e-12
    assert found.maximal == "not maximal"
    if max_tests == 512:
        (line,) = [line for line in found.symmetries if "a part of 'a'" in line]
        assert (
            "b1 axis 0, w1 axis 1, w2 axis 0" in line or "b0 axis 0, w0 axis 1, w1 axis 0" in line
        )


def test_what_is_sampled_is_only_not_refuted():
    found = verify(spec_of(NAMES, SAME, {"x", "y"}), max_tests=2)
    assert found.maximal == "not refuted"
    assert found.symmetries == ()


def test_a_bias_before_a_batch_norm_is_without_effect():
    def loss(params, x):
        def normalize(h):
            return jax.nn.relu((h - h.mean(0)) / jnp.sqrt(h.var(0) + 0.25))

        return mlp(params, x, normalize)

    found = verify(spec_of(NAMES, SAME, {"x", "y"}), loss)
    assert found.without_effect == ("b0", "b1")
    assert found.maximal == "maximal"
    # Apart from the others such a bias is no symmetry that is lacking.
    own = {**NAMES, "b0": ("own",)}
    assert verify(spec_of(own, {**SAME, "own": 4}, {"x", "y", "own"}), loss).maximal == "maximal"


def test_what_has_no_gradient_can_have_an_effect():
    def loss(params, x):
        return mlp({**params, "b0": jax.lax.stop_gradient(params["b0"])}, x)

    spec = spec_of(NAMES, SAME, {"x", "y"})
    assert verify(spec, loss).without_effect == ()


def attention(params, x):
    query, key, value = (
        jnp.einsum("nx,xhk->nhk", x, params[name]) + params[name + "_bias"]
        for name in ("query", "key", "value")
    )
    weights = jax.nn.softmax(jnp.einsum("nhk,mhk->hnm", query, key))
    y = jnp.einsum("hnm,mhk,hky->ny", weights, value, params["out"])
    return jnp.mean(jnp.sin(y) * jnp.arange(1.0, 1 + y.shape[-1]))


HEADS = {
    **{name: ("x", "heads", name) for name in ("query", "value")},
    **{name + "_bias": ("heads", name) for name in ("query", "value")},
    "key": ("x", "heads", "query"),
    "key_bias": ("heads", "query"),
    "out": ("heads", "value", "y"),
}
SIZES = {"x": 4, "y": 3, "heads": 3, "query": 2, "value": 3}


def test_attention():
    found = verify(spec_of(HEADS, SIZES, {"x", "y"}), attention)
    assert found.without_effect == ("key_bias",)
    assert found.maximal == "maximal"
    fixed = verify(spec_of(HEADS, SIZES, set(SIZES)), attention, max_tests=1)
    assert fixed.maximal == "not maximal"
    assert len(fixed.symmetries) >= 3  # heads, the width of queries, and that of values


def test_a_symmetry_that_no_rule_knows_is_found():
    """The two halves of a bilinear gate may change places, but slices freeze them."""

    def loss(params, x):
        first, second = jnp.split(x @ params["w"].reshape(4, -1), 2, axis=-1)
        return jnp.mean((first * second) @ params["v"])

    names = {"w": ("x", "gate", "h"), "v": ("h",)}
    spec = spec_of(names, {"x": 4, "gate": 2, "h": 3}, {"x", "gate"})
    assert infer_spec(loss, params_of(names, spec.spaces), X).groups.keys() <= {"v:0", "w:2"}
    found = verify(spec, loss)
    assert found.maximal == "not maximal"
    assert [line for line in found.symmetries if "w axis 1 (fixed)" in line]


def test_accidents_of_one_permutation_are_no_symmetry():
    """Classes without a label are exchangeable; all classes are not."""

    def loss(params, x, labels):
        logits = jax.nn.log_softmax(x @ params["w"])
        return -jnp.mean(jnp.take_along_axis(logits, labels[:, None], 1))

    spec = spec_of({"w": ("x", "y")}, {"x": 4, "y": 3}, {"x", "y"})
    for seed in range(5):
        found = verify(spec, loss, X, jnp.zeros(6, int), seed=seed)
        assert found.maximal == "not refuted"
        lines = [line for line in found.searched if line.startswith("not ruled out")]
        told = "parts of w axis 1: indices 1, 2 could not be told from others"
        assert sum(line.endswith(told) for line in lines) == 1
        assert verify(spec, loss, X, jnp.arange(6) % 3, seed=seed).maximal == "maximal"


def test_equal_integers_cannot_tell():
    params = {"w": jnp.zeros((4, 3)), "shift": jnp.ones(3, int)}

    def loss(params, x):
        return jnp.mean(jnp.sin(x @ params["w"] + params["shift"]) * jnp.arange(1.0, 4.0))

    names = {"w": ("x", "y"), "shift": ("y",)}
    spec = PermutationSpec.from_names(names, params, fixed={"x", "y"})
    found = verify_spec(spec, loss, params, X)
    assert found.maximal == "not refuted"
    assert [line.split(" (fixed)")[0] for line in found.undecided] == [
        "permuting only shift axis 0"
    ]
    different = {**params, "shift": jnp.array([1, 5, 3])}
    assert verify_spec(spec, loss, different, X).maximal == "maximal"


@given(st.lists(st.sampled_from("abc"), min_size=2, max_size=5), st.integers(0, 99))
@settings(max_examples=5)
def test_the_groups_of_a_product_of_vectors(groups, seed):
    """A sum of products over each group's vectors: tied exactly as the groups say."""

    def loss(params):
        vectors = {group: 1.0 for group in groups}
        for path, group in enumerate(groups):
            vectors[group] = vectors[group] * jnp.sin(params[f"{path}"] * (1 + path))
        sums = [jnp.sum(jnp.broadcast_to(v, 4) ** 3) for _, v in sorted(vectors.items())]
        return sum(s * s * (i + 1) for i, s in enumerate(sums))

    names = {f"{path}": (group,) for path, group in enumerate(groups)}
    spec = spec_of(names, dict.fromkeys("abc", 4), ())
    found = verify_spec(spec, loss, params_of(names, spec.spaces), seed=seed)
    assert found.maximal == "maximal"
    one = spec_of(dict.fromkeys(names, ("a",)), {"a": 4}, ())
    merged = verify_spec(one, loss, params_of(names, spec.spaces), seed=seed)
    assert merged.maximal == ("maximal" if len(set(groups)) == 1 else "not maximal")
    assert (len(set(groups)) > 1) == any("a part of" in line for line in merged.symmetries)


# --------------------------------------------- symmetries on parts of axes, and across parts
HIDDEN = {"w0": ("x", "h"), "b0": ("h",), "w1": ("h", "y"), "b1": ("y",)}


def two_layers(params, x, nonlinearity=jax.nn.relu):
    h = nonlinearity(x @ params["w0"] + params["b0"])
    y = h @ params["w1"] + params["b1"]
    return jnp.mean(jax.nn.logsumexp(y, -1) - y @ jnp.arange(1.0, 1 + y.shape[-1]))


def two_layer_spec(hidden, sizes, fixed=()):
    names = {path: tuple(hidden if s == "h" else s for s in own) for path, own in HIDDEN.items()}
    params = params_of(HIDDEN, {"x": 4, "h": 6, "y": 3})
    return PermutationSpec.from_names(names, params, fixed={"x", "y", *fixed}, sizes=sizes)


@pytest.mark.parametrize(
    ("hidden", "sizes", "fixed"),
    [
        ("a*b", {"a": 2, "b": 3}, ()),
        ("a*b", {"a": 3, "b": 2}, ("a",)),
        ("a*b", {"a": 3, "b": 2}, ("b",)),
        ("a + b", {"a": 2, "b": 4}, ()),
        ("a + b", {"a": 1, "b": 5}, ("a",)),
        ("a + b", {"a": 4, "b": 2}, ("a",)),
        ("a + a", {"a": 3}, ()),
        ("a + b*c", {"a": 2, "b": 2, "c": 2}, ("a", "b")),
    ],
)
def test_parts_of_what_is_one_group_are_not_maximal(hidden, sizes, fixed):
    spec = two_layer_spec(hidden, sizes, fixed)
    assert verify(spec, two_layers).maximal == "not maximal"


def test_the_one_group_of_which_they_are_parts_is_maximal():
    assert verify(two_layer_spec("h", {}), two_layers).maximal == "maximal"


def test_without_inference_parts_are_found_out(monkeypatch):
    """The search itself knows of merges and splits of parts, whatever an inference finds."""
    monkeypatch.setattr(Search, "_try_inferred", lambda self: None)
    for hidden, sizes, fixed in (
        ("a*b", {"a": 2, "b": 3}, ()),
        ("a + b", {"a": 2, "b": 4}, ()),
        ("a + b", {"a": 1, "b": 5}, ("a",)),
    ):
        found = verify(two_layer_spec(hidden, sizes, fixed), two_layers)
        assert [line for line in found.symmetries if "as one space" in line]


def test_gates_with_units_of_their_own_are_a_split(monkeypatch):
    """Two halves of a layer with nothing in common are no fixed axis times one group."""
    monkeypatch.setattr(Search, "_try_inferred", lambda self: None)

    def loss(params, x):
        h = jnp.tanh(x @ params["w0"] + params["b0"]).reshape(-1, 2, 3)
        y = h.sum(-1) * jnp.arange(1.0, 3.0) @ params["mix"] + 0 * params["w1"].sum()
        return jnp.mean(jnp.sin(y) * jnp.arange(1.0, 1 + y.shape[-1]))

    names = {"w0": ("x", "gate*h"), "b0": ("gate*h",), "mix": ("gate", "y"), "w1": ("y",)}
    params = params_of({"w0": "xk", "b0": "k", "mix": "gy", "w1": "y"}, dict(x=4, k=6, g=2, y=3))
    spec = PermutationSpec.from_names(names, params, fixed={"x", "y", "gate"}, sizes={"h": 3})
    found = verify(spec, loss)
    assert found.maximal == "not maximal"
    assert [line for line in found.symmetries if "at 0 of axis" in line or "at 1 of axis" in line]


def test_a_part_of_a_fixed_axis_keeps_the_verdict_open():
    """Some inputs are always zero: their rows may change places, the others may not."""
    x = X.at[:, 1:3].set(0.0)
    spec = two_layer_spec("h", {})
    found = verify(spec, lambda params, x: two_layers(params, x), x)
    assert found.maximal == "not refuted"
    (line,) = [line for line in found.searched if line.startswith("not ruled out")]
    assert "w0 axis 0: indices 1, 2 could" in line
    assert line in str(found).replace("searched: ", "")


@pytest.mark.parametrize("size", [4, 6])
def test_factors_of_a_fixed_axis_keep_the_verdict_open(size):
    """A layer that is invariant under one factor of its inputs only, which no rule knows."""

    def loss(params, x):
        pairs = jnp.sin(params["w"].reshape(2, size // 2)) * jnp.array([[1.0], [2.0]])
        return jnp.sum(pairs.sum(1) ** 3 * jnp.array([1.0, 3.0])) * x

    params = {"w": np.zeros(size)}
    fixed = PermutationSpec.from_names({"w": ("x",)}, params, fixed={"x"})
    assert verify_spec(fixed, loss, params, 1.0).maximal != "maximal"
    assert verify_spec(infer_spec(loss, params, 1.0), loss, params, 1.0).maximal != "not refuted"
