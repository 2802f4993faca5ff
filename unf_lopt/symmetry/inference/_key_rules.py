"""What every primitive that makes or carries keys does to them; see ``_key_flow``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from unf_lopt.symmetry.inference._jaxprs import aval_of, scan_counts
from unf_lopt.symmetry.inference._key_arrays import (
    ANY_FOLDED_IN,
    ANY_SEED,
    Keys,
    Number,
    Numbers,
    Value,
    along,
    long,
)
from unf_lopt.symmetry.inference._keys import FOLD_IN
from unf_lopt.symmetry.inference._tables import registers

if TYPE_CHECKING:
    from unf_lopt.symmetry.inference._key_flow import KeyFlow
    from unf_lopt.symmetry.inference._walk import Step

DRAWS = ("random_bits", "random_gamma", "random_split")
Rule = Callable[["KeyFlow", "Step", Sequence[Value]], Sequence[Value]]
RULES: dict[str, Rule] = {}


def has_independent_draws(keys: Any) -> bool:
    """Whether the entries that keys (their aval) are made into are independent and alike.

    True of threefry. One rbg key makes one such array, but a batch of them does not make each by
    itself. unsafe_rbg derives equal keys in different ways, and others may too.
    """
    return keys.dtype.name == "key<fry>" or (keys.dtype.name == "key<rbg>" and keys.ndim == 0)


_rule = registers(RULES)


@_rule("random_seed")
def _seed(flow: KeyFlow, step: Step, values: Sequence[Value]) -> Sequence[Value]:
    seed = values[0]
    numbers = ANY_SEED
    if isinstance(seed, Number) and (seed.symbol is not None or seed.value >= 0):
        numbers = Numbers(seed.value, symbol=seed.symbol)
    return [Keys(flow.table.fixed).children(flow.table, numbers)]


@_rule("random_wrap", "random_unwrap", "random_clone")
def _same(flow: KeyFlow, step: Step, values: Sequence[Value]) -> Sequence[Value]:
    return [values[0] if isinstance(values[0], Keys) else None]


@_rule(*DRAWS)
def _make(flow: KeyFlow, step: Step, values: Sequence[Value]) -> Sequence[Value]:
    """Many numbers or keys of every key, row-major; the axes of the keys come first."""
    equation = step.equation
    name, keys = equation.primitive.name, aval_of(equation.invars[0])
    if not has_independent_draws(keys):
        return flow.lose(step, values)
    shape = aval_of(equation.outvars[0]).shape[keys.ndim :]
    kind = (name, equation.params.get("bit_width"), *long(shape))
    is_split = name == "random_split"
    flow.use(step, values[0], kind, step.outputs[0][keys.ndim :], derives=is_split)
    if not is_split or not isinstance(values[0], Keys):
        return [None]
    return [values[0].children(flow.table, Numbers.rows(shape, keys.ndim))]


@_rule("random_fold_in")
def _fold_in(flow: KeyFlow, step: Step, values: Sequence[Value]) -> Sequence[Value]:
    keys, number = values
    old, new = aval_of(step.equation.invars[0]), aval_of(step.equation.outvars[0])
    if not has_independent_draws(old) or not isinstance(keys, Keys):
        return flow.lose(step, values)
    flow.use(step, keys, FOLD_IN, derives=True)
    axes = {axis: axis for axis in range(old.ndim) if old.shape[axis] == new.shape[axis]}
    numbers = ANY_FOLDED_IN
    if isinstance(number, Number):
        numbers = Numbers(number.value % 2**32, symbol=number.symbol)
    return [keys.along(axes).children(flow.table, numbers)]


@_rule("scan")
def _scan(flow: KeyFlow, step: Step, values: Sequence[Value]) -> Sequence[Value]:
    params = step.equation.params
    first, carried = scan_counts(step.equation)
    last = first + carried
    starts = flow.enter(values[first:last])
    body = params["jaxpr"]
    rows = [
        _row(flow, step, value, whole.aval, row.aval)
        for value, whole, row in zip(
            values[last:], step.equation.invars[last:], body.jaxpr.invars[last:], strict=True
        )
    ]
    flow.loops += 1
    results = flow.run(body, step.inner[0], [*values[:first], *starts, *rows])
    flow.loops -= 1
    initial = None if params["length"] else values[first:last]
    finals = flow.leave(step, starts, results[:carried], initial)
    stacked = [
        value.along({axis: axis + 1 for axis in range(var.aval.ndim)})
        if isinstance(value, Keys)
        else value
        for value, var in zip(results, body.jaxpr.outvars, strict=True)
    ]
    return [*finals, *stacked[carried:]]


def _row(flow: KeyFlow, step: Step, value: Value, whole: Any, row: Any) -> Value:
    """What one iteration gets of keys that a loop goes through."""
    if not isinstance(value, Keys):
        return value
    found = along(value, whole, row, {axis: axis - 1 for axis in range(1, whole.ndim)})
    return flow.lose(step, [value])[0] if found is None else found


@_rule("while")
def _while(flow: KeyFlow, step: Step, values: Sequence[Value]) -> Sequence[Value]:
    params = step.equation.params
    first = params["cond_nconsts"]
    last = first + params["body_nconsts"]
    starts, tested = flow.enter(values[last:]), flow.enter(values[last:])
    flow.loops += 1
    flow.run(params["cond_jaxpr"], step.inner[0], [*values[:first], *tested])
    ends = flow.run(params["body_jaxpr"], step.inner[1], [*values[first:last], *starts])
    flow.loops -= 1
    for value, end in zip(tested, ends, strict=True):
        if isinstance(value, Keys):
            end = end if isinstance(end, Keys) else flow.unknown()
            end.all(flow.table).flow_into(value.base)
    return flow.leave(step, starts, ends, values[last:])


@_rule("cond")
def _cond(flow: KeyFlow, step: Step, values: Sequence[Value]) -> Sequence[Value]:
    branches = step.equation.params["branches"]
    results = [
        flow.run(branch, steps, values[1:])
        for branch, steps in zip(branches, step.inner, strict=True)
    ]
    return [flow.merge(step, alternatives) for alternatives in zip(*results, strict=True)]
