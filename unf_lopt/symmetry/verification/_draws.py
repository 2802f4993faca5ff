"""Random parameters and arguments at which a law is tested."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unf_lopt.symmetry._errors import SymmetryError
from unf_lopt.symmetry.inference._trace import TracedLoss
from unf_lopt.symmetry.verification._loss import Evaluation, PromotedLoss
from unf_lopt.symmetry.verification._promote import promoted_dtype

# How a parameter's random entries are scaled, and whether their sign is dropped: what is tried,
# one after the other, until the loss can be computed.
_TRIES = (
    (1.0, False),
    (1.0, False),
    (0.5, False),
    (2.0, False),
    (0.1, False),
    (1.0, True),
    (0.3, True),
    (0.01, False),
)
# Gradients below so many times the loss are as good as none.
_NEGLIGIBLE = 1e-9


@dataclasses.dataclass(frozen=True)
class Point:
    """Flat inputs of the loss, and what it gives there."""

    inputs: tuple[Any, ...]
    value: Evaluation


def draw_points(loss: PromotedLoss, rng: np.random.Generator, count: int) -> list[Point]:
    """Random points at which loss and gradients are finite and not negligible.

    Raises:
      SymmetryError: no such point was found; it tells what was.
    """
    points: list[Point] = []
    seen: dict[str, None] = {}
    for _ in range(count):
        for scale, positive in _TRIES:
            inputs = draw_inputs(loss.traced, rng, scale, positive)
            value = loss(inputs)
            reason = _useless(value, loss, points)
            if not reason:
                points.append(Point(inputs, value))
                break
            seen[reason] = None
        else:
            raise SymmetryError(
                f"verify_spec: none of {len(_TRIES)} random draws of the parameters gave a finite "
                f"loss with finite gradients that are not negligible; seen: {'; '.join(seen)}. A "
                "symmetry can be tested only where the loss can be computed: give arguments that "
                "allow it, or transform the parameters inside the loss."
            )
    return points


def _useless(value: Evaluation, loss: PromotedLoss, points: list[Point]) -> str:
    """Why nothing can be tested at a point; empty if it can."""
    if not np.isfinite(value.loss):
        return f"the loss is {value.loss}"
    largest = 0.0
    for path, gradient in zip(loss.traced.paths, value.gradients, strict=True):
        if gradient is not None:
            if not np.isfinite(gradient).all():
                return f"the gradient of '{path}' is not finite"
            largest = max(largest, float(np.max(np.abs(gradient))))
    if loss.loss_only:
        if any(abs(value.loss - p.value.loss) <= _NEGLIGIBLE * abs(value.loss) for p in points):
            return f"the loss is {value.loss:.6g} whatever the parameters are"
    elif largest <= _NEGLIGIBLE * abs(value.loss):
        return f"the largest entry of all gradients is {largest:.1e}, with a loss of {value.loss}"
    return ""


def draw_inputs(
    traced: TracedLoss, rng: np.random.Generator, scale: float, positive: bool
) -> tuple[Any, ...]:
    """Flat inputs: random parameters and model state, arguments as given or random.

    Parameters are drawn by :func:`draw_parameter`; integer ones stay as they are given. The model
    state is moved by random positive numbers, so that zeros, and variances of one, become
    something that a permutation changes. An argument that was given is used as it is; a
    ``ShapeDtypeStruct`` is drawn: normal, small integers, random keys.
    """

    def draw(position: int) -> Any:
        shape, value = traced.inputs[position], traced.values[position]
        is_float = jnp.issubdtype(shape.dtype, np.inexact)
        if position < len(traced.paths) and is_float:
            return draw_parameter(shape, rng, scale, positive)
        if position in traced.state_inputs and is_float:
            given = 0.0 if value is None else _as_given(value, shape)
            return given + 0.5 + 0.2 * rng.random(shape.shape)
        return draw_argument(shape, rng) if value is None else _as_given(value, shape)

    return tuple(map(draw, range(len(traced.inputs))))


def draw_parameter(
    leaf: jax.ShapeDtypeStruct, rng: np.random.Generator, scale: float, positive: bool
) -> np.ndarray:
    """Random entries, never the usual initial ones: zeros and ones hide what a permutation does.

    Tensors of rank two and more are normal with standard deviation ``scale / sqrt(fan in)``,
    vectors and scalars normal around ``scale / 2``.
    """

    def draw() -> np.ndarray:
        x = rng.standard_normal(leaf.shape)
        x = 0.5 + 0.2 * x if len(leaf.shape) < 2 else x / np.sqrt(np.prod(leaf.shape[:-1]))
        return scale * (np.abs(x) if positive else x)

    return _of_kind(draw, leaf.dtype)


def draw_argument(shape: jax.ShapeDtypeStruct, rng: np.random.Generator) -> Any:
    """A random array or key of a shape: normal floats, integers 0 and 1, random bits of keys."""
    dtype = shape.dtype
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        key = jax.random.key(int(rng.integers(2**31)), impl=dtype._impl)
        return jax.random.split(key, shape.shape) if shape.shape else key
    if jnp.issubdtype(dtype, np.inexact):
        return _of_kind(lambda: rng.standard_normal(shape.shape), dtype)
    if dtype == np.uint32 and shape.shape[-1:] == (2,):  # a key, as jax.random.PRNGKey makes it
        return rng.integers(2**32, size=shape.shape, dtype=np.uint32)
    return np.asarray(rng.integers(2, size=shape.shape)).astype(dtype)


def _of_kind(draw: Callable[[], np.ndarray], dtype: Any) -> np.ndarray:
    """A draw in float64, or two of them as one in complex128."""
    x = draw()
    if jnp.issubdtype(dtype, np.complexfloating):
        x = x + 1j * draw()
    return np.asarray(x, promoted_dtype(dtype))


def _as_given(value: Any, shape: jax.ShapeDtypeStruct) -> Any:
    if jnp.issubdtype(shape.dtype, jax.dtypes.extended):
        return value
    return np.asarray(value).astype(promoted_dtype(shape.dtype))
