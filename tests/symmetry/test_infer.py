"""What inference refuses, what it answers, and what it says about it."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import unf_lopt
from unf_lopt import PermutationSpec, SpecError, common_refinement, infer_spec
from unf_lopt.symmetry.inference import _source

PARAMS = {"w": jnp.zeros((5, 3)), "b": jnp.zeros(3), "v": jnp.zeros(3)}


def loss(params, x):
    hidden = jnp.tanh(x @ params["w"] + params["b"])
    return jnp.sum(hidden * params["v"])


X = jnp.ones(5)


def test_an_mlp():
    spec = infer_spec(loss, PARAMS, X)
    assert spec.groups == {"b:0": 3}
    assert spec.fixed == {"w:0"}
    assert spec == infer_spec(
        loss, jax.eval_shape(lambda: PARAMS), jax.ShapeDtypeStruct((5,), "f4")
    )
    assert spec == unf_lopt.infer_spec(jax.jit(loss), PARAMS, X)


def test_names_do_not_change_from_run_to_run():
    assert str(infer_spec(loss, PARAMS, X)) == str(infer_spec(loss, PARAMS, X))


@pytest.mark.parametrize(
    ("loss_fn", "params", "args", "options", "message"),
    [
        (lambda p, x: x @ p["w"], PARAMS, (X,), {}, r"must return a scalar; it returned \(3,\)"),
        (lambda p, x: (1.0, x), PARAMS, (X,), {}, r"return a scalar.*has_aux=True"),
        (lambda p, x: 1.0, PARAMS, (X,), {"has_aux": True}, r"must return \(loss, aux\)"),
        (loss, {}, (X,), {}, "no leaves"),
        (loss, {**PARAMS, "extra": jnp.zeros((0, 2))}, (X,), {}, r"'extra' has shape \(0, 2\)"),
        (loss, {**PARAMS, "extra": "relu"}, (X,), {}, r"'extra' is a str.*eqx.partition"),
        (loss, PARAMS, ("train",), {}, r"argument 0 '' is a str.*lambda params"),
        (loss, PARAMS, (X,), {"state_argnum": 1}, r"state_argnum=1.*1 arguments"),
        (
            lambda p, s: (jnp.sum(p["b"]), {"mean": s}),
            PARAMS,
            (X,),
            {"state_argnum": 0},
            r"only in what is returned: \['mean'\]. state_argnum counts.*from 0",
        ),
        (
            lambda p, s: (jnp.sum(p["b"]), s[:2]),
            PARAMS,
            (X,),
            {"state_argnum": 0},
            r"state that loss_fn returns has shape \(2,\) at '', but its argument \(5,\)",
        ),
    ],
)
def test_bad_input(loss_fn, params, args, options, message):
    with pytest.raises(SpecError, match=message):
        infer_spec(loss_fn, params, *args, **options)


def test_within_a_transformation_what_is_closed_over_has_no_numbers():
    """As where an optimizer is made inside of a jitted training function."""
    found = []

    def train(x):
        scale = jnp.sum(x)
        found.append(infer_spec(lambda params: scale * loss(params, x), PARAMS))
        return x

    jax.jit(train)(X)
    jax.vmap(train)(jnp.stack([X, X]))
    assert len(found) == 2
    assert all(spec == infer_spec(loss, PARAMS, X) for spec in found)


def test_unknown_randomness():
    with pytest.raises(ValueError, match=r"randomness='any'.*'frozen', 'in_distribution'"):
        infer_spec(loss, PARAMS, X, randomness="any")


def test_params_that_do_not_fit_fail_as_the_loss_does_and_say_when():
    with pytest.raises(TypeError, match="dot_general") as error:
        infer_spec(loss, PARAMS, jnp.ones(4))
    assert "traced to find its symmetry" in "\n".join(error.value.__notes__)


def test_aux_is_ignored_and_model_state_is_not():
    def with_aux(params, x):
        return loss(params, x), jnp.cumsum(params["b"])

    def with_state(params, x, state):
        return loss(params, x), state + jnp.cumsum(params["b"])

    assert infer_spec(with_aux, PARAMS, X, has_aux=True).groups == {"b:0": 3}
    assert infer_spec(with_state, PARAMS, X, jnp.zeros(3), state_argnum=1).groups == {}


def test_integer_parameters_are_arrays_like_others():
    params = {"table": jnp.zeros(3, int), "w": jnp.zeros(3), "mask": jnp.ones(3, bool)}

    def masked(p):
        return jnp.sum(p["w"] * p["mask"])

    def looked_up(p):
        return jnp.sum(p["w"][p["table"]] ** 2)

    assert infer_spec(masked, params).canonical().axes == (("0",), ("1",), ("0",))
    assert "table:0" in infer_spec(looked_up, params).groups  # which entry comes when is no matter
    assert "w:0" in infer_spec(looked_up, params).fixed  # but it must be the same one


def test_a_host_callback_freezes_what_it_touches_and_is_named():
    def with_callback(params, x):
        hidden = jnp.tanh(x @ params["w"] + params["b"])
        hidden = jax.pure_callback(np.sin, jax.ShapeDtypeStruct((3,), hidden.dtype), hidden)
        return jnp.sum(hidden * params["v"])

    spec = infer_spec(with_callback, PARAMS, X)
    assert spec.groups == {}
    assert list(spec.provenance.without_rule) == ["pure_callback"]
    assert "frozen for lack of a rule: pure_callback at" in str(spec)
    assert "test_infer.py" in str(spec)


def test_dead_parameters_are_free():
    spec = infer_spec(lambda p: jnp.sum(p["used"]), {"used": jnp.ones(2), "dead": jnp.ones((4, 3))})
    assert spec.groups == {"dead:0": 4, "dead:1": 3, "used:0": 2}


def test_explain_names_operation_and_line():
    def ordered(params, x):
        hidden = jnp.tanh(x @ params["w"] + params["b"])
        return jnp.sum(jnp.cumsum(hidden) * params["v"])  # the line that is looked for

    spec = infer_spec(ordered, PARAMS, X)
    text = spec.explain("b", 0)
    line = ordered.__code__.co_firstlineno + 2
    assert text.startswith("b axis 0 is [b:0]")
    assert f"frozen: cumsum at {__file__}:{line} (" in text
    assert "tied to w axis 1\n      by add at" in text
    assert "data, which is never permuted" in spec.explain("w", 0)
    assert "written by hand" in PermutationSpec.from_names(
        {"w": ("a", "b"), "b": ("b",), "v": ("b",)}, PARAMS
    ).explain("w", 0)
    with pytest.raises(SpecError, match="no such parameter"):
        spec.explain("u", 0)
    with pytest.raises(SpecError, match="has 1 axes"):
        spec.explain("b", 1)


def test_explanations_survive_pickling():
    spec = infer_spec(loss, PARAMS, X)
    again = pickle.loads(pickle.dumps(spec))
    assert again == spec
    assert again.explain("w", 1) == spec.explain("w", 1)


def test_parts_are_explained_one_by_one():
    def recurrent(params, x):
        return jnp.sum(jnp.tanh(jnp.concatenate([x, params["h"]]) @ params["w"]) * params["h"])

    spec = infer_spec(recurrent, {"w": jnp.zeros((5, 3)), "h": jnp.zeros(3)}, jnp.ones(2))
    assert str(spec).splitlines()[-2:] == [
        "w          5×3    [w:0.0] + h:0, h:0",
        "groups: h:0 (3)",
    ]
    first, second = spec.explain("w", 0).split("part 1:")
    assert "data" in first and "tied" not in first
    assert "tied to h axis 0" in second and "data" not in second


def test_within_a_limit():
    shared = PermutationSpec.from_names(
        {"w": ("x", "h"), "b": ("h",), "v": ("h",)}, PARAMS, fixed={"h", "x"}
    )
    assert infer_spec(loss, PARAMS, X, within=shared).groups == {}
    with pytest.raises(SpecError, match="does not fit params"):
        infer_spec(lambda p: jnp.sum(p), jnp.zeros(3), within=shared)


def test_the_common_refinement():
    params = {"a": jnp.zeros((4, 6)), "b": jnp.zeros(24)}
    sizes = {"p": 4, "q": 6, "r": 2, "s": 3}
    one = PermutationSpec.from_names({"a": ("p", "q"), "b": ("p*q",)}, params, sizes=sizes)
    two = PermutationSpec.from_names({"a": ("t", "r*s"), "b": ("u",)}, params, sizes=sizes)
    shared = common_refinement([one, two])
    by_hand = {"a": ("p", "r*s"), "b": ("p*r*s",)}
    expected = PermutationSpec.from_names(by_hand, params, sizes=sizes)
    assert shared.canonical() == expected.canonical()
    fixed = PermutationSpec.from_names({"a": ("p", "q"), "b": ("p*q",)}, params, ["q"], sizes)
    assert list(common_refinement([one, fixed]).groups.values()) == [4]
    with pytest.raises(SpecError, match="different parameters"):
        common_refinement([one, PermutationSpec.from_names({"a": ("p",)}, {"a": jnp.zeros(4)})])
    with pytest.raises(SpecError, match="at least one"):
        common_refinement([])


def test_a_notebooks_cell_is_not_told_by_its_temporary_file():
    assert _source._show("/any/ipykernel_12/345.py", 7, "loss") == "a cell:7 (loss)"
    assert _source._show("/any/kernel/345.py", 7, "loss") == "/any/kernel/345.py:7 (loss)"
