"""Follows PRNG keys through a program that has been walked, to tie draws of the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.extend import core

from unf_lopt.symmetry.inference._graph import AxisGraph, Node
from unf_lopt.symmetry.inference._jaxprs import opened
from unf_lopt.symmetry.inference._key_arrays import (
    Keys,
    Number,
    Numbers,
    Value,
    is_key,
    is_scalar,
    moved,
    union,
)
from unf_lopt.symmetry.inference._key_rules import DRAWS, RULES
from unf_lopt.symmetry.inference._keys import OTHER, KeyTable, Use

if TYPE_CHECKING:
    from unf_lopt.symmetry.inference._walk import Step

# The parameters with the jaxprs that are walked, in order; those of a call are whichever it has.
_BODIES = {"scan": ("jaxpr",), "while": ("cond_jaxpr", "body_jaxpr"), "cond": ("branches",)}
_CALLED = ("jaxpr", "call_jaxpr", "call")
_JAXPRS = (core.Jaxpr, core.ClosedJaxpr)
_WITHOUT_EFFECT = ("debug_callback", "debug_print")


def jaxprs_walked(step: Step) -> tuple[str, ...]:
    """The parameters that hold the jaxprs inside, in the order of ``step.inner``.

    Empty where it is not known what goes into these jaxprs.
    """
    params = step.equation.params
    if step.equation.primitive.name in _BODIES:
        return _BODIES[step.equation.primitive.name]
    called = [name for name in _CALLED if isinstance(params.get(name), _JAXPRS)][:1]
    return tuple(called) if len(step.inner) == 1 else ()


def tie_draws(
    graph: AxisGraph,
    jaxpr: core.Jaxpr,
    consts: Sequence[Any],
    steps: Sequence[Step],
) -> None:
    """Makes the axes of random draws that may be the same numbers one, or freezes them.

    Args:
      graph: the axes.
      jaxpr: a program; its inputs are independent of each other where they are keys.
      consts: its constants.
      steps: what a walk saw of it that gave all draws axes of their own.
    """
    flow = KeyFlow(graph)
    inputs = [flow.argument(var.aval) for var in jaxpr.invars]
    flow.run(core.ClosedJaxpr(jaxpr, consts), steps, inputs)
    flow.table.constrain(graph)


class KeyFlow:
    """What the variables of a program hold, as far as it has to do with keys.

    Attributes:
      graph: the axes.
      table: all sets of keys.
      loops: the number of loops around the present place.
    """

    def __init__(self, graph: AxisGraph):
        self.graph = graph
        self.table = KeyTable()
        self.loops = 0

    def run(
        self,
        jaxpr: core.Jaxpr | core.ClosedJaxpr,
        steps: Sequence[Step],
        inputs: Sequence[Value],
    ) -> list[Value]:
        """What a jaxpr's outputs hold."""
        jaxpr, consts = opened(jaxpr)
        env = dict(zip(jaxpr.invars, inputs, strict=True))
        env.update(zip(jaxpr.constvars, map(self.constant, consts), strict=True))

        def read(atom: core.Var | core.Literal) -> Value:
            return self.constant(atom.val) if isinstance(atom, core.Literal) else env[atom]

        for step in steps:
            values = [read(atom) for atom in step.equation.invars]
            results = self.apply(step, values) if step.is_live else self._nothing(step)
            env.update(zip(step.equation.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def apply(self, step: Step, values: Sequence[Value]) -> list[Value]:
        """What an equation's outputs hold; a key of which nothing is known is still a key."""
        results = self._apply(step, values)
        return [
            self.unknown() if is_key(var.aval) and not isinstance(value, Keys) else value
            for var, value in zip(step.equation.outvars, results, strict=True)
        ]

    def _apply(self, step: Step, values: Sequence[Value]) -> Sequence[Value]:
        equation = step.equation
        name = equation.primitive.name
        if name in RULES:
            return RULES[name](self, step, values)
        if step.inner:
            return self._call(step, values)
        if name in _WITHOUT_EFFECT or all(value is None for value in values):
            return [None] * len(equation.outvars)
        results = moved(self.table, equation, values)
        return self.lose(step, values) if results is None else results

    def _nothing(self, step: Step) -> list[Value]:
        """The outputs of what nobody reads, or what has no entries: arrays of no keys."""
        avals = [var.aval for var in step.equation.outvars]
        return [
            Keys(self.table.new()) if is_key(aval) or _may_be_words(aval) else None
            for aval in avals
        ]

    def _call(self, step: Step, values: Sequence[Value]) -> Sequence[Value]:
        """The jaxpr inside, as if it stood here."""
        names = jaxprs_walked(step)
        if not names:
            return self.lose(step, values)
        return self.run(step.equation.params[names[0]], step.inner[0], values)

    # ------------------------------------------------------------------------------ where from
    def argument(self, aval: Any) -> Value:
        """An input: keys, words that may turn out to be keys, or a number."""
        if not is_key(aval) and not _may_be_words(aval):
            is_number = aval.ndim == 0 and np.issubdtype(aval.dtype, np.integer)
            return Number(0, symbol=object()) if is_number else None
        shape = aval.shape if is_key(aval) else aval.shape[:-1]
        return Keys(self.table.root(), (Numbers.rows(shape),) if shape else ())

    def constant(self, value: Any) -> Value:
        """A constant: keys, which are equal if their words are, or a number."""
        if is_key(value):
            return self._constant_keys(np.asarray(jax.random.key_data(value)))
        if np.ndim(value):
            return self._constant_keys(np.asarray(value)) if _may_be_words(value) else None
        is_integer = np.issubdtype(np.result_type(value), np.integer)
        return Number(int(value)) if is_integer else None

    def _constant_keys(self, words: np.ndarray) -> Keys:
        rows = np.unique(words.reshape(-1, words.shape[-1]), axis=0)
        children = [Keys(self.table.fixed).children(self.table, _number_of(row)) for row in rows]
        return union(self.table, children)

    def unknown(self) -> Keys:
        """Keys of which nothing is known."""
        return Keys(self.table.new(unknown=True))

    # ------------------------------------------------------------------------------------- uses
    def use(
        self,
        step: Step,
        value: Value,
        kind: tuple[Any, ...],
        axes: Sequence[Node] = (),
        derives: bool = False,
    ) -> None:
        """Notes what an equation makes of keys."""
        if isinstance(value, Keys):
            axes = tuple(node for node in axes if node.size != 1)
            value.all(self.table).uses.append(Use(kind, axes, derives, step.reason))

    def lose(self, step: Step, values: Sequence[Value]) -> list[Value]:
        """For what no rule knows: it may use keys in any way, so what it draws is frozen."""
        for value in values:
            self.use(step, value, OTHER)
        self.graph.reason = step.reason
        self._freeze_draws(step)
        return [None] * len(step.equation.outvars)

    def _freeze_draws(self, step: Step) -> None:
        for inner in (inner for steps in step.inner for inner in steps):
            if inner.equation.primitive.name in DRAWS:
                for node in inner.outputs[0]:
                    self.graph.freeze(node)
            self._freeze_draws(inner)

    def merge(self, step: Step, alternatives: Sequence[Value]) -> Value:
        """What is one of several."""
        keys = [value for value in alternatives if isinstance(value, Keys)]
        if len(keys) == len(alternatives):
            return union(self.table, keys)
        if all(value == alternatives[0] for value in alternatives):
            return alternatives[0]
        for value in alternatives:
            self.use(step, value, OTHER)
        return None

    # ------------------------------------------------------------------------------------ loops
    def enter(self, values: Sequence[Value]) -> list[Value]:
        """What a loop carries in all its iterations; ``leave`` adds what is not known yet."""
        return [union(self.table, [v]) if isinstance(v, Keys) else None for v in values]

    def leave(
        self,
        step: Step,
        starts: Sequence[Value],
        ends: Sequence[Value],
        initial: Sequence[Value] | None = None,
    ) -> list[Value]:
        """What a loop has carried in the end.

        Args:
          step: the loop.
          starts: what its iterations begin with, from ``enter``.
          ends: what they end with.
          initial: what the first begins with, if there may be no iteration.
        """
        avals = [var.aval for var in step.equation.outvars]
        results: list[Value] = []
        for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
            if not isinstance(start, Keys):
                self.use(step, end, OTHER)
                results.append(None)
                continue
            end = end if isinstance(end, Keys) else self.unknown()
            after = end.all(self.table)
            after.flow_into(start.base)
            first = None if initial is None else initial[number]
            final = union(self.table, [first, end] if isinstance(first, Keys) else [end])
            if not self.loops and is_scalar(avals[number]) and after.extends(start.base):
                # Every iteration derives a new key, so that the last is none of those before.
                self.table.never_equal(start.base, final.base)
            results.append(final)
        return results


def _may_be_words(array: Any) -> bool:
    dtype, shape = getattr(array, "dtype", None), np.shape(array)
    return dtype == np.uint32 and len(shape) > 0 and shape[-1] in (2, 4)


def _number_of(words: np.ndarray) -> Numbers:
    """The seed that makes a key of these words, or a number that is no seed."""
    parts = [int(word) for word in words]
    if parts[:2] == parts[2:]:  # rbg's are threefry's twice
        parts = parts[:2]
    number = sum(part << 32 * place for place, part in enumerate(reversed(parts)))
    return Numbers(number + 2**64 * (len(parts) == 4))
