"""Universal neural functionals as learned optimizers for `learned_optimization`.

Names are loaded when they are first used, so that a layer costs no import of the ecosystem.
"""

import importlib
from typing import Any

from unf_lopt._version import __version__

_HOMES = {
    "PermutationSpec": "unf_lopt.symmetry",
    "SpecError": "unf_lopt.symmetry",
    "SymmetryError": "unf_lopt.symmetry",
    "assert_equivariant": "unf_lopt.symmetry",
    "common_refinement": "unf_lopt.symmetry",
    "infer_spec": "unf_lopt.symmetry",
    "verify_spec": "unf_lopt.symmetry",
    "UNF": "unf_lopt.layers",
    "UNFLinear": "unf_lopt.layers",
    "InvariantPool": "unf_lopt.layers",
    "PointwiseMLP": "unf_lopt.layers",
    "count_maps": "unf_lopt.layers",
    "load": "unf_lopt.optimizers",
    "to_optax": "unf_lopt.optimizers",
    "trained_optimizers": "unf_lopt.optimizers",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'unf_lopt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
