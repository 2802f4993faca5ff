"""The layer as its definition reads, one term at a time: slow, and what the fast one must equal."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from unf_lopt.layers._fixed_axes import plain_spec, position_encoding
from unf_lopt.layers._linear import EquivariantLinear
from unf_lopt.layers._partitions import beside_axes, plain_axes, valid_partitions
from unf_lopt.layers._plan import Term, terms
from unf_lopt.symmetry import PermutationSpec

Array = Any


def apply_term(spec: PermutationSpec, term: Term, x: Array, *, xp: Any = jnp) -> Array:
    """One basis map W(m) -> W(l).

    Every block of the term's partition gets a letter, every output axis one of its own tied to
    its block's by a Kronecker delta: the map averages over blocks without output axes, repeats
    along blocks without input axes, and is zero off the output's diagonals.

    Args:
      spec: the weight space.
      term: output and input tensor and the partition of the axes of both.
      x: ``[*shape of the input tensor, channels]``.
      xp: ``jax.numpy``, or ``numpy``, which compiles nothing.

    Returns:
      ``[*shape of the output tensor, channels]``.
    """
    axes = plain_axes(spec)
    out_axes, in_axes = axes[term.output], axes[term.input]
    rank = len(out_axes)
    sizes = [spec.spaces[name] for name in out_axes + in_axes]
    letters = iter(string.ascii_letters)
    output_letters = [next(letters) for _ in out_axes]
    channel = next(letters)
    input_letters: dict[int, str] = {}
    operands, subscripts, averaged = [], [], 1
    for block in term.blocks:
        letter, size = next(letters), sizes[block[0]]
        outside = [axis for axis in block if axis < rank]
        inside = [axis - rank for axis in block if axis >= rank]
        input_letters |= dict.fromkeys(inside, letter)
        if not outside:
            averaged *= size
        if not inside:
            operands.append(xp.ones(size, x.dtype))
            subscripts.append(letter)
        for axis in outside:
            operands.append(xp.eye(size, dtype=x.dtype))
            subscripts.append(letter + output_letters[axis])
    subscripts.append("".join(input_letters[axis] for axis in range(len(in_axes))) + channel)
    equation = ",".join(subscripts) + "->" + "".join(output_letters) + channel
    return xp.einsum(equation, *operands, x) / averaged


def apply_by_definition(
    layer: EquivariantLinear, params: Mapping[str, Array], features: Any, *, xp: Any = jnp
) -> Any:
    """What ``layer.apply(params, features)`` must equal, by the definition, term by term."""
    spec = layer.plan.spec
    leaves, unflatten = plain_spec(layer.spec, layer.fixed_axes)[0].view.flatten(features)
    outputs = [xp.zeros((*shape, layer.output_channels), leaves[0].dtype) for shape in spec.shapes]
    channels = leaves[0].shape[-1]
    tables = layer.layout(channels).tables(layer.coefficients(params, channels))
    for term in terms(spec):
        bucket, feature, slot = layer.plan.locate(term)
        coefficient = tables[bucket][feature, :, slot]
        mapped = apply_term(spec, term, leaves[term.input], xp=xp) @ coefficient
        outputs[term.output] = outputs[term.output] + mapped
    for tensor, bias in enumerate(_biases(layer, params, xp)):
        outputs[tensor] = outputs[tensor] + bias
    if layer.fixed_axes == "positional":
        rows = iter(params.get("positions", ()))
        for tensor, names in enumerate(spec.axes):
            for axis, name in enumerate(names):
                if name in spec.fixed:
                    encoded = xp.asarray(position_encoding(spec.spaces[name])) @ next(rows)
                    shape = [1] * len(names) + [layer.output_channels]
                    shape[axis] = -1
                    outputs[tensor] = outputs[tensor] + encoded.reshape(shape)
    return unflatten(outputs)


def _biases(layer: EquivariantLinear, params: Mapping[str, Array], xp: Any) -> list[Any]:
    """For each tensor what is added to it: constant, or constant on each of its diagonals."""
    if layer.bias == "none":
        return []
    if layer.bias == "tensor":
        return list(params["bias"])
    rows = iter(params["bias"])
    biases = []
    spec = layer.plan.spec
    for tensor, (axes, shape) in enumerate(zip(plain_axes(spec), spec.shapes, strict=True)):
        total: Any = 0.0
        own = valid_partitions(axes, beside_axes(spec, tensor))
        partitions = sorted(own, key=lambda blocks: (-len(blocks), blocks))
        for blocks in partitions:
            on_diagonal = xp.ones(shape)
            grid = xp.indices(shape)
            for block in blocks:
                for axis in block[1:]:
                    on_diagonal = on_diagonal * (grid[block[0]] == grid[axis])
            total += on_diagonal[..., None] * next(rows)
        biases.append(total)
    return biases
