"""A step whose few scalars are learned: Adam's and an orthogonalized direction, and a schedule."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from unf_lopt.optimizers import controller as control
from unf_lopt.optimizers import directions
from unf_lopt.optimizers.features import zero_momentum
from unf_lopt.optimizers.matrices import ROLES, Matrices

PyTree = Any
Scalars = dict[str, jax.Array]

_REFERENCE_STEPS = 200.0
_SMALLEST = 1e-30
# The controller multiplies a step size by at most e^±this.
_LARGEST_LOG_CHANGE = 2.0


class MixedState(NamedTuple):
    """What a step hands to the next.

    Attributes:
      first: running average of the gradient, leaves ``[*shape]``.
      second: of its square, leaves ``[*shape]``.
      iteration: steps taken.
      num_steps: how many there will be, T.
      running: what the controller remembers; None without one.
    """

    first: PyTree
    second: PyTree
    iteration: jax.Array
    num_steps: jax.Array
    running: control.Running | None = None


def initial_scalars() -> Scalars:
    """The scalars of a step set by hand, as they are learned: logarithms, logits and exponents.

    - ``log_step``, ``log_hidden``, ``log_last``, ``log_embedding``, ``log_vector``: the step size
      and what every role multiplies it by;
    - ``horizon``, ``decay``, ``slope``, ``noise``, ``log_warm_up``: κ, p, q, c and the steps of the
      warm-up, see :class:`MixedStep`;
    - ``logit_first``, ``logit_second``, ``logit_nesterov``: the decays μ and β2, and n;
    - ``mix``, ``mix_slope``: of the logit of w at the middle and from start to end.
    """
    start, end = _logit(0.92), _logit(0.86)
    values = {
        "log_step": -4.29,
        "log_hidden": -0.42,
        "log_last": -0.16,
        "log_embedding": -0.49,
        "log_vector": 0.05,
        "horizon": 0.0,
        "decay": -0.18,
        "slope": 0.0,
        "noise": 0.0,
        "log_warm_up": np.log(5.0),
        "logit_first": _logit(0.857),
        "logit_second": _logit(0.986),
        "logit_nesterov": _logit(0.63),
        "mix": (start + end) / 2,
        "mix_slope": end - start,
    }
    return {name: jnp.asarray(value, jnp.result_type(float)) for name, value in values.items()}


@dataclasses.dataclass(frozen=True)
class MixedStep:
    """``W ← W − α·(w·o + (1 − w)·a)``, Adam's direction a and an orthogonalized one o.

    With averages m and v of the gradient and its square (decays μ and β2), debiased,
    ``m̃ = n·m̂ + (1 − n)·∇`` and ``a = m̃ / (√v̂ + ε)``. For matrices o is ``m̃`` orthogonalized by
    Newton-Schulz with root mean square 1 (Jordan et al., 2024; Liu et al., arXiv 2502.16982); for
    vectors w is 0. At step t of T

        log α = log_step + log_role + κ·log(T/200) + e^p·log(1 − t/T + 1/2T) + q·t/T
                + c·log(Σ m̂² / Σ v̂) + log min(1, (t + 1)/warm-up),

    and the logit of w is a line in t/T. A controller, if there is one, adds to ``log α`` and to
    the logit of w of every tensor.

    Attributes:
      matrices: what the parameters are.
      controller: the functional with two outputs, or None.
      newton_schulz_steps: how exactly matrices are orthogonalized; 0: w is 0.
    """

    matrices: Matrices
    controller: control.Controller | None = None
    newton_schulz_steps: int = 5

    def init_theta(self, key: jax.Array) -> PyTree:
        """Initial theta: ``{"scalars": …}``, with a controller also ``{"controller": …}``."""
        theta = {"scalars": initial_scalars()}
        if self.controller is not None:
            theta["controller"] = self.controller.init(key)
        return theta

    def init(self, params: PyTree, num_steps: Any) -> MixedState:
        """State before the first step; ``num_steps`` may be traced."""
        first, second = zero_momentum(params), zero_momentum(params)  # two, to be donated
        count = len(self.matrices.paths)
        running = None if self.controller is None else control.start_running(count)
        steps = jnp.asarray(num_steps, jnp.float32)
        return MixedState(first, second, jnp.zeros((), jnp.int32), steps, running)

    def update(
        self,
        theta: PyTree,
        grad: PyTree,
        state: MixedState,
        params: PyTree,
        loss: Any = None,
        *,
        weight_decay: float = 0.0,
    ) -> tuple[PyTree, MixedState]:
        """What a step adds to the parameters, in float32 or wider, and the next state.

        Args:
          theta: as of :meth:`init_theta`.
          grad: the gradient, a tree like the parameters.
          state: of the last step.
          params: the parameters.
          loss: of this step; only a controller needs it.
          weight_decay: λ in ``W ← W − α·(d + λ·W)``.
        """
        scalars, grad, count = theta["scalars"], directions.wide(grad), state.iteration + 1
        first_decay, second_decay, nesterov = (
            jax.nn.sigmoid(scalars[f"logit_{name}"]) for name in ("first", "second", "nesterov")
        )
        first = directions.average(state.first, grad, first_decay)
        second = directions.average(state.second, jax.tree.map(jnp.square, grad), second_decay)
        g, unflatten = self.matrices.flatten(grad)
        m, _ = self.matrices.flatten(directions.unbiased(first, first_decay, count))
        v, _ = self.matrices.flatten(directions.unbiased(second, second_decay, count))
        p, _ = self.matrices.flatten(directions.wide(params))
        found = control.statistics(g, m, v, p)
        new = state._replace(first=first, second=second, iteration=count)
        changes = jnp.zeros((len(g), 2), jnp.float32)
        if self.controller is not None:
            running = control.update_running(_running(state), found, loss, state.iteration)
            new = new._replace(running=running)
            changes = self._changes(self.controller, theta["controller"], found, new, loss)
        log_step = self._log_steps(scalars, found, state) + changes[:, 0]
        logit = scalars["mix"] + scalars["mix_slope"] * (_share(state) - 0.5) + changes[:, 1]
        ahead = [nesterov * own + (1 - nesterov) * own_g for own, own_g in zip(m, g, strict=True)]
        steps = -jnp.exp(log_step)
        updates = self._combine(ahead, v, steps, jax.nn.sigmoid(logit))
        if weight_decay:
            updates = [u + steps[i] * weight_decay * p[i] for i, u in enumerate(updates)]
        return unflatten(updates), new

    def _changes(
        self,
        controller: control.Controller,
        theta: PyTree,
        found: control.Statistics,
        state: MixedState,
        loss: Any,
    ) -> jax.Array:
        """What the controller adds to the logarithm of α and the logit of w, ``[tensors, 2]``."""
        share = (state.iteration - 1) / state.num_steps
        features = control.describe(
            self.matrices, found, _running(state), loss, share, state.num_steps
        )
        out = controller.apply(theta, features)
        return _LARGEST_LOG_CHANGE * jnp.tanh(out / _LARGEST_LOG_CHANGE)

    def _log_steps(
        self, scalars: Scalars, found: control.Statistics, state: MixedState
    ) -> jax.Array:
        """The logarithm of the step size of every tensor, ``[tensors]``."""
        share, horizon = _share(state), state.num_steps
        sizes = jnp.asarray([np.prod(shape) for shape in self.matrices.shapes], jnp.float32)
        signal, power = (jnp.sum(sizes * x) for x in (found.first, found.second))
        roles = jnp.stack([scalars[f"log_{role}"] for role in ROLES])
        own = roles[np.array([ROLES.index(role) for role in self.matrices.roles])]
        warm = jnp.log(jnp.minimum(1.0, (state.iteration + 1) * jnp.exp(-scalars["log_warm_up"])))
        return own + (
            scalars["log_step"]
            + scalars["horizon"] * jnp.log(horizon / _REFERENCE_STEPS)
            + jnp.exp(scalars["decay"]) * jnp.log(jnp.maximum(1 - share, 0) + 0.5 / horizon)
            + scalars["slope"] * share
            + scalars["noise"] * (jnp.log(signal + _SMALLEST) - jnp.log(power + _SMALLEST))
            + warm
        )

    def _combine(
        self, ahead: list[jax.Array], v: list[jax.Array], steps: jax.Array, weights: jax.Array
    ) -> list[jax.Array]:
        """``steps·(w·o + (1 − w)·a)`` of every tensor."""
        orthogonal = ahead
        if self.newton_schulz_steps:
            orthogonal = directions.orthogonalize(self.matrices, ahead, self.newton_schulz_steps)
        updates = []
        for i, role in enumerate(self.matrices.roles):
            direction = directions.whitened(ahead[i], v[i])
            if role != "vector" and self.newton_schulz_steps:
                direction = weights[i] * orthogonal[i] + (1 - weights[i]) * direction
            updates.append(steps[i] * direction)
        return updates


def _running(state: MixedState) -> control.Running:
    if state.running is None:
        raise ValueError("the state is of an optimizer without a controller.")
    return state.running


def _share(state: MixedState) -> jax.Array:
    return jnp.minimum(state.iteration / state.num_steps, 1.0)


def _logit(p: float) -> float:
    return float(np.log(p) - np.log1p(-p))
