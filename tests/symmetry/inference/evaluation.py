"""What every equation of a jaxpr, inner ones included, computes: the numbers beside the steps.

Every equation is bound by itself, so that it can be bound again on permuted inputs; XLA compiles
an equation once for all programs in which it has the same shapes and parameters. Compiling is
what takes time, so elementwise equations and sums of everything are bound on arrays of one
length, whatever shape they had; :func:`bind` says what they compute without that.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jax.flatten_util import ravel_pytree
from jax.interpreters import partial_eval

from unf_lopt.symmetry.inference import TracedLoss
from unf_lopt.symmetry.inference._jaxprs import scan_counts
from unf_lopt.symmetry.inference._reads import exact_solve
from unf_lopt.symmetry.inference.rules import RULES

ITERATIONS = 2  # of a loop's body are looked into: the first carry is often all zeros
LENGTH = 256  # of arrays that are bound as one axis, or a multiple of it
TAKES_NO_NUMPY = {"layout_constraint"}


@dataclasses.dataclass(frozen=True)
class Visit:
    """One evaluation of an equation.

    Attributes:
      arguments: the value of every input.
      is_constant: of every input, whether it is a constant of the jaxpr.
      results: the value of every output.
      inner: for every jaxpr inside, for every time it was evaluated, its visits.
    """

    arguments: list[Any]
    is_constant: list[bool]
    results: list[Any]
    inner: list[list[list[Visit]]]


@dataclasses.dataclass(frozen=True)
class Body:
    """A jaxpr inside an equation.

    Attributes:
      jaxpr: the jaxpr.
      sources: which of the equation's inputs go in.
      sliced: of each, whether one entry of its first axis goes in at a time.
    """

    jaxpr: core.ClosedJaxpr
    sources: Sequence[int]
    sliced: Sequence[bool]


def bodies(equation: core.JaxprEqn) -> list[Body]:
    """The jaxprs inside an equation, in the order in which its rule walks them."""
    name, params, count = equation.primitive.name, equation.params, len(equation.invars)
    everything = range(count)
    if name == "scan":
        first = sum(scan_counts(equation))
        return [Body(params["jaxpr"], everything, [n >= first for n in everything])]
    if name == "while":
        cond, both = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
        carry = range(both, count)
        return [
            _body(params["cond_jaxpr"], [*range(cond), *carry]),
            _body(params["body_jaxpr"], [*range(cond, both), *carry]),
        ]
    if name == "cond":
        return [_body(branch, range(1, count)) for branch in params["branches"]]
    solve = exact_solve(equation)
    if solve is not None:
        sources = [*range(len(solve.constants)), *range(solve.start, count)]
        return [_body(solve.matvec, sources)]
    if is_call(equation):
        key = next(key for key in ("jaxpr", "call_jaxpr", "call") if key in params)
        return [_body(params[key], everything)]
    return []


def is_call(equation: core.JaxprEqn) -> bool:
    """Whether an equation is but another way to write the jaxpr inside it."""
    return RULES.get(equation.primitive.name) is RULES["jit"]


def live_jaxpr(traced: TracedLoss) -> tuple[core.ClosedJaxpr, list[bool]]:
    """The jaxpr that the inference walks, without dead code, and which inputs it has."""
    jaxpr, used = partial_eval.dce_jaxpr(
        traced.jaxpr.jaxpr, [True] * len(traced.jaxpr.jaxpr.outvars)
    )
    return core.ClosedJaxpr(jaxpr, traced.jaxpr.consts), used


def evaluate(closed: core.ClosedJaxpr, inputs: Sequence[Any]) -> tuple[list[Any], list[Visit]]:
    """Evaluates a jaxpr, equation by equation.

    Returns:
      Its outputs, and a visit of every equation.
    """
    jaxpr = closed.jaxpr
    constants = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    env = dict(zip(jaxpr.invars, inputs, strict=True)) | constants

    def read(atom: core.Var | core.Literal) -> Any:
        return atom.val if isinstance(atom, core.Literal) else env[atom]

    visits = []
    for equation in jaxpr.eqns:
        arguments = [read(atom) for atom in equation.invars]
        results, inner = _evaluate_equation(equation, arguments)
        env.update(zip(equation.outvars, results, strict=True))
        is_constant = [isinstance(a, core.Literal) or a in constants for a in equation.invars]
        visits.append(Visit(arguments, is_constant, results, inner))
    return [read(atom) for atom in jaxpr.outvars], visits


def compute(equation: core.JaxprEqn, arguments: Sequence[Any]) -> list[Any]:
    """What an equation computes, with few shapes for XLA to compile."""
    shape = getattr(equation.outvars[0].aval, "shape", ()) if equation.outvars else ()
    if _is_elementwise(equation, shape):
        (result,) = bind(equation, [_of_common_length(value) for value in arguments])
        return [result[: math.prod(shape)].reshape(shape)]
    if equation.primitive.name == "reduce_sum" and not shape and np.size(arguments[0]):
        (flat,) = map(np.ravel, arguments)
        padded = np.pad(flat, (0, -flat.size % LENGTH))
        params = {**equation.params, "axes": (0,)}
        return [np.asarray(equation.primitive.bind(padded, **params))]
    return bind(equation, arguments)


def _is_elementwise(equation: core.JaxprEqn, shape: tuple[int, ...]) -> bool:
    """Whether all operands are of one shape, apart from scalars, and of plain numbers."""
    avals = [variable.aval for variable in (*equation.invars, *equation.outvars)]
    return (
        0 < math.prod(shape) != 1
        and RULES.get(equation.primitive.name) is RULES["add"]
        and not equation.primitive.name.endswith(("constraint", "reshard"))
        and all(aval.shape in ((), shape) for aval in avals)
        and not any(jax.dtypes.issubdtype(aval.dtype, jax.dtypes.extended) for aval in avals)
    )


def _of_common_length(value: Any) -> Any:
    """An array as one axis of a length that all have, its entries repeated; scalars stay."""
    value = np.asarray(value)
    return np.resize(value, -(-value.size // LENGTH) * LENGTH) if value.ndim else value


def bind(equation: core.JaxprEqn, arguments: Sequence[Any]) -> list[Any]:
    """What JAX computes for an equation; what it solves, without the factors that are given."""
    primitive = equation.primitive
    if exact_solve(equation) is not None:
        return _solution(equation, arguments)
    if primitive.name in ("debug_callback", "debug_print"):
        return []
    if primitive.name in TAKES_NO_NUMPY:
        arguments = [jnp.asarray(value) for value in arguments]
    results = primitive.bind(*arguments, **equation.params)
    return [_to_numpy(value) for value in (results if primitive.multiple_results else [results])]


def _solution(equation: core.JaxprEqn, arguments: Sequence[Any]) -> list[Any]:
    """x of ``A·x = b`` by A as one matrix."""
    solve = exact_solve(equation)
    constants, right = arguments[: len(solve.constants)], arguments[solve.start :]
    flat, unravel = ravel_pytree(list(right))
    matvec = core.jaxpr_as_fun(solve.matvec)
    matrix = jax.jacfwd(lambda x: ravel_pytree(matvec(*constants, *unravel(x)))[0])(flat)
    return list(map(np.asarray, unravel(np.linalg.solve(matrix, flat))))


def _to_numpy(value: Any) -> Any:
    """Keys and references stay what they are."""
    if isinstance(value, jax.Array) and not jax.dtypes.issubdtype(value.dtype, jax.dtypes.extended):
        return np.asarray(value)
    return value


def _body(jaxpr: core.Jaxpr | core.ClosedJaxpr | Callable, sources: Sequence[int]) -> Body:
    closed = jaxpr if isinstance(jaxpr, core.ClosedJaxpr) else core.ClosedJaxpr(jaxpr, ())
    return Body(closed, sources, [False] * len(sources))


def _evaluate_equation(
    equation: core.JaxprEqn, arguments: list[Any]
) -> tuple[list[Any], list[list[list[Visit]]]]:
    inside = bodies(equation)
    if is_call(equation):
        results, visits = evaluate(inside[0].jaxpr, arguments)
        return results, [[visits]]
    results = compute(equation, arguments)
    if equation.primitive.name == "scan":
        return results, [_visit_scan(equation, inside[0].jaxpr, arguments)]
    if equation.primitive.name == "while":
        return results, _visit_while(equation, inside, arguments)
    inputs = ([arguments[source] for source in body.sources] for body in inside)
    return results, [[evaluate(b.jaxpr, i)[1]] for b, i in zip(inside, inputs, strict=True)]


def _visit_scan(
    equation: core.JaxprEqn, body: core.ClosedJaxpr, arguments: list[Any]
) -> list[list[Visit]]:
    params = equation.params
    num_consts, num_carry = scan_counts(equation)
    consts, carry = arguments[:num_consts], arguments[num_consts : num_consts + num_carry]
    scanned = arguments[num_consts + num_carry :]
    order = range(params["length"])
    visited = []
    for step in itertools.islice(reversed(order) if params["reverse"] else order, ITERATIONS):
        inputs = [*consts, *carry, *(_to_numpy(values)[step] for values in scanned)]
        results, visits = evaluate(body, inputs)
        carry = results[:num_carry]
        visited.append(visits)
    return visited


def _visit_while(
    equation: core.JaxprEqn, inside: list[Body], arguments: list[Any]
) -> list[list[list[Visit]]]:
    start = equation.params["cond_nconsts"] + equation.params["body_nconsts"]
    carry = arguments[start:]
    conds, loops = [], []
    for _ in range(ITERATIONS):
        for body, visited in zip(inside, (conds, loops), strict=True):
            consts = [arguments[source] for source in body.sources if source < start]
            results, visits = evaluate(body.jaxpr, [*consts, *carry])
            visited.append(visits)
        carry = results
    return [conds, loops]
