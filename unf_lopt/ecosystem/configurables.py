"""Importing this loads what ecosystem.gin and the experiments name, in either version.

It also makes gin macros survive the ecosystem's `run_train`, which moves every binding into one
scope before it builds anything and thereby forgets which macro had which value.
"""

from collections.abc import Mapping
from typing import Any

import gin.config

from unf_lopt import ecosystem
from unf_lopt.ecosystem.task_spec import spec_from_names

__all__ = ["inline_macros", "spec_from_names"]

_MODULES = (
    "learned_optimizers.base",
    "learned_optimizers.mlp_lopt",
    "outer_train",
    "outer_trainers.truncated_es",
    "outer_trainers.truncated_pes",
    "outer_trainers.truncation_schedule",
    "tasks.fixed.image_mlp",
    "tasks.quadratics",
)
_MACRO = "gin.macro"

for _module in _MODULES:
    ecosystem.load(_module)


@gin.config.register_finalize_hook
def inline_macros(config: Mapping[tuple[str, str], Mapping[str, Any]]) -> dict[str, Any]:
    """Gin's finalize hook: every binding that names a macro, with the macro's value in its place.

    Args:
      config: gin's bindings by (scope, configurable) and parameter.

    Returns:
      The changed bindings by "SCOPE/CONFIGURABLE.PARAMETER".

    Raises:
      ValueError: macros refer to each other in a circle.
    """
    changed = {}
    for (scope, selector), bindings in config.items():
        for parameter, value in bindings.items():
            inlined = _inline(value, config)
            if inlined is not value and selector != _MACRO:
                prefix = f"{scope}/" if scope else ""
                changed[f"{prefix}{selector}.{parameter}"] = inlined
    return changed


def _inline(
    value: Any, config: Mapping[tuple[str, str], Mapping[str, Any]], within: tuple[str, ...] = ()
) -> Any:
    if isinstance(value, gin.config.ConfigurableReference):
        macro = config.get(value.config_key) if value.config_key[1] == _MACRO else None
        if macro is None:
            return value
        name = value.config_key[0]
        if name in within:
            circle = " = ".join(f"%{macro}" for macro in (*within, name))
            raise ValueError(f"macros refer to each other: {circle}; give one of them a value.")
        return _inline(macro["value"], config, (*within, name))
    if isinstance(value, dict):
        inlined = {key: _inline(item, config, within) for key, item in value.items()}
        same = all(inlined[key] is value[key] for key in value)
    elif isinstance(value, list | tuple):
        inlined = type(value)(_inline(item, config, within) for item in value)
        same = all(new is old for new, old in zip(inlined, value, strict=True))
    else:
        return value
    return value if same else inlined
