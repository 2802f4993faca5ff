"""A traced loss and its gradients as one compiled function in float64."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from unf_lopt.symmetry.inference._trace import TracedLoss
from unf_lopt.symmetry.verification._promote import Notes, promoted_array, promoted_function


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What the loss gives at one point.

    Attributes:
      loss: its value.
      gradients: the gradient of every parameter, None for integers; all None where the loss
        cannot be differentiated.
      state: the new model state, None for what is not a number.
    """

    loss: complex
    gradients: tuple[np.ndarray | None, ...]
    state: tuple[np.ndarray | None, ...]


class PromotedLoss:
    """Value and gradient of a traced loss in float64.

    The loss is differentiated as it was traced, in the user's precision; the jaxpr of both is
    then evaluated in float64 and compiled once.

    Args:
      traced: the loss.

    Attributes:
      traced: the loss.
      loss_only: why there are no gradients; empty if there are.
      notes: what could not be computed in float64; complete after the first evaluation.
    """

    def __init__(self, traced: TracedLoss):
        self.traced = traced
        self.notes = Notes()
        self._floats = [
            position
            for position, shape in enumerate(traced.inputs[: len(traced.paths)])
            if jnp.issubdtype(shape.dtype, np.inexact)
        ]
        self.loss_only = ""
        self._jaxpr = self._differentiated()
        self._function, self._is_native = self._promoted(), False

    def __call__(self, inputs: Sequence[Any]) -> Evaluation:
        """Evaluates at flat inputs: NumPy arrays in float64, integers, and keys."""
        try:
            outputs = self._function(inputs)
        except Exception as error:
            if self._is_native:
                raise
            self._is_native, self._function = True, self._native(error)
            outputs = self._function(inputs)
        loss, *rest = outputs
        gradients: list[np.ndarray | None] = [None] * len(self.traced.paths)
        if not self.loss_only:
            for position, gradient in zip(self._floats, rest, strict=False):
                gradients[position] = gradient
            rest = rest[len(self._floats) :]
        return Evaluation(loss.item(), tuple(gradients), tuple(rest))

    def _differentiated(self) -> core.ClosedJaxpr:
        """The jaxpr ``(*inputs) -> (loss, *gradients, *new state)``, without gradients at need."""
        loss = core.jaxpr_as_fun(self.traced.jaxpr)

        def loss_and_state(*inputs: Any) -> tuple[Any, list[Any]]:
            value, *state = loss(*inputs)
            return value, state

        def loss_and_gradients(*inputs: Any) -> list[Any]:
            differentiate = jax.value_and_grad(loss_and_state, self._floats, has_aux=True)
            (value, state), gradients = differentiate(*inputs)
            return [value, *gradients, *state]

        if not self._floats:
            self.loss_only = "no parameter is a float"
            return self.traced.jaxpr
        try:
            return jax.make_jaxpr(loss_and_gradients)(*self.traced.inputs)
        except Exception as error:  # whatever a primitive without a gradient raises
            self.loss_only = _told(error)
            return self.traced.jaxpr

    def _promoted(self) -> Callable[[Sequence[Any]], list[Any]]:
        compiled = jax.jit(promoted_function(self._jaxpr, self.notes))

        def function(inputs: Sequence[Any]) -> list[Any]:
            with jax.enable_x64(True):
                return [_number(output) for output in compiled(*inputs)]

        return function

    def _native(self, error: Exception) -> Callable[[Sequence[Any]], list[Any]]:
        self.notes.note(
            "the whole loss runs in its own types, for computing it in float64 failed with "
            f"{_told(error)}"
        )
        compiled = jax.jit(core.jaxpr_as_fun(self._jaxpr))

        def function(inputs: Sequence[Any]) -> list[Any]:
            native = [
                np.asarray(value, shape.dtype) if isinstance(value, np.ndarray) else value
                for value, shape in zip(inputs, self.traced.inputs, strict=True)
            ]
            with jax.enable_x64(True):
                return [_number(promoted_array(x, x.dtype)) for x in compiled(*native)]

        return function


def _number(x: jax.Array) -> np.ndarray | None:
    return None if jnp.issubdtype(x.dtype, jax.dtypes.extended) else np.asarray(x)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
