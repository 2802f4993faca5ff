"""One walk over a jaxpr that gives every array axis its node and every equation its due."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from unf_lopt.symmetry.inference import _key_flow, _source
from unf_lopt.symmetry.inference._constants import Constant, Pattern, entries_of, pattern_of
from unf_lopt.symmetry.inference._folding import folded
from unf_lopt.symmetry.inference._graph import AxisGraph, Node, is_fixed
from unf_lopt.symmetry.inference._jaxprs import aval_of, opened, shape_of
from unf_lopt.symmetry.inference._reads import is_live, read_variables
from unf_lopt.symmetry.inference._uniform import uniform_axes
from unf_lopt.symmetry.inference.rules import RULES, TAKES_EMPTY, TAKES_UNIFORM

Axes = tuple[Node, ...]


@dataclasses.dataclass(frozen=True)
class Step:
    """One equation as the walk saw it: what every axis of its inputs and outputs is.

    Attributes:
      equation: the equation.
      inputs: the axes of every input.
      outputs: the axes of every output.
      inner: the steps of every jaxpr that its rule walked, in order; none if it is not live.
      is_live: whether anything depends on it.
      reason: what is told of it where it ties or freezes an axis.
      uniform: of every input, along which of its axes it does not vary.
    """

    equation: core.JaxprEqn
    inputs: list[Axes]
    outputs: list[Axes]
    inner: list[list[Step]]
    is_live: bool
    reason: Any = None
    uniform: Sequence[Sequence[bool]] = ()


@dataclasses.dataclass(frozen=True)
class EquationReason:
    """An operation of the user's loss, told as text only when somebody asks."""

    primitive: str
    source_info: Any
    caller: EquationReason | None  # the operation in whose jaxpr this one stands

    def __str__(self) -> str:
        source, caller = self.source_info, self.caller
        while caller is not None and not _source.is_known(source):
            source, caller = caller.source_info, caller.caller
        return f"{self.primitive} at {_source.place(source)}"


class Walker:
    """Applies the rule of every equation of a jaxpr to an axis graph.

    Args:
      graph: where the axes live.
      randomness: ``"frozen"`` or ``"in_distribution"``: what axes of random draws are.
      record: whether to keep every step.

    Attributes:
      without_rule: the primitives of which no rule knows, and where each was met first.
      steps: the steps of every jaxpr that was walked, a list each, if they are kept. A rule leaves
        here those of the jaxprs inside its equation.
    """

    def __init__(self, graph: AxisGraph, randomness: str = "frozen", record: bool = False):
        self.graph = graph
        self.randomness = randomness
        self.without_rule: dict[str, Any] = {}
        self._record = record or randomness == "in_distribution"
        self._caller: EquationReason | None = None
        # Whether the jaxpr is that of a library's jitted function, which JAX traces once: its
        # equations name the place from which it was called first, in whatever program.
        self._is_shared = False
        self._live: set[core.Var] = set()
        self._inputs: list[Axes] = []
        self.steps: list[list[Step]] = []

    def walk(self, jaxpr: core.Jaxpr | core.ClosedJaxpr, inputs: Sequence[Axes]) -> list[Axes]:
        """Walks a jaxpr, inner ones included.

        Args:
          jaxpr: open without constants, or closed.
          inputs: the axes of every input.

        Returns:
          The axes of every output. Where one is uniform, :meth:`used` must give it a node that
          other axes can be made one with.
        """
        jaxpr, consts = opened(jaxpr)
        caller, is_shared = self._caller, self._is_shared
        live_outside, inputs_outside = self._live, self._inputs
        if isinstance(self.graph.reason, EquationReason):
            self._caller = self.graph.reason
            self._is_shared |= self._caller.primitive == "jit" and _source.is_of_library(jaxpr)
        env: dict[core.Var, Axes] = dict(zip(jaxpr.invars, inputs, strict=True))
        env.update(
            (var, self.constant(value)) for var, value in zip(jaxpr.constvars, consts, strict=True)
        )

        def read(atom: core.Var | core.Literal) -> Axes:
            if isinstance(atom, core.Literal):
                return self.constant(atom.val, aval_of(atom).dtype)
            return env[atom]

        outer, live = self.steps, read_variables(jaxpr)
        steps: list[Step] = []
        for equation in jaxpr.eqns:
            marked = [read(atom) for atom in equation.invars]
            self.blame(equation)
            reason = self.graph.reason
            self.steps, self._live, self._inputs = [], live, marked
            arguments = self._used_by(equation, marked)
            results = self._marked(equation, marked, self._apply(equation, arguments))
            results = self._known(equation, marked, results)
            env.update(zip(equation.outvars, results, strict=True))
            if self._record:
                own = (list(results), self.steps, is_live(equation, live))
                uniform = [[node.uniform for node in axes] for axes in marked]
                steps.append(Step(equation, arguments, *own, reason, uniform))
        is_whole_program, self.steps = self._caller is None, outer
        self._caller, self._is_shared = caller, is_shared
        self._live, self._inputs = live_outside, inputs_outside
        if self._record:
            self.steps.append(steps)
        if is_whole_program and self.randomness == "in_distribution":
            _key_flow.tie_draws(self.graph, jaxpr, consts, steps)
        return [read(atom) for atom in jaxpr.outvars]

    def constant(self, value: Any, dtype: Any = None) -> Axes:
        """The axes of a constant: free by themselves, in parts, in pairs, or frozen.

        Args:
          value: an array or a number.
          dtype: its type, if a Python number does not say it.
        """
        shape = np.shape(value)
        dtype = getattr(value, "dtype", None) if dtype is None else dtype
        is_key = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.extended)
        # Within a transformation what a loss closes over may have no numbers yet.
        is_known = not is_key and not isinstance(value, jax.core.Tracer)
        if not shape and is_known:
            return Constant.of((), *entries_of(value, dtype))
        self.graph.reason = "a constant that varies along it"
        if not is_known or 0 in shape:
            return self.fresh(shape, frozen=True)
        entries, are_numbers = entries_of(value, dtype)
        pattern = pattern_of(entries)
        if not self._may_be_marked(dtype):
            pattern = pattern.of_whole_axes()
        axes = [self.graph.leaf(n, pattern.is_frozen(axis)) for axis, n in enumerate(shape)]
        return self._patterned(axes, entries, are_numbers, pattern)

    def _patterned(
        self, axes: Sequence[Node], entries: np.ndarray, are_numbers: bool, pattern: Pattern
    ) -> Constant:
        """A constant with the axes of its pattern; those that are frozen are given."""
        nodes = (
            self.graph.uniform(node.size) if pattern.is_uniform(axis) else node
            for axis, node in enumerate(pattern.nodes(self.graph, axes))
        )
        return Constant.of(nodes, entries, are_numbers, pattern)

    def used(self, axes: Axes) -> Axes:
        """The axes of an array for one use of it: new ones where it does not vary."""
        if isinstance(axes, Constant) and axes.pattern is not None:
            return tuple(axes.pattern.nodes(self.graph, axes))
        if not any(node.uniform for node in axes):
            return axes
        return tuple(self.graph.leaf(node.size) if node.uniform else node for node in axes)

    def is_read(self, var: core.Var) -> bool:
        """Whether anything depends on an output of the equation whose rule is applied."""
        return var in self._live

    def known_numbers(self, position: int) -> np.ndarray | None:
        """An input of the equation whose rule is applied, if it is known: integers or booleans."""
        axes = self._inputs[position]
        return axes.entries if isinstance(axes, Constant) and axes.are_numbers else None

    def blame(self, equation: core.JaxprEqn) -> None:
        """Makes an equation the reason of what follows."""
        shared = self._caller if self._is_shared else None
        source = equation.source_info if shared is None else shared.source_info
        self.graph.reason = EquationReason(equation.primitive.name, source, self._caller)

    def fresh(self, shape: Sequence[int], frozen: bool = False) -> Axes:
        """New axes."""
        return tuple(self.graph.leaf(size, frozen) for size in shape)

    def freeze(self, arrays: Sequence[Axes]) -> None:
        """Freezes every axis of some arrays."""
        for axes in arrays:
            for node in axes:
                self.graph.freeze(node)

    def unify_arrays(self, left: Axes, right: Axes) -> None:
        """Makes the axes of two arrays of one shape one."""
        for a, b in zip(left, right, strict=True):
            self.graph.unify(a, b)

    def unknown(self, equation: core.JaxprEqn, arguments: Sequence[Axes]) -> list[Axes]:
        """For what no rule knows: freezes what it touches and takes a note of it."""
        self.without_rule.setdefault(equation.primitive.name, self.graph.reason)
        return self.frozen_results(equation, arguments)

    def frozen_results(self, equation: core.JaxprEqn, arguments: Sequence[Axes]) -> list[Axes]:
        """Always sound: nothing that goes in is permuted, so nothing that comes out is."""
        self.freeze(arguments)
        return [self.fresh(shape_of(var), frozen=True) for var in equation.outvars]

    def _used_by(self, equation: core.JaxprEqn, arguments: list[Axes]) -> list[Axes]:
        """What a rule gets; those with jaxprs inside that pass an array on keep its marks."""
        passes = TAKES_UNIFORM.get(equation.primitive.name)
        if passes is None:
            return [self.used(axes) for axes in arguments]
        return [
            axes if is_passed else self.used(axes)
            for axes, is_passed in zip(arguments, passes(equation), strict=True)
        ]

    def _marked(
        self, equation: core.JaxprEqn, arguments: list[Axes], results: Sequence[Axes]
    ) -> list[Axes]:
        """The outputs, with marks on the axes along which they do not vary."""
        flags = uniform_axes(equation, arguments)
        if flags is None:
            return list(results)
        return [
            tuple(
                self.graph.uniform(node.size) if flag and node.size > 1 else node
                for node, flag in zip(axes, own, strict=True)
            )
            if 0 not in shape_of(var) and self._may_be_marked(aval_of(var).dtype)
            else axes
            for axes, own, var in zip(results, flags, equation.outvars, strict=True)
        ]

    def _known(
        self, equation: core.JaxprEqn, arguments: list[Axes], results: list[Axes]
    ) -> list[Axes]:
        """The outputs, and what they are where only constants go in.

        Its entries may tell less than the rule did: an axis of many equal blocks is frozen for
        them, while the rule of a reshape knows it as a product.
        """
        computed = folded(equation, arguments)
        if computed is None:
            return results
        (axes,), (entries, are_numbers) = results, computed
        if self._may_be_marked(aval_of(equation.outvars[0]).dtype):
            pattern = pattern_of(entries)
            lost = (node for axis, node in enumerate(axes) if pattern.is_frozen(axis))
            if all(map(is_fixed, lost)):
                return [self._patterned(axes, entries, are_numbers, pattern)]
        return [Constant.of(axes, entries, are_numbers)]

    def _may_be_marked(self, dtype: Any) -> bool:
        """Not keys, nor numbers that they may be made of: equal keys must stay tied."""
        if jnp.issubdtype(dtype, jax.dtypes.extended):
            return False
        return self.randomness == "frozen" or not jnp.issubdtype(dtype, np.integer)

    def _apply(self, equation: core.JaxprEqn, arguments: list[Axes]) -> Sequence[Axes]:
        name = equation.primitive.name
        if not is_live(equation, self._live):
            return [self.fresh(shape_of(var)) for var in equation.outvars]
        if name not in RULES:
            return self.unknown(equation, arguments)
        is_empty = any(0 in shape_of(var) for var in (*equation.invars, *equation.outvars))
        if is_empty and name not in TAKES_EMPTY:
            return self.frozen_results(equation, arguments)
        return RULES[name](self, equation, arguments)
