"""Weight spaces that NFN knows: chains of layers, with the spatial axes of kernels kept apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator

from unf_lopt.symmetry import PermutationSpec, Product, SpecError, Sum, block_axes


def spatial_apart(spec: PermutationSpec) -> PermutationSpec:
    """The weight space of an MLP or CNN as NFN-NP sees it: every spatial position is a tensor.

    In a chain of layers every weight lies between the units of one layer and those of the next,
    and a vector (a bias, a scale) along the units of one. Kernels have spatial axes besides: NFN
    folds them into the channels (Zhou et al., "Permutation Equivariant Neural Functionals", arXiv
    2302.14040), so every position has coefficients of its own. That is the same as a tensor for
    each position, which is what the returned spec says: NFN's layer is :class:`unf_lopt.UNFLinear`
    on it.

    Which of a kernel's fixed axes are spatial: all where two others are permutable; else all but
    the one that other parameters share, as a bias shares the classes; else the channels are the
    last two axes, or the first two where the permutable one is the first.

    Args:
      spec: the weight space of a task.

    Returns:
      A spec of the same parameters, shapes and groups; of every spatial axis each index by itself.

    Raises:
      SpecError: the weight space is no chain of such layers.
    """
    blocks = dict(_blocks(spec))
    occurrences = Counter(space for axes in blocks.values() for space in axes)
    layers: dict[str, tuple[str, str]] = {}
    vectors: dict[str, str] = {}
    spatial: dict[str, str] = {}
    for path, axes in blocks.items():
        spaces = [axis for axis in axes if axis in spec.spaces]
        if not spaces:
            raise _no_chain(f"'{path}' is a scalar")
        if len(spaces) == 1:
            vectors[path] = spaces[0]
            continue
        first, second = _units(path, axes, spec.groups, occurrences)
        layers[path] = axes[first], axes[second]
        others = [axis for place, axis in enumerate(axes) if place not in (first, second)]
        spatial |= dict.fromkeys((axis for axis in others if axis in spec.spaces), path)
    _check_chain(layers)
    units = {space: path for path, pair in layers.items() for space in pair}
    units |= {space: path for path, space in vectors.items()}
    for space in spatial.keys() & units.keys():
        raise _no_chain(
            f"'{space}' is a spatial axis of '{spatial[space]}' and has units in '{units[space]}'"
        )
    return spec.replaced({space: Sum((Product(()),) * spec.spaces[space]) for space in spatial})


def _blocks(spec: PermutationSpec) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The spaces of every axis of every plain block of the parameters.

    An axis of size 1 lies in no space; here it has a name of its own, so that the grey images'
    kernel of one input channel has four axes as well.
    """
    for path, axes in zip(spec.paths, spec.axes, strict=True):
        named = [
            f"{path}:{place} of size 1" if axis == Product(()) else axis
            for place, axis in enumerate(axes)
        ]
        blocks = list(block_axes(named))
        for number, block in enumerate(blocks):
            yield (path if len(blocks) == 1 else f"{path}[{number}]"), block


def _units(
    path: str, axes: tuple[str, ...], groups: Collection[str], occurrences: Counter[str]
) -> tuple[int, int]:
    """The two axes of a weight that index units; the others are spatial."""
    permutable = [place for place, space in enumerate(axes) if space in groups]
    if len(permutable) > 2:
        raise _no_chain(f"'{path}' has {len(permutable)} permutable axes")
    if len(permutable) == 2:
        return permutable[0], permutable[1]
    if len(permutable) == 1 and len(axes) > 2:
        (own,) = permutable
        shared = [p for p, space in enumerate(axes) if p != own and occurrences[space] > 1]
        if len(shared) == 1:
            return own, shared[0]
        if own == 0:
            return 0, 1
    return len(axes) - 2, len(axes) - 1


def _check_chain(layers: dict[str, tuple[str, str]]) -> None:
    """Every space of units has at most one layer on each side, and no way leads back."""
    root: dict[str, str] = {}

    def find(space: str) -> str:
        while root.setdefault(space, space) != space:
            space = root[space]
        return space

    ends = Counter(space for pair in layers.values() for space in pair)
    for path, (one, other) in layers.items():
        if one == other:
            raise _no_chain(f"'{path}' leads from '{one}' to itself, as in a recurrent network")
        crowded = [space for space in (one, other) if ends[space] > 2]
        if crowded:
            paths = ", ".join(_touching(layers, crowded[0]))
            raise _no_chain(f"more than two weights meet in '{crowded[0]}': {paths}")
        if find(one) == find(other):
            raise _no_chain(f"'{path}' closes a circle of layers")
        root[find(one)] = find(other)


def _touching(layers: dict[str, tuple[str, str]], space: str) -> Iterator[str]:
    return (path for path, pair in layers.items() if space in pair)


def _no_chain(reason: str) -> SpecError:
    return SpecError(
        f"nfn takes MLPs and CNNs, chains of layers with weights and biases: {reason}. Take unf, "
        "which takes every weight space, or write the spec by hand."
    )
