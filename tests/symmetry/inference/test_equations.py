"""Every equation of random programs commutes with the permutations that are left free."""

import gc

import jax
import numpy as np
import pytest
from jax._src import core as jax_core

from tests.symmetry.inference import equivariance, evaluation, programs
from tests.symmetry.inference.operations.registry import OPERATIONS
from unf_lopt.symmetry.inference import infer_traced
from unf_lopt.symmetry.inference._graph import AxisGraph
from unf_lopt.symmetry.inference._reads import read_variables
from unf_lopt.symmetry.inference.rules import RULES

SLOW_ROUNDS = 8
LEAST = 5  # times that a primitive meets something that is permuted, in the slow test


@pytest.fixture(scope="module")
def one_each():
    return programs.run(programs.one_each(0))


def test_no_equation_is_wrong(one_each):
    assert not one_each.violations, "\n\n".join(one_each.violations)


def test_most_axes_stay_free(one_each):
    assert one_each.programs > 200
    assert one_each.free_axes > 0.6 * one_each.all_axes


def test_every_primitive_that_has_a_rule_is_met(one_each):
    missing = _known() - programs.OUT_OF_REACH.keys() - set(+one_each.met)
    assert not missing


@pytest.mark.slow
def test_many_rounds():
    summary = programs.run(programs.cases(range(1, 1 + SLOW_ROUNDS)))
    assert summary.programs > 2000
    assert not summary.violations, "\n\n".join(summary.violations)
    wanted = _known() - programs.OUT_OF_REACH.keys() - programs.ALWAYS_FROZEN
    rare = {
        name: summary.exercised[name]
        for name in wanted - programs.WITHOUT_AXES
        if summary.exercised[name] < LEAST
    }
    assert not rare


def test_every_operation_shows_what_it_is_there_for():
    aimed_at = {name for operation in OPERATIONS.values() for name in operation.primitives}
    assert _known() - programs.OUT_OF_REACH.keys() <= aimed_at


def _known() -> set[str]:
    """The rules whose primitives this version of JAX has."""
    names = {item.name for item in gc.get_objects() if isinstance(item, jax_core.Primitive)}
    known = RULES.keys() & names
    assert len(known) > len(RULES) / 2
    return known


@pytest.mark.parametrize("name", ["reshape", "dot_general", "small_network", "branches", "gates"])
def test_a_wrong_axis_is_named(name):
    """The checker itself: wherever an axis is said to be free and is not, or is and is not.

    Any axis will do where an array does not vary, or nothing depends on it.
    """
    changed = 0
    for seed in range(5):
        program = programs.make(programs.Case(name, seed))
        with jax.enable_x64(True):
            inference = infer_traced(program.traced, record=True)
            read = read_variables(program.jaxpr.jaxpr)
            for step in inference.steps:
                for number, axes in enumerate(step.outputs):
                    if step.equation.outvars[number] not in read:
                        continue
                    for wrong in _wrong_axes(axes):
                        step.outputs[number] = wrong
                        report = equivariance.check(program, inference, seed, first_only=True)
                        assert report.violations
                        changed += 1
                    step.outputs[number] = axes
    assert changed > 20


def _wrong_axes(axes):
    graph = AxisGraph()
    for position, node in enumerate(axes):
        if node.size > 1 and not node.uniform:
            is_free = any(not leaf.frozen and leaf.size > 1 for leaf in graph.leaves(node))
            yield (*axes[:position], graph.leaf(node.size, is_free), *axes[position + 1 :])


ELEMENTWISE = sorted(name for name in OPERATIONS if RULES.get(name) is RULES["add"])


@pytest.mark.parametrize("name", [*ELEMENTWISE, "reduce_sum"])
def test_shortcuts_compute_what_jax_computes(name):
    """What is bound on arrays of one length is elementwise, or a sum of everything."""
    operation = OPERATIONS[name]
    program = programs.make_of([operation], 5)
    visited = 0
    for equation, visit in zip(program.jaxpr.jaxpr.eqns, program.visits, strict=True):
        if evaluation.bodies(equation):
            continue
        with jax.enable_x64(True):
            direct = evaluation.bind(equation, visit.arguments)
        for mine, wanted in zip(visit.results, direct, strict=True):
            np.testing.assert_allclose(mine, wanted, rtol=1e-12, atol=1e-14)
            visited += 1
    assert visited
