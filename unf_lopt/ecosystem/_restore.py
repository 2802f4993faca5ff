"""Restores the names that release 0.0.1 of the ecosystem uses and JAX has since removed.

Called before the first import of the release, and only where the release is what is installed.
Nothing else in this project writes to JAX's namespace.
"""

import importlib.util
import sys
import types
from typing import Any, NoReturn

import jax
import jax.core
import jax.interpreters.xla
import jax.lib

# Moved from `jax` to `jax.tree_util`; nearly every module of the release calls them.
_TREE_FUNCTIONS = ("tree_flatten", "tree_leaves", "tree_map", "tree_structure", "tree_unflatten")
_MAPPINGS = "pytype_aval_mappings"


def restore() -> None:
    """Adds the missing names, each only where it is missing; a second call does nothing."""
    for name in _TREE_FUNCTIONS:
        _add(jax, name, getattr(jax.tree_util, name))
    # `tree_multimap` was `tree_map` for several trees, before `tree_map` took several itself.
    _add(jax, "tree_multimap", jax.tree_util.tree_map)
    # Shapes of batches and of theta: tasks.datasets and the gradient estimators.
    _add(jax, "ShapedArray", jax.core.ShapedArray)
    # Only in annotations, but those are evaluated as outer_train and eval_training are imported.
    _add(jax.lib, "xla_client", types.SimpleNamespace(Device=jax.Device))
    # TensorFlow Probability, which a few tasks of the release import, registers its arrays there.
    if importlib.util.find_spec("tensorflow_probability") and hasattr(jax.core, _MAPPINGS):
        _add(jax.interpreters.xla, _MAPPINGS, getattr(jax.core, _MAPPINGS))
    # distributed and population import it at once, and use it only between several machines.
    sys.modules.setdefault("courier", _courier())


def _add(where: Any, name: str, value: Any) -> None:
    if not hasattr(where, name):
        setattr(where, name, value)


class _NoCourier:
    """Stands for `courier.Server` and `courier.Client`."""

    def __init__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise ModuleNotFoundError(
            "distributed training of learned_optimization needs the package 'courier' "
            "(dm-launchpad), which is not installed; training in one process does not",
            name="courier",
        )


def _courier() -> types.ModuleType:
    module = types.ModuleType("courier", "Stands in for a package that is not installed.")
    vars(module).update(Server=_NoCourier, Client=_NoCourier)
    return module
