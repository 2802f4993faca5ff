"""A jaxpr evaluated in float64, whatever precision it was written in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core

from unf_lopt.symmetry.inference._jaxprs import aval_of, inner_jaxprs, opened, scan_counts
from unf_lopt.symmetry.inference._source import is_known, place

# Their results have a type that nothing can change, or they call what is not JAX.
_NATIVE = {
    "bitcast_convert_type",
    "buffer_callback",
    "call_exported",
    "custom_partitioning",
    "ffi_call",
    "io_callback",
    "linear_call",
    "pallas_call",
    "pure_callback",
    "random_gamma",
    "scaled_dot",
    "shard_map",
    "tpu_custom_call",
}


def promoted_dtype(dtype: Any) -> Any:
    """float64 for a float of any width, complex128 for a complex one, else the dtype itself."""
    if jnp.issubdtype(dtype, np.floating):
        return np.dtype(np.float64)
    if jnp.issubdtype(dtype, np.complexfloating):
        return np.dtype(np.complex128)
    return dtype


def promoted_array(value: Any, dtype: Any) -> Any:
    """A value of the given native dtype, in float64 if that is a float; keys stay as they are."""
    if jnp.issubdtype(dtype, jax.dtypes.extended):
        return value
    if not isinstance(value, jax.core.Tracer):
        value = np.asarray(value)
        value = value if promoted_dtype(value.dtype) == value.dtype else value.astype(dtype)
    return jnp.asarray(value, promoted_dtype(dtype))


class Notes:
    """What could not be computed in float64.

    Attributes:
      lines: one for each equation, with its place in the source.
      calls: the calls that lead to the equation which is being evaluated.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.calls: list[core.JaxprEqn] = []

    def add(self, equation: core.JaxprEqn, dtype: Any) -> None:
        """Notes an equation that runs in a narrower type."""
        sources = [e.source_info for e in (equation, *reversed(self.calls))]
        source = next(filter(is_known, sources), sources[0])
        self.note(f"{equation.primitive.name} runs in {dtype} at {place(source)}")

    def note(self, line: str) -> None:
        """Adds a line, once."""
        if line not in self.lines:
            self.lines.append(line)


def promoted_function(jaxpr: core.ClosedJaxpr, notes: Notes) -> Callable[..., list[jax.Array]]:
    """The function of a jaxpr with every float in float64; call and trace it where x64 is enabled.

    Inputs, constants, casts and intermediate values of any float type become float64. Rounding
    with ``lax.reduce_precision`` is left out, and so is what has no result, as printing. What
    cannot be computed in float64 runs in its own type, with casts around it. Random draws are
    those of the original function: they are made from the same integers.

    Args:
      jaxpr: the closed jaxpr.
      notes: gets a line, when the function is traced, for every equation that cannot be
        computed in float64.

    Returns:
      A function of the jaxpr's inputs that returns the list of its outputs.
    """
    return lambda *inputs: _evaluate(jaxpr, inputs, notes)


def _evaluate(closed: Any, inputs: Sequence[Any], notes: Notes) -> list[Any]:
    jaxpr, constants = opened(closed)
    values: dict[Any, Any] = {}

    def read(atom: Any) -> Any:
        if isinstance(atom, core.Literal):
            return _promoted(atom.val, atom.aval)
        return values[atom]

    def write(variables: Sequence[Any], results: Sequence[Any]) -> None:
        for variable, result in zip(variables, results, strict=True):
            values[variable] = _promoted(result, variable.aval)

    write(jaxpr.constvars, constants)
    write(jaxpr.invars, inputs)
    for equation in _used_equations(jaxpr):
        write(equation.outvars, _results(equation, list(map(read, equation.invars)), notes))
    return list(map(read, jaxpr.outvars))


def _promoted(value: Any, aval: Any) -> Any:
    return value if _is_reference(aval) else promoted_array(value, aval.dtype)


def _is_reference(aval: Any) -> bool:
    return hasattr(aval, "inner_aval") or not hasattr(aval, "dtype")


def _used_equations(jaxpr: core.Jaxpr) -> list[core.JaxprEqn]:
    """The equations that the outputs depend on."""
    needed = {atom for atom in jaxpr.outvars if isinstance(atom, core.Var)}
    used = []
    for equation in reversed(jaxpr.eqns):
        touches_reference = any(_is_reference(atom.aval) for atom in equation.invars)
        if touches_reference or not needed.isdisjoint(equation.outvars):
            used.append(equation)
            needed.update(atom for atom in equation.invars if isinstance(atom, core.Var))
    return used[::-1]


def _results(equation: core.JaxprEqn, inputs: list[Any], notes: Notes) -> Sequence[Any]:
    name = equation.primitive.name
    if name in _RULES:
        return _RULES[name](equation, inputs, notes)
    if name in _NATIVE or any(True for _ in inner_jaxprs(equation.params)):
        return _native(equation, inputs, notes)
    try:
        return _bound(equation, inputs, _promoted_params(equation.params))
    except (TypeError, ValueError, NotImplementedError):  # there is no such thing in float64
        return _native(equation, inputs, notes)


def _bound(equation: core.JaxprEqn, inputs: list[Any], params: dict[str, Any]) -> Sequence[Any]:
    results = equation.primitive.bind(*inputs, **params)
    return results if equation.primitive.multiple_results else [results]


def _promoted_params(params: dict[str, Any]) -> dict[str, Any]:
    promoted = {}
    for name, value in params.items():
        if isinstance(value, np.dtype):
            value = promoted_dtype(value)
        elif isinstance(value, (lax.DotAlgorithm, lax.DotAlgorithmPreset)):
            value = None  # names the types of a product's factors
        promoted[name] = value
    return promoted


def _native(equation: core.JaxprEqn, inputs: list[Any], notes: Notes) -> Sequence[Any]:
    """Runs one equation in its own types."""
    atoms = (*equation.invars, *equation.outvars)
    arrays = [aval_of(atom) for atom in atoms if not _is_reference(atom.aval)]
    narrow = [aval.dtype for aval in arrays if promoted_dtype(aval.dtype) != aval.dtype]
    # Bits become floats in random draws; nothing is rounded where bits are given.
    exact = equation.primitive.name == "bitcast_convert_type" and not jnp.issubdtype(
        aval_of(equation.invars[0]).dtype, np.inexact
    )
    if narrow and not exact:
        notes.add(equation, narrow[0])
    invars = [core.Var(atom.aval) for atom in equation.invars]
    outvars = [core.Var(atom.aval) for atom in equation.outvars]
    alone = equation.replace(invars=[*invars], outvars=outvars)
    jaxpr = core.Jaxpr((), invars, outvars, [alone], equation.effects)
    native = [_native_array(value, v.aval) for value, v in zip(inputs, invars, strict=True)]
    return core.jaxpr_as_fun(core.ClosedJaxpr(jaxpr, ()))(*native)


def _native_array(value: Any, aval: Any) -> Any:
    if _is_reference(aval) or jnp.issubdtype(aval.dtype, jax.dtypes.extended):
        return value
    return lax.convert_element_type(value, aval.dtype)


def _call(equation: core.JaxprEqn, inputs: list[Any], notes: Notes) -> Sequence[Any]:
    params = equation.params
    body = next(params[key] for key in ("jaxpr", "call_jaxpr", "fun_jaxpr") if key in params)
    notes.calls.append(equation)
    results = _evaluate(body, inputs, notes)
    notes.calls.pop()
    return results


def _scan(equation: core.JaxprEqn, inputs: list[Any], notes: Notes) -> Sequence[Any]:
    params = equation.params
    carry_start, carried = scan_counts(equation)
    carry_end = carry_start + carried

    def body(carry: list[Any], x: list[Any]) -> tuple[list[Any], list[Any]]:
        results = _evaluate(params["jaxpr"], [*inputs[:carry_start], *carry, *x], notes)
        return results[:carried], results[carried:]

    options = {name: params[name] for name in ("length", "reverse", "unroll")}
    carry, stacked = lax.scan(body, inputs[carry_start:carry_end], inputs[carry_end:], **options)
    return [*carry, *stacked]


def _while(equation: core.JaxprEqn, inputs: list[Any], notes: Notes) -> Sequence[Any]:
    params = equation.params
    body_start = params["cond_nconsts"]
    carry_start = body_start + params["body_nconsts"]

    def goes_on(carry: list[Any]) -> Any:
        return _evaluate(params["cond_jaxpr"], [*inputs[:body_start], *carry], notes)[0]

    def body(carry: list[Any]) -> list[Any]:
        # vmap gives every example a condition; those that have stopped stay as they are.
        running = goes_on(carry)
        moved = _evaluate(params["body_jaxpr"], [*inputs[body_start:carry_start], *carry], notes)
        return [_selected(running, new, old) for new, old in zip(moved, carry, strict=True)]

    return lax.while_loop(lambda carry: goes_on(carry).any(), body, inputs[carry_start:])


def _selected(condition: Any, new: Any, old: Any) -> Any:
    if not condition.ndim:
        return new
    return jnp.where(
        condition.reshape(condition.shape + (1,) * (new.ndim - condition.ndim)), new, old
    )


def _cond(equation: core.JaxprEqn, inputs: list[Any], notes: Notes) -> Sequence[Any]:
    branches = equation.params["branches"]
    platforms = equation.params.get("branches_platforms")
    index, *operands = inputs
    if platforms is not None:  # the branches of other platforms cannot be compiled on this one
        here = jax.default_backend()
        own = next(i for i, names in enumerate(platforms) if names is None or here in names)
        return _evaluate(branches[own], operands, notes)
    functions = [lambda *xs, branch=branch: _evaluate(branch, xs, notes) for branch in branches]
    return lax.switch(index, functions, *operands)


def _linear_solve(equation: core.JaxprEqn, inputs: list[Any], notes: Notes) -> Sequence[Any]:
    """Only the solution is needed: gradients were taken before."""
    lengths = equation.params["const_lengths"]
    start = lengths.matvec + lengths.vecmat
    constants = inputs[start : start + lengths.solve]
    solve = equation.params["jaxprs"].solve
    return _evaluate(solve, [*constants, *inputs[sum(lengths) :]], notes)


def _with_reducers(*names: tuple[str, str | None]) -> Callable[..., Sequence[Any]]:
    """A rule for a primitive with scalar functions among its parameters.

    Args:
      *names: the parameters' names: ``(jaxpr, its constants)``, or ``(closed jaxpr, None)``.
    """

    def rule(equation: core.JaxprEqn, inputs: list[Any], notes: Notes) -> Sequence[Any]:
        params = _promoted_params(equation.params)
        for name, constants_name in names:
            closed = params[name]
            if closed is None:
                continue
            if constants_name is not None:
                closed = core.ClosedJaxpr(closed, params[constants_name])
            avals = [
                jax.ShapeDtypeStruct(aval.shape, promoted_dtype(aval.dtype))
                for aval in closed.in_avals
            ]
            closed = jax.make_jaxpr(promoted_function(closed, notes))(*avals)
            params[name] = closed
            if constants_name is not None:
                params[name], params[constants_name] = closed.jaxpr, tuple(closed.consts)
        return _bound(equation, inputs, params)

    return rule


def _unrounded(equation: core.JaxprEqn, inputs: list[Any], notes: Notes) -> Sequence[Any]:
    return inputs


_SCATTERS = ("scatter", "scatter-add", "scatter-max", "scatter-min", "scatter-mul", "scatter-sub")
_CALLS = (
    "call",
    "checkpoint",
    "closed_call",
    "composite",
    "core_call",
    "custom_jvp_call",
    "custom_vjp_call",
    "custom_vjp_call_jaxpr",
    "eval_jaxpr",
    "jit",
    "pjit",
    "remat",
    "remat2",
    "remat_opt",
)
_RULES: dict[str, Callable[..., Sequence[Any]]] = {
    "scan": _scan,
    "while": _while,
    "cond": _cond,
    "custom_linear_solve": _linear_solve,
    "reduce_precision": _unrounded,
    "reduce": _with_reducers(("jaxpr", None)),
    "reduce_window": _with_reducers(("jaxpr", "consts")),
    "select_and_scatter": _with_reducers(
        ("select_jaxpr", "select_consts"), ("scatter_jaxpr", "scatter_consts")
    ),
    **dict.fromkeys(_SCATTERS, _with_reducers(("update_jaxpr", "update_consts"))),
    **dict.fromkeys(_CALLS, _call),
}
