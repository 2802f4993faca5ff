"""Weight spaces with every kind of axis, and random trees of them."""

import re
from collections.abc import Collection
from typing import Any

import jax.numpy as jnp
import numpy as np

from unf_lopt import PermutationSpec

# An attention with joined heads, one with axes of its own for them, gates, a kernel, a recurrent
# matrix, first, last and token matrices, and vectors of several kinds.
_AXES: dict[str, tuple[tuple[int, ...], tuple[str, ...]]] = {
    "embed": ((9, 4), ("tokens", "stream")),
    "query": ((4, 6), ("stream", "heads*keys")),
    "query_bias": ((6,), ("heads*keys",)),
    "attended": ((10, 4), ("heads*values", "stream")),
    "split_query": ((4, 2, 3), ("stream", "h2", "k2")),
    "split_query_bias": ((2, 3), ("h2", "k2")),
    "split_attended": ((2, 3, 4), ("h2", "k2", "stream")),
    "gates": ((9, 20), ("stream + cell", "cell + cell + cell + cell")),
    "gates_bias": ((20,), ("cell + cell + cell + cell",)),
    "recurrent": ((5, 5), ("cell", "cell")),
    "start": ((1, 5), ("1", "cell")),
    "pixels": ((3, 3, 1, 6), ("y", "x", "1", "channels")),
    "kernel": ((3, 3, 6, 4), ("y", "x", "channels", "stream")),
    "upsampled": ((4, 6), ("stream", "two*channels2")),
    "flat": ((18, 4), ("y*two*channels2", "stream")),
    "flat_kernel": ((3, 3, 3), ("y", "x", "channels2")),
    "experts": ((3, 4, 7), ("expert", "stream", "unit")),
    "experts_out": ((3, 7, 4), ("expert", "unit", "stream")),
    "logits": ((4, 8), ("stream", "classes")),
    "logits_bias": ((8,), ("classes",)),
    "temperature": ((), ()),
}
_FIXED = {"tokens", "y", "x", "two", "classes"}
_SIZES = {"heads": 2, "keys": 3, "values": 5, "two": 2, "channels2": 3}

NAMES = {path: names for path, (_, names) in _AXES.items()}


def random_tree(seed: int, dtype: Any = None, paths: Collection[str] = NAMES) -> dict[str, Any]:
    """A tree of the weight space, or of some of its parameters, standard normal."""
    generator = np.random.default_rng(seed)
    return {path: jnp.asarray(generator.normal(size=_AXES[path][0]), dtype) for path in paths}


def mixed_spec(paths: Collection[str] = NAMES) -> PermutationSpec:
    """The weight space with all of them, or some."""
    names = {path: NAMES[path] for path in paths}
    used = {word for own in names.values() for axis in own for word in re.split(r"[ +*]+", axis)}
    sizes = {space: size for space, size in _SIZES.items() if space in used}
    return PermutationSpec.from_names(names, random_tree(0, paths=paths), _FIXED & used, sizes)
