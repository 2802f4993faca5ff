"""Lets the ecosystem's truncations run where JAX computes in 64 bits (JAX_ENABLE_X64).

A truncation either takes an inner step or starts the inner run anew, as the two branches of one
`cond`. The ecosystem writes the new run's step number and loss as `jnp.asarray(0)` and
`jnp.asarray(0.)`, which are 64 bits wide then, while those of a step are what they were: 32 bits,
for a task in float32. JAX refuses branches of different types, in both versions.
"""

import sys
from collections.abc import Callable
from typing import Any

import jax

# Where the versions have the function: the release, GitHub main.
_MODULES = ("outer_trainers.common", "outer_trainers.lopt_truncated_step")
_FUNCTION = "progress_or_reset_inner_opt_state"


def repair(package: str) -> None:
    """Gives the function, where it is loaded, a default `cond` that takes care of types.

    Args:
      package: the ecosystem's package.
    """
    for name in _MODULES:
        function = getattr(sys.modules.get(f"{package}.{name}"), _FUNCTION, None)
        if function is not None and jax.lax.cond in function.__defaults__:
            defaults = (cond if value is jax.lax.cond else value for value in function.__defaults__)
            function.__defaults__ = tuple(defaults)


def cond(pred: Any, step: Callable[..., Any], reset: Callable[..., Any], *operands: Any) -> Any:
    """`jax.lax.cond`; in 64 bits with what `reset` returns in the types of what `step` returns."""
    if not jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
        return jax.lax.cond(pred, step, reset, *operands)
    wanted = jax.eval_shape(step, *operands)

    def reset_alike(*operands: Any) -> Any:
        return jax.tree.map(_as_type_of, reset(*operands), wanted)

    return jax.lax.cond(pred, step, reset_alike, *operands)


def _as_type_of(value: Any, like: jax.ShapeDtypeStruct) -> Any:
    if jax.numpy.result_type(value) == like.dtype:
        return value
    return jax.lax.convert_element_type(value, like.dtype)
