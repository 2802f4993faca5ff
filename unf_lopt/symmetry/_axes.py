"""What an axis is made of: one space, a product of them (a reshape joins) or a sum (a concat)."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax.numpy as jnp

from unf_lopt.symmetry._errors import SpecError


@dataclasses.dataclass(frozen=True)
class Product:
    """An axis that indexes several spaces at once, row-major; no factor: an axis of size 1."""

    factors: tuple[Axis, ...]

    def __str__(self) -> str:
        return show(self)


@dataclasses.dataclass(frozen=True)
class Sum:
    """An axis whose segments, one after the other, are axes."""

    terms: tuple[Axis, ...]

    def __str__(self) -> str:
        return show(self)


Axis = str | Product | Sum

_TOKEN = re.compile(r"\s*([+*()]|[^\s+*()]+)")


def parse(text: str) -> Axis:
    """Reads an axis as people write it: ``"heads*width"``, ``"x + hidden"``, ``"1"``, a name.

    Raises:
      SpecError: the text is no such expression.
    """
    tokens = _TOKEN.findall(text)

    def expression() -> Axis:
        terms = [product()]
        while tokens and tokens[0] == "+":
            tokens.pop(0)
            terms.append(product())
        return terms[0] if len(terms) == 1 else Sum(tuple(terms))

    def product() -> Axis:
        factors = [atom()]
        while tokens and tokens[0] == "*":
            tokens.pop(0)
            factors.append(atom())
        return factors[0] if len(factors) == 1 else Product(tuple(factors))

    def atom() -> Axis:
        token = tokens.pop(0) if tokens else ""
        if token == "(":
            inner = expression()
            if not tokens or tokens.pop(0) != ")":
                raise SpecError(f"axis {text!r}: a ')' is missing.")
            return inner
        if token in ("", "+", "*", ")"):
            raise SpecError(f"axis {text!r}: expected a name, got {token or 'nothing'!r}.")
        return Product(()) if token == "1" else token

    axis = expression()
    if tokens:
        raise SpecError(f"axis {text!r}: did not expect {tokens[0]!r}.")
    return axis


def show(axis: Axis, name: Callable[[str], str] = str) -> str:
    """An axis as people write it; ``name`` says how a space is written."""
    if isinstance(axis, str):
        return name(axis)
    if isinstance(axis, Sum):
        return " + ".join(show(term, name) for term in axis.terms)
    parts = (
        f"({show(factor, name)})" if isinstance(factor, Sum) else show(factor, name)
        for factor in axis.factors
    )
    return "*".join(parts) or "1"


def spaces_of(axis: Axis) -> Iterator[str]:
    """The spaces that an axis is made of, from left to right, repeated where they are.

    Args:
      axis: the name of a space, or a product or sum of axes.

    Returns:
      An iterator over names: ``a, b, a`` for ``a*b + a``; nothing for an axis of size 1.
    """
    if isinstance(axis, str):
        yield axis
    else:
        for part in parts_of(axis):
            yield from spaces_of(part)


def parts_of(axis: Product | Sum) -> tuple[Axis, ...]:
    """The factors or terms of an axis."""
    return axis.factors if isinstance(axis, Product) else axis.terms


def size_of(axis: Axis, sizes: Mapping[str, int]) -> int:
    """The length of an axis."""
    if isinstance(axis, str):
        return sizes[axis]
    combine = math.prod if isinstance(axis, Product) else sum
    return combine(size_of(part, sizes) for part in parts_of(axis))


def rename(axis: Axis, names: Callable[[str], Axis]) -> Axis:
    """The same axis with every space replaced."""
    if isinstance(axis, str):
        return names(axis)
    return type(axis)(tuple(rename(part, names) for part in parts_of(axis)))


def index_of(
    axis: Axis, permutation: Mapping[str, Any], sizes: Mapping[str, int], xp: Any = jnp
) -> Any:
    """How a group element moves the entries along an axis: ``permuted[i] = original[index[i]]``.

    Args:
      axis: the axis.
      permutation: ``{space: index array}``; spaces left out stay as they are.
      sizes: the size of every space.
      xp: ``jax.numpy`` or ``numpy``.

    Returns:
      An index array of the axis's length.
    """
    if isinstance(axis, str):
        return xp.asarray(permutation[axis]) if axis in permutation else xp.arange(sizes[axis])
    parts = [index_of(part, permutation, sizes, xp) for part in parts_of(axis)]
    if isinstance(axis, Sum):
        starts = [0]
        for part in parts[:-1]:
            starts.append(starts[-1] + len(part))
        return xp.concatenate([part + start for part, start in zip(parts, starts, strict=True)])
    index = xp.zeros(1, int)
    for part in parts:
        index = (index[:, None] * len(part) + part[None, :]).reshape(-1)
    return index


def to_record(axis: Axis) -> Any:
    """An axis as JSON can write it."""
    if isinstance(axis, str):
        return axis
    return {type(axis).__name__.lower(): [to_record(part) for part in parts_of(axis)]}


def from_record(record: Any) -> Axis:
    """Reads what :func:`to_record` made."""
    if isinstance(record, str):
        return record
    ((kind, parts),) = record.items()
    return {"product": Product, "sum": Sum}[kind](tuple(from_record(part) for part in parts))
