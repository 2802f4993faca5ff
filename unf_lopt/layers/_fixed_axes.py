"""How a layer treats fixed spaces: pixels, classes, positions, gates."""

from __future__ import annotations

import functools
import math
from collections import Counter

import numpy as np

from unf_lopt._options import check_option
from unf_lopt.layers._partitions import bell_number, beside_axes, plain_axes, valid_partitions
from unf_lopt.symmetry import PermutationSpec, SpecError

FIXED_AXES = ("exchangeable", "positional", "free")
POSITION_CHANNELS = 16
MAPS_LIMIT = 200_000


@functools.lru_cache(maxsize=256)
def plain_spec(spec: PermutationSpec, fixed_axes: str) -> tuple[PermutationSpec, PermutationSpec]:
    """The spec that a layer computes on, and its view with spaces numbered.

    With ``fixed_axes="free"`` every index of a fixed space is an axis of size 1 of its own, so that
    a tensor with a fixed axis of size n becomes n tensors without it.
    """
    check_option("fixed_axes", fixed_axes, FIXED_AXES)
    if fixed_axes == "free":
        spec = spec.distinguished(spec.fixed)
    return spec, spec.view.spec.canonical()


def count_maps(spec: PermutationSpec, *, fixed_axes: str = "exchangeable") -> int:
    """The number of basis maps of one layer on a weight space, without biases.

    The sum over pairs of tensors (l, m) of the product over spaces i of
    ``Bell(c_i(l) + c_i(m))``, with ``c_i`` the number of axes of a tensor in space i (Zhou et al.,
    arXiv 2402.05232, section 3). A fixed space counts as a permutable one, unless it is free: then
    an axis of size n in it multiplies the number of maps by n, as in Navon et al., arXiv
    2301.12780. With nested groups only those partitions count that join the axes of an inner space
    together with those of its outer ones.

    Args:
      spec: the weight space.
      fixed_axes: how fixed spaces are treated: ``"exchangeable"``, ``"positional"`` (as many) or
        ``"free"``.

    Returns:
      The number of coefficients of a layer with one input and one output channel.

    Raises:
      ValueError: an unknown ``fixed_axes``.
    """
    check_option("fixed_axes", fixed_axes, FIXED_AXES)
    if spec.nesting:
        return _count_nested(plain_spec(spec, fixed_axes)[1])
    free = spec.fixed if fixed_axes == "free" else frozenset()
    kinds: Counter[tuple[tuple[str, int], ...]] = Counter()
    for axes in spec.view.spec.axes:
        copies = math.prod(spec.spaces[name] for name in axes if name in free)
        kept = Counter(name for name in axes if name not in free)
        kinds[tuple(sorted(kept.items()))] += copies
    return sum(
        times
        * other_times
        * math.prod(map(bell_number, (Counter(dict(a)) + Counter(dict(b))).values()))
        for a, times in kinds.items()
        for b, other_times in kinds.items()
    )


def _count_nested(spec: PermutationSpec) -> int:
    """The same for a plain spec with nested groups, partition by partition."""
    all_axes = plain_axes(spec)
    kinds = Counter(all_axes)
    first = {axes: all_axes.index(axes) for axes in kinds}

    def maps(output: tuple[str, ...], input_: tuple[str, ...]) -> int:
        beside = beside_axes(spec, first[output], first[input_])
        return sum(1 for _ in valid_partitions(output + input_, beside))

    return sum(n * m * maps(out, in_) for out, n in kinds.items() for in_, m in kinds.items())


def check_count(spec: PermutationSpec, fixed_axes: str, limit: int) -> None:
    """Refuses a layer of more basis maps than a limit, before anything is made.

    Raises:
      SpecError: naming the count and what to do.
    """
    maps = count_maps(spec, fixed_axes=fixed_axes)
    if maps > limit:
        advice = 'coefficients="tied"'
        if fixed_axes == "free":
            advice = f'fixed_axes="positional" or {advice}'
        raise SpecError(
            f"a layer on this weight space has {maps:,} basis maps, each with a coefficient for "
            f"every pair of channels; the limit is {limit:,}. Take {advice}, or set maps_limit."
        )


@functools.lru_cache(maxsize=256)
def position_encoding(size: int) -> np.ndarray:
    """Sines and cosines of a position, ``[size, POSITION_CHANNELS]``.

    Wavelengths form a geometric sequence from 2π to 2π·10,000 (Vaswani et al., arXiv 1706.03762,
    section 3.5).
    """
    half = POSITION_CHANNELS // 2
    angles = np.arange(size)[:, None] / 10_000 ** (np.arange(half) / half)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
