"""Random programs do not change when nested groups are permuted differently at each outer index."""

import jax
import numpy as np
import pytest
from jax.extend import core

from tests.symmetry.inference import builder, programs
from tests.symmetry.inference.operations.registry import OPERATIONS
from unf_lopt.symmetry.inference import infer_traced

# One operation in so many, in the fast test; each of them has a turn in one of as many rounds.
STRIDE = 12
SLOW_ROUNDS = 3
PERMUTATIONS = 3


def check(case):
    """Whether the program of a case has nested groups; its loss must not change by them."""
    names = programs.operations_of(case)
    with jax.enable_x64(True):
        traced, values = builder.build([OPERATIONS[name].run for name in names], case.number)
        spec = infer_traced(traced, nested=True).spec
        if not spec.nested:
            return False
        params = dict(zip(traced.paths, map(jax.numpy.asarray, values), strict=True))

        def loss(tree):
            arguments = (tree[path] for path in traced.paths)
            return float(core.jaxpr_as_fun(traced.jaxpr)(*arguments)[0])

        expected = loss(params)
        for seed in range(PERMUTATIONS):
            moved = spec.permute(params, spec.sample(jax.random.key(seed)))
            np.testing.assert_allclose(
                loss(moved), expected, rtol=1e-9, atol=1e-9, err_msg=f"{case}: {spec.nested}"
            )
        return True


def nested_among(cases):
    return sum(map(check, cases))


def test_programs_of_some_operations():
    cases = [programs.Case(name, 0) for name in sorted(OPERATIONS)[::STRIDE]]
    assert nested_among(cases) > len(cases) / 4


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 1 + SLOW_ROUNDS))
def test_programs_of_every_operation(seed):
    cases = programs.one_each(seed)
    assert nested_among(cases) > len(cases) / 4
