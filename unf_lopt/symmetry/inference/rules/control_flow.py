"""Primitives with jaxprs inside: they are walked with the axes of what goes into them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unf_lopt.symmetry.inference._jaxprs import scan_counts
from unf_lopt.symmetry.inference.rules._registry import rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jax.extend import core

    from unf_lopt.symmetry.inference._walk import Axes, Walker


def _all(equation: core.JaxprEqn) -> Sequence[bool]:
    return [True] * len(equation.invars)


def _but_the_carry_of_a_scan(equation: core.JaxprEqn) -> Sequence[bool]:
    """Nor what is scanned, whose first axis is tied to others."""
    count, _ = scan_counts(equation)
    return [True] * count + [False] * (len(equation.invars) - count)


def _but_the_carry_of_a_loop(equation: core.JaxprEqn) -> Sequence[bool]:
    count = equation.params["cond_nconsts"] + equation.params["body_nconsts"]
    return [True] * count + [False] * (len(equation.invars) - count)


@rule(
    "closed_call",
    "composite",
    "custom_jvp_call",
    "custom_vjp_call",
    "custom_vmap_call",
    "eval_jaxpr",
    "jit",
    "remat2",
    takes_empty=True,
    takes_uniform=_all,
)
def call(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """The jaxpr inside, as if it stood here."""
    for name in ("jaxpr", "call_jaxpr", "call"):
        if name in equation.params:
            return walker.walk(equation.params[name], arguments)
    return walker.unknown(equation, arguments)


@rule("scan", takes_empty=True, takes_uniform=_but_the_carry_of_a_scan)
def scan(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """What a step carries has the same axes before and after it; the scanned axis is ordered.

    Without a carry, steps do not depend on each other and the scanned axis is one like others.
    """
    params = equation.params
    num_consts, num_carry = scan_counts(equation)
    consts, carry = arguments[:num_consts], arguments[num_consts : num_consts + num_carry]
    scanned = arguments[num_consts + num_carry :]
    results = walker.walk(params["jaxpr"], [*consts, *carry, *(axes[1:] for axes in scanned)])
    walker.blame(equation)
    for before, after in zip(carry, results[:num_carry], strict=True):
        walker.unify_arrays(before, walker.used(after))
    step = walker.graph.leaf(params["length"], frozen=num_carry > 0)
    for axes in scanned:
        walker.graph.unify(step, axes[0])
    return [*carry, *((step, *axes) for axes in results[num_carry:])]


@rule("while", takes_empty=True, takes_uniform=_but_the_carry_of_a_loop)
def while_(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """What the loop carries has the same axes before and after it.

    In a batch of loops, each of which stops by itself, the leading axes of all are the batch's.
    """
    params = equation.params
    count = params["cond_nconsts"]
    cond_consts, arguments = arguments[:count], arguments[count:]
    count = params["body_nconsts"]
    body_consts, carry = arguments[:count], arguments[count:]
    (batch,) = map(walker.used, walker.walk(params["cond_jaxpr"], [*cond_consts, *carry]))
    results = walker.walk(params["body_jaxpr"], [*body_consts, *carry])
    walker.blame(equation)
    for before, after in zip(carry, results, strict=True):
        walker.unify_arrays(before, walker.used(after))
        walker.unify_arrays(batch, before[: len(batch)])
    return carry


@rule("cond", takes_empty=True, takes_uniform=_all)
def cond(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """All branches, each with the same inputs, give the same axes.

    An output is uniform along an axis if it is so in all branches.
    """
    _, *operands = arguments
    branches = [walker.walk(branch, operands) for branch in equation.params["branches"]]
    walker.blame(equation)
    return [_of_branches(walker, own) for own in zip(*branches, strict=True)]


def _of_branches(walker: Walker, results: Sequence[Axes]) -> Axes:
    """The axes of an output of which each branch gives a version."""
    axes = []
    for nodes in zip(*results, strict=True):
        if not all(node.uniform for node in nodes):
            first, *others = walker.used(nodes)
            for node in others:
                walker.graph.unify(first, node)
            nodes = (first,)
        axes.append(nodes[0])
    return tuple(axes)


@rule("debug_callback", "debug_print")
def no_result(walker: Walker, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
    """Computes nothing that goes on."""
    return []
