"""What is left free, written down by hand, rule by rule.

Every parameter's axes are told in words of one letter: ``a`` is a free axis, the same wherever it
has the same letter, ``.`` is a frozen one or of size 1, ``a*b`` a product and ``a+b`` a sum.
Parts that are frozen side by side are told as one.
"""

from __future__ import annotations

import dataclasses
import itertools
import string
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unf_lopt.symmetry.inference import infer_traced, trace_loss
from unf_lopt.symmetry.inference._graph import LEAF, PRODUCT, AxisGraph, Node


@dataclasses.dataclass(frozen=True)
class Expectation:
    """A loss and its free axes.

    Attributes:
      name: what it shows.
      loss: of the parameters by name.
      shapes: of the parameters; those called ``i`` or ``j`` are integers.
      axes: what every parameter's axes should be.
    """

    name: str
    loss: Callable[..., Any]
    shapes: dict[str, tuple[int, ...]]
    axes: dict[str, str]


EXPECTATIONS: list[Expectation] = []


def expect(name: str, loss: Callable[..., Any], **parameters: tuple[tuple[int, ...], str]) -> None:
    """Notes an expectation; every parameter is given with its shape and its axes."""
    shapes = {key: shape for key, (shape, _) in parameters.items()}
    axes = {key: own for key, (_, own) in parameters.items()}
    EXPECTATIONS.append(Expectation(name, loss, shapes, axes))


def found(expectation: Expectation) -> dict[str, str]:
    """What the engine finds."""
    params = {
        key: jax.ShapeDtypeStruct(shape, np.int32 if key in "ij" else np.float32)
        for key, shape in expectation.shapes.items()
    }
    traced = trace_loss(lambda params: expectation.loss(**params), params, ())
    inference = infer_traced(traced)
    letters = iter(string.ascii_letters)
    names: dict[Node, str] = {}

    def letter(leaf: Node) -> str:
        if leaf.frozen or leaf.size == 1:
            return "."
        if leaf not in names:
            names[leaf] = next(letters)
        return names[leaf]

    read = zip(traced.paths, inference.inputs, strict=True)
    found = {
        path: " ".join(_show(inference.graph, axis, letter) for axis in axes) for path, axes in read
    }
    return {key: found[key] for key in expectation.shapes}


def wanted(expectation: Expectation) -> dict[str, str]:
    """What is expected, its letters in the order in which the engine's are given."""
    names: dict[str, str] = {}
    letters = iter(string.ascii_letters)

    def rename(text: str) -> str:
        return "".join(
            names.setdefault(sign, names.get(sign) or next(letters)) if sign.isalpha() else sign
            for sign in text
        )

    renamed = {key: rename(expectation.axes[key]) for key in sorted(expectation.axes)}
    return {key: renamed[key] for key in expectation.shapes}


def _show(graph: AxisGraph, node: Node, letter: Callable[[Node], str]) -> str:
    node = node.find()
    if node.kind is LEAF:
        return letter(node)
    is_product = node.kind is PRODUCT
    parts = graph.factors(node) if is_product else graph.segments(node)
    shown = _merged(_show(graph, part, letter) for part in parts)
    if len(shown) == 1:
        return shown[0]
    if is_product:
        shown = [f"({part})" if "+" in part else part for part in shown]
    return ("*" if is_product else "+").join(shown)


def _merged(shown: Iterator[str]) -> list[str]:
    merged: list[str] = []
    for text, run in itertools.groupby(shown):
        merged += ["."] if text == "." else list(run)
    return merged


def total(*arrays: Any) -> Any:
    """A scalar in which every entry of every array counts, and none is special."""
    return sum(jnp.sum(jnp.tanh(array)) for array in arrays)
