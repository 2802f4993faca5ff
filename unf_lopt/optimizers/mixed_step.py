"""A step whose few scalars are learned: a mix of directions, and a schedule."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from unf_lopt._types import PyTree
from unf_lopt.optimizers import controller as control
from unf_lopt.optimizers import directions, hypergradient, schedules
from unf_lopt.optimizers.entry_functional import entry_features
from unf_lopt.optimizers.features import zero_momentum
from unf_lopt.optimizers.functional import Functional
from unf_lopt.optimizers.lines import lines_of
from unf_lopt.optimizers.matrices import Matrices
from unf_lopt.optimizers.mixed_theta import Scalars
from unf_lopt.optimizers.orthogonalization import Orthogonalization, orthogonalize
from unf_lopt.optimizers.statistics import (
    Averages,
    Statistics,
    bounded,
    cosine,
    next_statistics,
    no_averages,
    products,
    squares,
)
from unf_lopt.optimizers.subspace import Bases

Leaves = list[jax.Array]
# By name, a direction of matrices: of what they are, a look-ahead of the momentum and the debiased
# second moments. Vectors always have Adam's.
_DIRECTIONS: dict[str, Callable[[Matrices, Leaves, Leaves], Leaves]] = {
    "adam": lambda matrices, ahead, v: list(map(directions.whitened, ahead, v)),
    "factored": directions.factored_whitened,
    "momentum": lambda matrices, ahead, v: list(map(directions.unit_rms, ahead)),
    "normalized": lambda matrices, ahead, v: directions.normalize(matrices, ahead),
}
# The one that remembers something.
_ORTHOGONALIZED = "orthogonalized"
DIRECTIONS = (*_DIRECTIONS, _ORTHOGONALIZED)

_NEWTON_SCHULZ = Orthogonalization()
# The controller multiplies a step size by at most e^±this.
_LARGEST_LOG_CHANGE = 4.0


class MixedState(NamedTuple):
    """What a step hands to the next.

    Attributes:
      first: running average of the gradient, leaves ``[*shape]``.
      second: of its square, leaves ``[*shape]``.
      averages: what is known of these two, a number a tensor.
      iteration: steps taken.
      num_steps: how many there will be, T.
      running: what the controller remembers; None without one.
      log_factors: of step sizes that follow the hypergradient; None if none do.
      bases: of wide matrices that are orthogonalized in a subspace; none if none are.
      scales: of the initial weights, in which a learned weight decay is measured; None without one.
    """

    first: PyTree
    second: PyTree
    averages: Averages
    iteration: Int[Array, ""]
    num_steps: Float[Array, ""]
    running: control.Running | None = None
    log_factors: Float[Array, " tensors"] | None = None
    bases: Bases = ()
    scales: Float[Array, " tensors"] | None = None


@dataclasses.dataclass(frozen=True)
class MixedStep:
    """``W ← W − α·Σᵢ wᵢ·dᵢ``, a mix of directions with weights that sum to one.

    With averages m and v of the gradient and its square (decays μ and β2), debiased, and
    ``m̃ = n·m̂ + (1 − n)·∇``, the directions of matrices are

    - ``"adam"``: ``m̃ / (√v̂ + ε)``; of vectors it is the only one;
    - ``"factored"``: the same with v̂ replaced by the product of its rows' and columns' means
      (Shazeer and Stern, arXiv 1804.04235);
    - ``"momentum"``: m̃ with root mean square 1 in the tensor;
    - ``"normalized"``: m̃ with rows and columns of equal root mean square, see
      :func:`directions.normalize`;
    - ``"orthogonalized"``: m̃ with equal singular values by Newton-Schulz (Jordan et al., 2024;
      Liu et al., arXiv 2502.16982), see :func:`orthogonalize`.

    The weights are the softmax of logits that are lines in t/T, of the first direction 0. At step
    t of T

        log α = log_step + log_role + κ·log(T/200) + e^p·log(1 − t/T + 1/2T) + q·t/T
                + c·log(Σ m̂² / Σ v̂) + log min(1, (t + 1)/warm-up).

    If step sizes depend on extents, ``Σ_x η_x·log(x / x₀)`` of the tensor is added, over the rows,
    the columns and the window of its matrices and the number of all tensors, x₀ of a small network.
    If they follow
    the hypergradient, ``log r`` of the tensor is added, which
    :func:`hypergradient.next_log_factors` changes at every step.

    With a learned weight decay, ``W ← (W − α·d) / (1 + α·λ/s)`` of matrices: the proximal step,
    which is stable for every λ (Zhuang et al., arXiv 2202.00089). ``log λ`` is a line in t/T. The
    scale s of a tensor is the root mean square of its initial weights, or that of LeCun's
    initialization where it is larger; so λ has no unit, as α has that of the weights.

    A controller, if there is one, adds to ``log α``, to the logits, to the change of ``log r`` and
    to ``log λ`` of every tensor, and to ``log α`` of rows and columns. A functional turns the mix
    entry by entry, and leaves its root mean square in the tensor as it is, see
    :func:`directions.corrected`.

    Attributes:
      matrices: what the parameters are.
      mixed: the names of the directions, see `DIRECTIONS`.
      controller: the functional with as many outputs as there are directions, and one more if
        step sizes follow the hypergradient, and one for a learned weight decay; or None.
      orthogonalization: how exactly matrices are orthogonalized, where they are.
      functional: as :func:`entry_functional` makes it, or None.
      horizon: whether the step depends on T; else κ, p, q and slopes do nothing, and controller
        and functional see zeros in the place of time.
      gradient_clip: largest Euclidean norm of the whole gradient; None for no limit.
      follows_hypergradient: whether every tensor remembers a factor of its step size.
      sees_extents: whether step sizes are powers of the rows, columns and window of matrices, and
        of the number of tensors.
      decays: whether matrices have a learned weight decay.
    """

    matrices: Matrices
    mixed: tuple[str, ...]
    controller: control.Controller | None = None
    orthogonalization: Orthogonalization = _NEWTON_SCHULZ
    functional: Functional | None = None
    horizon: bool = True
    gradient_clip: float | None = None
    follows_hypergradient: bool = False
    sees_extents: bool = False
    decays: bool = False

    def init(self, params: PyTree, num_steps: Any) -> MixedState:
        """State before the first step; ``num_steps`` may be traced."""
        first, second = zero_momentum(params), zero_momentum(params)  # two, to be donated
        count = len(self.matrices.paths)
        running = None if self.controller is None else control.start_running(count)
        steps = jnp.asarray(num_steps, jnp.float32)
        averages = no_averages(count, jnp.result_type(*jax.tree.leaves(first), jnp.float32))
        factors = hypergradient.start_log_factors(count) if self.follows_hypergradient else None
        started, bases = jnp.zeros((), jnp.int32), ()
        if _ORTHOGONALIZED in self.mixed:
            bases = self.orthogonalization.start(self.matrices)
        scales = self._scales(params) if self.decays else None
        return MixedState(first, second, averages, started, steps, running, factors, bases, scales)

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
          theta: as of :func:`mixed_theta.initial_theta`.
          grad: the gradient, a tree like the parameters.
          state: of the last step.
          params: the parameters.
          loss: of this step; only a controller needs it.
          weight_decay: λ in ``W ← W − α·(d + λ·W)``.
        """
        scalars, count = theta["scalars"], state.iteration + 1
        moment = schedules.Moment(state.iteration, state.num_steps, self.horizon)
        time = moment.features()
        first_decay, second_decay, nesterov = (
            jax.nn.sigmoid(scalars[f"logit_{name}"]) for name in ("first", "second", "nesterov")
        )
        p, _ = self.matrices.flatten(directions.wide(params))
        grad, power, product = self._clipped(directions.wide(grad), state.first)
        sizes = jnp.asarray(self.matrices.sizes, power.dtype)
        found, averages = next_statistics(
            state.averages,
            power / sizes,
            product / sizes,
            squares(p) / sizes,
            (first_decay, second_decay),
            count,
        )
        first = directions.average(state.first, grad, first_decay)
        second = directions.average(state.second, jax.tree.map(jnp.square, grad), second_decay)
        g, unflatten = self.matrices.flatten(grad)
        m, _ = self.matrices.flatten(directions.unbiased(first, first_decay, count))
        v, _ = self.matrices.flatten(directions.unbiased(second, second_decay, count))
        new = state._replace(first=first, second=second, averages=averages, iteration=count)
        outputs = count_outputs(self.mixed, self.follows_hypergradient, self.decays)
        changes = jnp.zeros((len(g), outputs), jnp.float32)
        factors: Sequence[jax.Array | None] = [None] * len(g)
        if self.controller is not None:
            running = control.update_running(_running(state), found, loss, state.iteration)
            new = new._replace(running=running)
            debias = (1 - first_decay**count) ** -2, 1 / (1 - second_decay**count)
            changes, factors = self._controlled(
                self.controller, theta["controller"], found, new, p, loss, debias, time
            )
        agreement = cosine(product / sizes, power / sizes, state.averages.first)
        steps, log_factors = self._step_sizes(
            scalars, found, state.log_factors, moment, agreement, changes
        )
        new = new._replace(log_factors=log_factors)
        logits = changes[:, 1 : len(self.mixed)]
        weights = schedules.weights(self.mixed[1:], scalars, moment, logits)
        ahead = [nesterov * own + (1 - nesterov) * own_g for own, own_g in zip(m, g, strict=True)]
        direction, bases = self._mixture(ahead, v, weights, state.bases)
        new = new._replace(bases=bases)
        if self.functional is not None:
            leaves = (g, m, v, p, direction)
            features = entry_features(self.matrices, unflatten, leaves, found, time)
            output, _ = self.matrices.flatten(self.functional.apply(theta["functional"], features))
            direction = [
                directions.corrected(d, change[..., 0])
                for d, change in zip(direction, output, strict=True)
            ]
        if weight_decay:
            direction = [d + weight_decay * own for d, own in zip(direction, p, strict=True)]
        updates = [
            -(steps[i] if factor is None else steps[i] * factor) * direction[i]
            for i, factor in enumerate(factors)
        ]
        if state.scales is not None:
            decays = schedules.weight_decays(scalars, moment, changes[:, -1])
            rates = steps / state.scales * decays
            updates = self._decayed(updates, p, rates)
        return unflatten(updates), new

    def _scales(self, params: PyTree) -> Float[Array, " tensors"]:
        """The root mean squares of initial weights, at least as usual."""
        power = squares(self.matrices.flatten(directions.wide(params))[0])
        sizes = jnp.asarray(self.matrices.sizes, power.dtype)
        return jnp.maximum(jnp.sqrt(power / sizes), self.matrices.usual_scales)

    def _clipped(
        self, grad: PyTree, first: PyTree
    ) -> tuple[PyTree, Float[Array, " tensors"], Float[Array, " tensors"]]:
        """The gradient, its sum of squares, and that of its products with the old average."""
        g, _ = self.matrices.flatten(grad)
        power, product = squares(g), products(g, self.matrices.flatten(first)[0])
        if self.gradient_clip is None:
            return grad, power, product
        scale = directions.clipping_scale(jnp.sum(power), self.gradient_clip)
        # Squares that overflow have a scale of 0, and 0·∞ would be no number.
        finite = jnp.minimum(power, jnp.finfo(power.dtype).max)
        return jax.tree.map(lambda x: scale * x, grad), scale**2 * finite, scale * product

    def _controlled(
        self,
        controller: control.Controller,
        theta: PyTree,
        found: Statistics,
        state: MixedState,
        params: Leaves,
        loss: Any,
        debias: tuple[Float[Array, ""], Float[Array, ""]],
        time: tuple[Float[Array, ""], Float[Array, ""]],
    ) -> tuple[Float[Array, "tensors outputs"], Sequence[jax.Array | None]]:
        """What the controller makes of a step; the state is the next one.

        Returns:
          What it adds to log α, to the logits and to the change of log r, and what step sizes are
          multiplied by, to be broadcast to every tensor's entries.
        """
        features = control.describe(
            self.matrices, found, _running(state), loss, time, state.log_factors, self.sees_extents
        )
        decoded = controller.decoded(theta, features)
        changes, lines = _bounded(controller.read(theta, decoded)), lines_of(self.matrices)
        if not controller.lines or not lines.axes:
            return changes, [None] * len(params)
        first, second = (self.matrices.flatten(x)[0] for x in (state.first, state.second))
        features = control.describe_lines(lines, first, second, params, found, debias)
        out = _bounded(controller.of_lines(theta, lines, features, decoded))
        return changes, lines.spread(jnp.exp(out), self.matrices.shapes)

    def _step_sizes(
        self,
        scalars: Scalars,
        found: Statistics,
        log_factors: Float[Array, " tensors"] | None,
        moment: schedules.Moment,
        agreement: Float[Array, " tensors"],
        changes: Float[Array, "tensors outputs"],
    ) -> tuple[Float[Array, " tensors"], Float[Array, " tensors"] | None]:
        """The step size of every tensor, and what they remember of it, if they do.

        Args:
          scalars: of theta.
          found: of the gradient and its averages.
          log_factors: what they remembered.
          moment: of the step.
          agreement: the cosine of the gradient and its average before this step.
          changes: the controller's.
        """
        log_steps = schedules.log_steps(
            self.matrices, scalars, found, moment, sees_extents=self.sees_extents
        )
        log_steps += changes[:, 0]
        if log_factors is None:
            return jnp.exp(log_steps), None
        log_factors = hypergradient.next_log_factors(
            log_factors, agreement, scalars, moment.centred(), changes[:, len(self.mixed)]
        )
        return jnp.exp(log_steps + log_factors), log_factors

    def _decayed(self, updates: Leaves, params: Leaves, rates: Float[Array, " tensors"]) -> Leaves:
        """The updates of proximal steps: matrices end at ``(W + update) / (1 + rate)``."""
        return [
            own if role == "vector" else (own - rate * w) / (1 + rate)
            for role, own, w, rate in zip(self.matrices.roles, updates, params, rates, strict=True)
        ]

    def _mixture(
        self, ahead: Leaves, v: Leaves, weights: Float[Array, "tensors directions"], bases: Bases
    ) -> tuple[Leaves, Bases]:
        """``Σᵢ wᵢ·dᵢ`` of every tensor, and the bases for the next step."""
        of_matrices = []
        for name in self.mixed:
            if name == _ORTHOGONALIZED:
                own, bases = orthogonalize(self.matrices, ahead, self.orthogonalization, bases)
            else:
                own = _DIRECTIONS[name](self.matrices, ahead, v)
            of_matrices.append(own)
        mixture = [
            directions.whitened(ahead[i], v[i])
            if role == "vector"
            else functools.reduce(
                jnp.add, (w * own[i] for w, own in zip(weights[i], of_matrices, strict=True))
            )
            for i, role in enumerate(self.matrices.roles)
        ]
        return mixture, bases


def count_outputs(mixed: Sequence[str], follows_hypergradient: bool, decays: bool) -> int:
    """How many numbers a controller has for every tensor of a mixed step."""
    return len(mixed) + follows_hypergradient + decays


def _bounded(change: jax.Array) -> jax.Array:
    return bounded(change, _LARGEST_LOG_CHANGE)


def _running(state: MixedState) -> control.Running:
    if state.running is None:
        raise ValueError("the state is of an optimizer without a controller.")
    return state.running
