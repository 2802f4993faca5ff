"""Inner runs of one optimizer with many meta-parameters, on many seeds, as one program.

The ecosystem's `multi_task_training_curves` runs one theta on many seeds; a sweep over learning
rates would call it once for each.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from unf_lopt import ecosystem
from unf_lopt._types import PyTree
from unf_lopt.evaluation.curves import Curves
from unf_lopt.evaluation.protocol import Protocol
from unf_lopt.evaluation.scheduled import evaluation_params_state


class Problem(NamedTuple):
    """An inner problem before training: what depends on the seed and not on the optimizer."""

    params: PyTree
    state: PyTree
    config: PyTree
    key: jax.Array


class Steps(NamedTuple):
    """What an inner step costs.

    Attributes:
      take: takes `eval_every` steps of all runs, and returns when they are done.
      state_bytes: of the optimizer's state for one run, the parameters apart.
      temporary_bytes: what the compiled program of these steps needs beside its arguments and
        results, for one run; None where the backend does not say.
    """

    take: Callable[[], None]
    state_bytes: int
    temporary_bytes: int | None


class Population:
    """Runs with M thetas and S seeds each; runs of one seed share initial parameters and batches.

    Seeds and batches are those of the ecosystem's `multi_task_training_curves` with the same
    protocol, so that its curves and these can be compared run by run. Stacked thetas have leaves
    [M, ...], batches [S, ...], states of optimizers [M, S, ...].

    Args:
      task_family: what to train on.
      learned_opt: the `LearnedOptimizer` that takes the thetas.
      protocol: seeds and steps.
    """

    def __init__(self, task_family: Any, learned_opt: Any, protocol: Protocol):
        self._task_family = task_family
        self._family = protocol.fresh(task_family)
        self._lopt = learned_opt
        self._protocol = protocol
        self._problems = initial_problems(task_family, protocol)
        # Thetas have the first axis, seeds the second; states of optimizers have both.
        self._start = _vectorized(self._start_run, (0, None), (None, 0))
        axes = (0, 0, None, None, None), (None, 0, 0, 0, 0)
        self._unroll_lazily = _vectorized(self._unroll_run, *axes)
        self._unrolls: dict[int, Any] = {}
        self._losses = _vectorized(self._loss_of_run, *axes)
        self._loss_alone = jax.jit(self._loss_of_run)

    def curves(
        self, thetas: PyTree, on_step: Callable[[int], None] = lambda step: None
    ) -> list[Curves]:
        """Trains all runs from the start.

        Args:
          thetas: stacked, leaves [M, ...].
          on_step: is told the number of inner steps taken, at each evaluation.

        Returns:
          The curves of each theta.
        """
        protocol = self._protocol
        self._family = protocol.fresh(self._task_family)  # the same batches for every call
        opt_states = self._start(thetas, self._problems)
        found: dict[str, list[np.ndarray]] = {split: [] for split in protocol.splits}
        for step in protocol.steps:
            last = step == protocol.horizon
            for split in protocol.splits:
                losses = [
                    self._evaluate(thetas, opt_states, split, step)
                    for _ in range(protocol.final_passes if last else 1)
                ]
                found[split].append(np.stack(losses).mean(axis=0, dtype=np.float64))
            on_step(step)
            if not last:
                data = self._training_data(step)
                opt_states = self._unroll(thetas, opt_states, *data)(thetas, opt_states, *data)
        stacked = {split: np.stack(losses, axis=-1) for split, losses in found.items()}
        steps = np.asarray(protocol.steps)
        return [
            Curves(steps, {split: stacked[split][member] for split in protocol.splits})
            for member in range(_count(thetas))
        ]

    def steps_to_time(self, thetas: PyTree) -> Steps:
        """Steps of all runs from the start, compiled, data on the device; see `Steps`."""
        opt_states = self._start(thetas, self._problems)
        arguments = jax.device_put((thetas, opt_states, *self._training_data(0)))
        unroll = self._unroll(*arguments)
        runs = _count(thetas) * self._protocol.num_seeds
        params = jax.vmap(jax.vmap(self._lopt.opt_fn(_first(thetas)).get_params))(opt_states)
        needed = unroll.memory_analysis()

        def take() -> None:
            jax.block_until_ready(unroll(*arguments))

        take()
        return Steps(
            take,
            state_bytes=(_bytes(opt_states) - _bytes(params)) // runs,
            temporary_bytes=None if needed is None else needed.temp_size_in_bytes // runs,
        )

    def _unroll(self, thetas: PyTree, *arguments: Any) -> Any:
        """The compiled program of `eval_every` steps of all runs, which says what it needs."""
        count = _count(thetas)
        if count not in self._unrolls:
            self._unrolls[count] = self._unroll_lazily.lower(thetas, *arguments).compile()
        return self._unrolls[count]

    def _evaluate(
        self, thetas: PyTree, opt_states: PyTree, split: str, step: int
    ) -> Float[np.ndarray, "M S"]:
        """Mean losses over the split's next batches."""
        count = self._protocol.eval_batches
        keys = self._keys(2 * step + 1, count)
        data = self._problems, self._batches(count, split), keys
        losses = np.asarray(self._losses(thetas, opt_states, *data))
        if step == self._protocol.horizon:
            last_theta, last_run, last_data = (
                jax.tree.map(lambda x: x[-1], thetas),
                jax.tree.map(lambda x: x[-1, -1], opt_states),
                jax.tree.map(lambda x: x[-1], data),
            )
            alone = self._loss_alone(last_theta, last_run, *last_data)
            require_same_loss(losses[-1, -1], float(alone), losses.size)
        return losses

    def _training_data(self, step: int) -> tuple[PyTree, PyTree, jax.Array]:
        count = self._protocol.eval_every
        return self._problems, self._batches(count, "train"), self._keys(2 * step, count)

    def _batches(self, count: int, split: str) -> PyTree:
        """The next batches of a split, leaves [S, count, ...]."""
        get_batches = ecosystem.load("training").get_batches
        return get_batches(self._family, [self._protocol.num_seeds, count], split=split, numpy=True)

    def _keys(self, number: int, count: int) -> jax.Array:
        """For tasks and optimizers that draw, [S, count]; `number` tells the calls apart."""
        key = jax.random.fold_in(self._protocol.key, number)
        return jax.random.split(key, (self._protocol.num_seeds, count))

    def _start_run(self, theta: PyTree, problem: Problem) -> PyTree:
        opt, steps = self._lopt.opt_fn(theta), self._protocol.horizon
        return opt.init(problem.params, problem.state, num_steps=steps, key=problem.key)

    def _unroll_run(
        self, theta: PyTree, opt_state: PyTree, problem: Problem, batches: PyTree, keys: jax.Array
    ) -> PyTree:
        opt, task = self._lopt.opt_fn(theta), self._family.task_fn(problem.config)
        loss_and_grad = jax.value_and_grad(task.loss_with_state, has_aux=True)

        def step(opt_state: PyTree, data: tuple[PyTree, jax.Array]) -> tuple[PyTree, None]:
            batch, key = data
            loss_key, opt_key = jax.random.split(key)
            params, state = opt.get_params_state(opt_state)
            (loss, state), grad = loss_and_grad(params, state, loss_key, batch)
            next_state = opt.update(opt_state, grad, loss=loss, model_state=state, key=opt_key)
            return next_state, None

        return jax.lax.scan(step, opt_state, (batches, keys))[0]

    def _loss_of_run(
        self, theta: PyTree, opt_state: PyTree, problem: Problem, batches: PyTree, keys: jax.Array
    ) -> jax.Array:
        task = self._family.task_fn(problem.config)
        params, state = evaluation_params_state(self._lopt.opt_fn(theta), opt_state)

        def loss(data: tuple[PyTree, jax.Array]) -> jax.Array:
            batch, key = data
            return task.loss_with_state_and_aux(params, state, key, batch)[0]

        return jnp.mean(jax.lax.map(loss, (batches, keys)))


def _first(stacked: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[0], stacked)


def _count(thetas: PyTree) -> int:
    return len(jax.tree.leaves(thetas)[0])


def _bytes(tree: PyTree) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def require_same_loss(together: float, alone: float, runs: int) -> None:
    """Checks the loss of a run in the program of all runs against a program of its own.

    XLA's kernels for CPUs of jaxlib 0.10.2 sum wrongly over the product of two arrays of which
    one is shared along a vectorized axis, once the result has some 40,000 entries: a
    cross-entropy with one-hot labels that many runs share is such a sum, and all runs then have
    the loss of one.

    Args:
      together: from the program of all runs.
      alone: of the same run.
      runs: how many there are.

    Raises:
      RuntimeError: they differ by more than rounding.
    """
    if not np.isclose(together, alone, rtol=1e-2, atol=1e-6, equal_nan=True):
        raise RuntimeError(
            f"XLA miscompiled the program of {runs} inner runs: the last run has loss "
            f"{together:.6g} there and {alone:.6g} alone. On a CPU, set "
            "XLA_FLAGS=--xla_cpu_experimental_ynn_fusion_type= (seen with jaxlib 0.10.2), or "
            "evaluate with fewer seeds or learning rates."
        )


@functools.lru_cache(maxsize=2)
def initial_problems(task_family: Any, protocol: Protocol) -> Problem:
    """The problems of all seeds, leaves [S, ...]; the same for every optimizer of a report."""
    # The ecosystem splits the key among devices, of which one is used, then among seeds.
    keys = jax.random.split(jax.random.split(protocol.key, 1)[0], protocol.num_seeds)
    found = [_start_of(task_family)(key) for key in keys]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)


@functools.lru_cache(maxsize=1)
def _start_of(task_family: Any) -> Callable[[jax.Array], Problem]:
    """From a seed's key to its problem: one program, however many seeds there are."""

    def start(key: jax.Array) -> Problem:
        config_key, params_key, opt_key = jax.random.split(key, 3)
        config = task_family.sample(config_key)
        params, state = task_family.task_fn(config).init_with_state(params_key)
        return Problem(params, state, config, opt_key)

    return jax.jit(start)


def _vectorized(
    function: Callable[..., PyTree],
    over_thetas: tuple[int | None, ...],
    over_seeds: tuple[int | None, ...],
) -> Callable[..., PyTree]:
    return jax.jit(jax.vmap(jax.vmap(function, over_seeds), over_thetas))
