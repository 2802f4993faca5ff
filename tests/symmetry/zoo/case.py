"""What a case of the zoo is: a loss, and its symmetry as a person derives it."""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from unf_lopt.symmetry import PermutationSpec

PyTree = Any
Names = dict[str, tuple[str, ...]]

TRAP_SIZE = 8
"""In a case's trap variant every size is this one, so that nothing can be told by size."""

RAW_KEY = np.array([0, 42], np.uint32)
"""A key of JAX's default generator, made without computing anything."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """A loss and the table of axes that was written down for it by hand.

    Attributes:
      loss_fn: ``loss_fn(params, *args)``.
      params: shapes of the parameters (integers, whose values matter, are arrays).
      args: the other arguments, small arrays.
      names: for each parameter what its axes are made of, as ``PermutationSpec.from_names`` has
        it; empty where nobody wrote a table.
      fixed: the fixed ones among the spaces.
      sizes: sizes of spaces that the shapes alone do not tell.
      state_names: the same table for the leaves of the model state, or None.
      check_fixed_ties: whether the table also claims which fixed axes index the same thing.
      without_effect: the parameters that do not change the loss, though it is computed from
        them; numbers alone would let them be permuted by themselves.
      not_found: why inference finds only a part of the table's symmetries; empty where it finds
        them all. The table is all that products and sums of spaces can say.
      has_aux, state_argnum, randomness: options of ``infer_spec``.
    """

    loss_fn: Callable[..., Any]
    params: PyTree
    args: tuple[Any, ...]
    names: Names
    fixed: frozenset[str]
    sizes: Mapping[str, int]
    state_names: Names | None = None
    check_fixed_ties: bool = True
    without_effect: tuple[str, ...] = ()
    not_found: str = ""
    has_aux: bool = False
    state_argnum: int | None = None
    randomness: str = "frozen"

    @property
    def expected(self) -> PermutationSpec | None:
        """The table as a spec, or None where there is none."""
        return self._spec(self.names, self.params, self.sizes) if self.names else None

    @property
    def expected_state(self) -> PermutationSpec | None:
        """The table of the model state as a spec, or None where there is none."""
        if self.state_names is None:
            return None
        state = self.args[self.state_argnum]
        return self._spec(self.state_names, state, {**self.sizes, **self.expected.spaces})

    def _spec(self, names: Names, tree: PyTree, sizes: Mapping[str, int]) -> PermutationSpec:
        return PermutationSpec.from_names(names, tree, self.fixed & set(_spaces(names)), sizes)

    @property
    def loss_options(self) -> dict[str, Any]:
        """What inference and verification have to know about the loss's arguments."""
        return {"has_aux": self.has_aux, "state_argnum": self.state_argnum}

    @property
    def parameter_count(self) -> int:
        """How many numbers the parameters are."""
        return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(self.params))


class CannotBeBuilt(Exception):
    """A problem that this installation has no means to build; the message says what is missing."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A problem by name; nothing is computed before ``build()``.

    Attributes:
      name: ``"family/case"``, with ``/all-8`` where every size is that.
      build: makes the problem; raises :class:`CannotBeBuilt` where that cannot be.
    """

    name: str
    build: Callable[[], Problem]


def case(
    trap: bool | Mapping[str, int] = False, **sizes: int
) -> Callable[[Callable[..., Problem]], Any]:
    """Makes a function of sizes (``n.hidden``) a case, and with ``trap`` a second one of sizes 8.

    Sizes that the trap cannot change are named in it with the value they keep. The function gets
    the sizes as a namespace and has the list of its cases as ``cases``.
    """

    def decorate(build: Callable[[Any], Problem]) -> Callable[[Any], Problem]:
        family = build.__module__.rpartition(".")[2]
        name = f"{family}/{build.__name__}"
        variants = {name: sizes}
        if trap:
            kept = {} if trap is True else trap
            variants[f"{name}/all-{TRAP_SIZE}"] = dict.fromkeys(sizes, TRAP_SIZE) | kept
        build.cases = [
            Case(variant, lambda own=own: build(types.SimpleNamespace(**own)))
            for variant, own in variants.items()
        ]
        return build

    return decorate


def cases_of(module: types.ModuleType) -> list[Case]:
    """The cases of a module, in the order in which they are written."""
    return [item for member in vars(module).values() for item in getattr(member, "cases", ())]


def problem(
    n: types.SimpleNamespace,
    loss_fn: Callable[..., Any],
    table: str,
    args: Sequence[Any] = (),
    *,
    params: PyTree = None,
    state_table: str | None = None,
    **options: Any,
) -> Problem:
    """A problem whose table is written as text.

    Args:
      n: the case's sizes; a space whose name ends in a number may have the size of the name
        without it.
      loss_fn: ``loss_fn(params, *args)``.
      table: a line for each parameter: its path (``.`` for parameters that are one array),
        blanks, its axes with commas between; fixed spaces stand in square brackets.
      args: the loss's other arguments.
      params: shapes of the parameters; by default those that table and sizes give, as a nested
        dict of float32.
      state_table: the same for the model state.
      options: further fields of `Problem`.
    """
    names, fixed = read_table(table)
    state_names, state_fixed = (None, set()) if state_table is None else read_table(state_table)
    spaces = set(_spaces(names)) | set(_spaces(state_names or {}))
    sizes = {space: size for space in spaces if (size := _size_of(space, vars(n))) is not None}
    if params is None:
        params = _params_of(names, sizes)
    fixed = frozenset(fixed | state_fixed)
    return Problem(loss_fn, params, tuple(args), names, fixed, sizes, state_names, **options)


def read_table(table: str) -> tuple[Names, set[str]]:
    """Names by path, and the fixed spaces, of a table written as text."""
    names: Names = {}
    for line in filter(None, map(str.strip, table.splitlines())):
        path, _, axes = line.partition(" ")
        path = "" if path == "." else path
        if path in names:
            raise ValueError(f"the table has two lines for '{path}'.")
        own = axes.replace("[", "").replace("]", "").split(",") if axes.strip() else ()
        names[path] = tuple(axis.strip() for axis in own)
    fixed = set(re.findall(r"\[([^\]]+)\]", table))
    return names, fixed & set(_spaces(names))


def _spaces(names: Names) -> list[str]:
    words = [
        word for own in names.values() for axis in own for word in re.split(r"[\s+*()]+", axis)
    ]
    return [word for word in words if word not in ("", "1")]


def _size_of(space: str, sizes: Mapping[str, int]) -> int | None:
    return sizes.get(space, sizes.get(space.rstrip("0123456789_")))


def _params_of(names: Names, sizes: Mapping[str, int]) -> PyTree:
    params: dict[str, Any] = {}
    for path, axes in names.items():
        *parents, last = path.split("/")
        node = params
        for parent in parents:
            node = node.setdefault(parent, {})
        shape = tuple(_length(axis, sizes) for axis in axes)
        node[last] = jax.ShapeDtypeStruct(shape, np.float32)
    return params


def _length(axis: str, sizes: Mapping[str, int]) -> int:
    """The length of an axis of a table: sums of products of named sizes, or with brackets."""
    return int(eval(axis, {"__builtins__": {}}, dict(sizes)))  # the tables are this zoo's own
