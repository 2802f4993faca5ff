"""What each rule leaves free, against expectations that are written down by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.symmetry.inference import expectations
from unf_lopt.symmetry.inference import infer_traced, trace_loss
from unf_lopt.symmetry.inference.rules import RULES
from unf_lopt.symmetry.inference.rules._registry import rule


@pytest.mark.parametrize("expectation", expectations.EXPECTATIONS, ids=lambda e: e.name)
def test_expectation(expectation):
    assert expectations.found(expectation) == expectations.wanted(expectation)


def test_letters_stand_for_whatever_is_tied():
    """The reader of expectations itself: other letters are no difference, other ties are."""

    def wanted(first, second):
        shapes = {"x": (2, 3), "y": (3,)}
        return expectations.wanted(
            expectations.Expectation("", None, shapes, {"x": first, "y": second})
        )

    assert wanted("p q", "q") == wanted("b c", "c") != wanted("b c", "b")


def test_what_no_rule_knows_is_named():
    def loss(params):
        shape = jax.ShapeDtypeStruct((3,), np.float32)
        return jnp.sum(jax.pure_callback(np.tanh, shape, params["x"]))

    traced = trace_loss(loss, {"x": jnp.zeros(3)}, ())
    spec = infer_traced(traced).spec
    assert not spec.groups
    assert "pure_callback" in spec.provenance.without_rule


def test_a_primitive_has_one_rule():
    with pytest.raises(ValueError, match="'add' has two rules"):
        rule("add")(RULES["add"])
