"""Tied coefficients as those of the full layer: the proof that the one contains the other."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import jax
import numpy as np

from unf_lopt.layers._linear import EquivariantLinear
from unf_lopt.layers._partitions import plain_axes
from unf_lopt.layers._plan import Term
from unf_lopt.layers._stacks import repeated
from unf_lopt.layers._tied import TiedLinear
from unf_lopt.layers._tied_means import DIAGONAL, rank_class
from unf_lopt.symmetry import PermutationSpec, companions

# A map that takes part in a tied term: the parameter and the index of its matrix, and a weight.
Contribution = tuple[Term, str, tuple[int, ...], float]


def untied(
    tied: TiedLinear, params: Mapping[str, jax.Array]
) -> tuple[EquivariantLinear, dict[str, np.ndarray]]:
    """The full layer, and its parameters, that computes what a tied layer does.

    Every tied term is a sum of basis maps with weights; the coefficient of a map is the weighted
    sum of the matrices of the terms that it takes part in.

    Args:
      tied: the tied layer.
      params: its parameters.

    Returns:
      The full layer and its parameters.
    """
    bias = "none" if tied.bias == "none" else "tensor"
    full = EquivariantLinear(tied.spec, tied.output_channels, bias=bias)
    kinds = {name: np.asarray(table) for name, table in tied.tables(params).items()}
    _, input_channels, output_channels = params["coefficients"].shape
    spec, dtype = full.plan.spec, params["coefficients"].dtype
    tables = {
        bucket: np.zeros((len(features), input_channels, len(slots), output_channels), dtype)
        for bucket, (features, slots) in full.plan.buckets.items()
    }
    for term, name, index, weight in _contributions(spec, tied.cross_terms):
        bucket, feature, slot = full.plan.locate(term)
        tables[bucket][feature, :, slot] += weight * kinds[name][index]
    result = full.layout(input_channels).params(tables)
    if bias == "tensor":
        ranks = [rank_class(len(axes)) for axes in spec.axes]
        result["bias"] = kinds["bias"][np.array(ranks)]
    return full, result


def _contributions(spec: PermutationSpec, cross_terms: bool) -> Iterator[Contribution]:
    for output in range(len(spec.axes)):
        yield from _own(spec, output)
        yield from _overall(spec, output)
        yield from _along_spaces(spec, output)
        if cross_terms:
            yield from _cross(spec, output)


def _term(spec: PermutationSpec, output: int, input_: int, joined: Iterable[Sequence[int]]) -> Term:
    """A map that joins some axes, the input's counted after the output's, and no others."""
    blocks = [tuple(sorted(block)) for block in joined]
    taken = {axis for block in blocks for axis in block}
    count = len(spec.axes[output]) + len(spec.axes[input_])
    blocks += [(axis,) for axis in range(count) if axis not in taken]
    return Term(output, input_, tuple(sorted(blocks)))


def _own(spec: PermutationSpec, tensor: int) -> Iterator[Contribution]:
    rank = len(plain_axes(spec)[tensor])
    target = rank_class(rank)
    identity = [(axis, rank + axis) for axis in range(rank)]
    yield _term(spec, tensor, tensor, identity), "self", (target,), 1.0
    if rank:
        yield _term(spec, tensor, tensor, []), "own_mean", (target - 1,), 1.0
    for axis in _free(spec, tensor) if rank > 1 else ():
        yield _term(spec, tensor, tensor, [identity[axis]]), "own_axis", (target - 2,), 1.0
    for first, second in _repeated(spec, tensor):
        others = [identity[axis] for axis in range(rank) if axis not in (first, second)]
        swapped = [*others, (first, rank + second), (second, rank + first)]
        yield _term(spec, tensor, tensor, swapped), "swap", (target - 2,), 1.0
        diagonal = [*others, (first, second, rank + first, rank + second)]
        yield _term(spec, tensor, tensor, diagonal), "own_diagonal", (target - 2,), 1.0


def _overall(spec: PermutationSpec, output: int) -> Iterator[Contribution]:
    rank = len(plain_axes(spec)[output])
    sources = [
        (rank_class(len(axes)), tensor, ()) for tensor, axes in enumerate(plain_axes(spec))
    ] + [
        (1 + DIAGONAL, tensor, pair)
        for tensor in range(len(plain_axes(spec)))
        for pair in _repeated(spec, tensor)
    ]
    counts = Counter(source for source, _, _ in sources)
    for source, tensor, pair in sources:
        joined = [[rank + axis for axis in pair]] if pair else []
        index = (rank_class(rank), source)
        yield _term(spec, output, tensor, joined), "overall", index, 1 / counts[source]


def _along_spaces(spec: PermutationSpec, output: int) -> Iterator[Contribution]:
    """From every axis and diagonal in a space to every axis and diagonal of the output in it."""
    axes = plain_axes(spec)[output]
    rank = len(axes)
    target = rank_class(rank)
    counts = Counter((source, space) for source, space, _, _ in _vectors(spec))
    free = _free(spec, output)
    places = [("space", target - 1, (axis,)) for axis in free]
    pairs = [pair for pair in _repeated(spec, output) if pair[0] in free]
    places += [("on_diagonal", target - 2, pair) for pair in pairs]
    for (name, index, place), vector in itertools.product(places, _vectors(spec)):
        source, space, tensor, read = vector
        if axes[place[0]] == space:
            joined = [(*place, *(rank + axis for axis in read))]
            weight = 1 / counts[source, space]
            yield _term(spec, output, tensor, joined), name, (index, source), weight


def _cross(spec: PermutationSpec, output: int) -> Iterator[Contribution]:
    axes = plain_axes(spec)[output]
    rank = len(axes)
    matrices = list(_matrices(spec))
    occurrences = Counter(key for _, key, _, _ in matrices)
    counts = Counter((source, key) for source, key, _, _ in matrices)
    for first, second in _mean_pairs(spec, output):
        for source, key, tensor, (a, b) in matrices:
            if key == (axes[first], axes[second]) and occurrences[key] > 1:
                joined = [(first, rank + a), (second, rank + b)]
                index = (rank_class(rank) - 2, source)
                yield _term(spec, output, tensor, joined), "pair", index, 1 / counts[source, key]


def _vectors(spec: PermutationSpec) -> Iterator[tuple[int, str, int, tuple[int, ...]]]:
    """Source, space, tensor and axes of everything that gives a vector along a space."""
    for tensor, axes in enumerate(plain_axes(spec)):
        free = _free(spec, tensor)
        for axis in free:
            yield rank_class(len(axes)) - 1, axes[axis], tensor, (axis,)
        for pair in (pair for pair in _repeated(spec, tensor) if pair[0] in free):
            yield DIAGONAL, axes[pair[0]], tensor, pair


def _matrices(
    spec: PermutationSpec,
) -> Iterator[tuple[int, tuple[str, str], int, tuple[int, int]]]:
    """Source, spaces, tensor and axes of everything that gives a matrix over two spaces."""
    found = [
        (rank_class(len(axes)) - 2, (axes[a], axes[b]), tensor, (a, b))
        for tensor, axes in enumerate(plain_axes(spec))
        for a, b in _mean_pairs(spec, tensor)
    ]
    there = {key for _, key, _, _ in found}
    yield from found
    for source, (s, t), tensor, (a, b) in found:
        if s != t and (t, s) in there:
            yield source, (t, s), tensor, (b, a)


def _repeated(spec: PermutationSpec, tensor: int) -> tuple[tuple[int, int], ...]:
    axes = plain_axes(spec)[tensor]
    return repeated(axes, companions(axes, spec.nested))


def _free(spec: PermutationSpec, tensor: int) -> list[int]:
    """The axes of spaces that are not nested."""
    return [axis for axis, space in enumerate(plain_axes(spec)[tensor]) if space not in spec.nested]


def _mean_pairs(spec: PermutationSpec, tensor: int) -> list[tuple[int, int]]:
    """Two axes whose outer ones are among them."""
    beside = companions(plain_axes(spec)[tensor], spec.nested)
    pairs = itertools.combinations(range(len(beside)), 2)
    return [pair for pair in pairs if {*beside[pair[0]], *beside[pair[1]]} <= {*pair}]
