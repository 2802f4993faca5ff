"""What JAX's annotations of jaxprs leave open, said once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from jax.extend import core


class ArrayType(Protocol):
    """The abstract value of an array: what is known of it before a program runs."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def ndim(self) -> int: ...

    @property
    def dtype(self) -> Any: ...


def aval_of(atom: core.Var | core.Literal) -> ArrayType:
    """The abstract value of a variable or literal that is an array.

    JAX declares that of all, tokens included, which have no shape.
    """
    aval: Any = atom.aval
    return aval


def shape_of(atom: core.Var | core.Literal) -> tuple[int, ...]:
    """The shape of a variable or literal; empty for what has none, such as a token."""
    return tuple(getattr(atom.aval, "shape", ()))


def opened(jaxpr: core.Jaxpr | core.ClosedJaxpr) -> tuple[core.Jaxpr, Sequence[Any]]:
    """A jaxpr without its constants, and these; none where it is open."""
    if isinstance(jaxpr, core.ClosedJaxpr):
        return jaxpr.jaxpr, jaxpr.consts
    return jaxpr, ()


def inner_jaxprs(params: Mapping[str, Any]) -> Iterator[core.Jaxpr]:
    """The jaxprs among an equation's parameters, without their constants."""
    values = (value if isinstance(value, (tuple, list)) else (value,) for value in params.values())
    for value in itertools.chain(*values):
        if isinstance(value, (core.Jaxpr, core.ClosedJaxpr)):
            yield opened(value)[0]


def scan_counts(scan: core.JaxprEqn) -> tuple[int, int]:
    """How many of a scan's arguments are constants, and how many it carries; the rest is scanned.

    JAX 0.11 says it by the structure of the arguments, versions before by two numbers.
    """
    if "num_consts" in scan.params:
        return scan.params["num_consts"], scan.params["num_carry"]
    consts, carry, _ = scan.params["ft_in"].unpack()
    return len(list(consts)), len(list(carry))
