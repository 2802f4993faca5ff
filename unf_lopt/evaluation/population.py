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
import tqdm

from unf_lopt import ecosystem
from unf_lopt.evaluation.curves import Curves
from unf_lopt.evaluation.protocol import Protocol

PyTree = Any


class Problem(NamedTuple):
    """An inner problem before training: what depends on the seed and not on the optimizer."""

    params: PyTree
    state: PyTree
    config: PyTree
    key: jax.Array


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
        self._family = protocol.fresh(task_family)
        self._lopt = learned_opt
        self._protocol = protocol
        self._problems = _initial_problems(task_family, protocol)
        # Thetas have the first axis, seeds the second; states of optimizers have both.
        self._start = _vectorized(self._start_run, (0, None), (None, 0))
        axes = (0, 0, None, None, None), (None, 0, 0, 0, 0)
        self._unroll = _vectorized(self._unroll_run, *axes)
        self._losses = _vectorized(self._loss_of_run, *axes)
        self._loss_alone = jax.jit(self._loss_of_run)

    def curves(self, thetas: PyTree) -> list[Curves]:
        """Trains all runs from the start; returns the curves of each theta."""
        protocol = self._protocol
        opt_states = self._start(thetas, self._problems)
        found: dict[str, list[np.ndarray]] = {split: [] for split in protocol.splits}
        for step in tqdm.tqdm(protocol.steps):
            last = step == protocol.horizon
            for split in protocol.splits:
                losses = [
                    self._evaluate(thetas, opt_states, split, step)
                    for _ in range(protocol.final_passes if last else 1)
                ]
                found[split].append(np.stack(losses).mean(axis=0, dtype=np.float64))
            if not last:
                opt_states = self._unroll(thetas, opt_states, *self._training_data(step))
        stacked = {split: np.stack(losses, axis=-1) for split, losses in found.items()}
        steps = np.asarray(protocol.steps)
        return [
            Curves(steps, {split: stacked[split][member] for split in protocol.splits})
            for member in range(len(jax.tree.leaves(thetas)[0]))
        ]

    def unroller(self, thetas: PyTree) -> Callable[[], None]:
        """For timing: a function that takes `eval_every` steps of all runs, from the start.

        It is compiled, its data are on the device, and it returns when the steps are done.
        """
        opt_states = self._start(thetas, self._problems)
        arguments = jax.device_put((thetas, opt_states, *self._training_data(0)))

        def unroll() -> None:
            jax.block_until_ready(self._unroll(*arguments))

        unroll()
        return unroll

    def _evaluate(self, thetas: PyTree, opt_states: PyTree, split: str, step: int) -> np.ndarray:
        """Mean losses over the split's next batches, [M, S]."""
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
        params, state = self._lopt.opt_fn(theta).get_params_state(opt_state)

        def loss(data: tuple[PyTree, jax.Array]) -> jax.Array:
            batch, key = data
            return task.loss_with_state_and_aux(params, state, key, batch)[0]

        return jnp.mean(jax.lax.map(loss, (batches, keys)))


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


@functools.lru_cache(maxsize=1)
def _initial_problems(task_family: Any, protocol: Protocol) -> Problem:
    """The problems of all seeds, leaves [S, ...]; the same for every optimizer of a report."""

    def start(key: jax.Array) -> Problem:
        config_key, params_key, opt_key = jax.random.split(key, 3)
        config = task_family.sample(config_key)
        params, state = task_family.task_fn(config).init_with_state(params_key)
        return Problem(params, state, config, opt_key)

    # The ecosystem splits the key among devices, of which one is used, then among seeds.
    keys = jax.random.split(jax.random.split(protocol.key, 1)[0], protocol.num_seeds)
    return jax.jit(jax.vmap(start))(keys)


def _vectorized(
    function: Callable[..., PyTree],
    over_thetas: tuple[int | None, ...],
    over_seeds: tuple[int | None, ...],
) -> Callable[..., PyTree]:
    return jax.jit(jax.vmap(jax.vmap(function, over_seeds), over_thetas))
