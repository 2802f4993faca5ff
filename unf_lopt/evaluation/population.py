"""Inner runs of one optimizer with many meta-parameters, on many seeds, as one program.

The ecosystem's `multi_task_training_curves` runs one theta on many seeds; a sweep over learning
rates would call it once for each.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from unf_lopt import ecosystem
from unf_lopt.evaluation.curves import Curves
from unf_lopt.evaluation.protocol import SPLITS, Protocol

PyTree = Any


class Population:
    """Runs with M thetas and S seeds each; runs of one seed share initial parameters and batches.

    Seeds and batches are those of the ecosystem's `multi_task_training_curves` with the same key,
    so that its curves and these can be compared run by run. Stacked thetas have leaves [M, ...],
    batches [S, ...], states of runs [M, S, ...].

    Args:
      task_family: what to train on.
      learned_opt: the `LearnedOptimizer` that takes the thetas.
    """

    def __init__(self, task_family: Any, learned_opt: Any):
        self._family = task_family
        self._lopt = learned_opt
        of_seeds = jax.vmap(self._start_run, (None, 0, None))
        self._start = jax.jit(jax.vmap(of_seeds, (0, None, None)), static_argnums=2)
        of_seeds = jax.vmap(self._unroll_run, (None, 0, 0, 0))
        self._unroll = jax.jit(jax.vmap(of_seeds, (0, 0, None, None)))
        of_seeds = jax.vmap(self._loss_of_run, (None, 0, 0, 0))
        self._losses = jax.jit(jax.vmap(of_seeds, (0, 0, None, None)))

    def curves(self, thetas: PyTree, protocol: Protocol) -> list[Curves]:
        """Trains all runs from the start.

        Args:
          thetas: stacked.
          protocol: seeds and steps.

        Returns:
          The curves of each theta.
        """
        runs = self.start(thetas, protocol)
        found: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
        for step in tqdm.tqdm(protocol.steps, leave=False):
            last = step == protocol.horizon
            passes = protocol.final_passes if last else 1
            for split in SPLITS:
                losses = [self.losses(thetas, runs, protocol, split, step) for _ in range(passes)]
                found[split].append(np.mean(losses, axis=0, dtype=np.float64))
            if not last:
                batches = self.batches(protocol.num_seeds, protocol.eval_every, "train")
                runs = self.unroll(thetas, runs, batches, _keys(protocol, step, 0))
        stacked = {split: np.stack(losses, axis=-1) for split, losses in found.items()}
        steps = np.asarray(protocol.steps)
        return [
            Curves(steps, {split: stacked[split][member] for split in SPLITS})
            for member in range(len(jax.tree.leaves(thetas)[0]))
        ]

    def start(self, thetas: PyTree, protocol: Protocol) -> PyTree:
        """All runs before the first step."""
        # The ecosystem splits the key among devices, of which one is used, then among seeds.
        keys = jax.random.split(jax.random.split(protocol.key, 1)[0], protocol.num_seeds)
        return self._start(thetas, keys, protocol.horizon)

    def unroll(self, thetas: PyTree, runs: PyTree, batches: PyTree, keys: jax.Array) -> PyTree:
        """All runs after T more steps; batches with leaves [S, T, ...], keys [S, T]."""
        return self._unroll(thetas, runs, batches, keys)

    def losses(
        self, thetas: PyTree, runs: PyTree, protocol: Protocol, split: str, step: int
    ) -> np.ndarray:
        """Mean loss over the split's next batches, [M, S]."""
        batches = self.batches(protocol.num_seeds, protocol.eval_batches, split)
        keys = _keys(protocol, step, 1)
        return np.asarray(self._losses(thetas, runs, batches, keys))

    def batches(self, seeds: int, count: int, split: str) -> PyTree:
        """The next batches of a split, leaves [seeds, count, ...]."""
        get_batches = ecosystem.load("training").get_batches
        return get_batches(self._family, [seeds, count], split=split, numpy=True)

    def _start_run(self, theta: PyTree, key: jax.Array, num_steps: int) -> PyTree:
        sample_key, params_key, opt_key = jax.random.split(key, 3)
        config = self._family.sample(sample_key)
        params, state = self._family.task_fn(config).init_with_state(params_key)
        opt = self._lopt.opt_fn(theta)
        return opt.init(params, state, num_steps=num_steps, key=opt_key), config

    def _unroll_run(self, theta: PyTree, run: PyTree, batches: PyTree, keys: jax.Array) -> PyTree:
        opt, task = self._lopt.opt_fn(theta), self._family.task_fn(run[1])
        loss_and_grad = jax.value_and_grad(task.loss_with_state, has_aux=True)

        def step(opt_state: PyTree, data: tuple[PyTree, jax.Array]) -> tuple[PyTree, None]:
            batch, key = data
            loss_key, opt_key = jax.random.split(key)
            params, state = opt.get_params_state(opt_state)
            (loss, state), grad = loss_and_grad(params, state, loss_key, batch)
            next_state = opt.update(opt_state, grad, loss=loss, model_state=state, key=opt_key)
            return next_state, None

        return jax.lax.scan(step, run[0], (batches, keys))[0], run[1]

    def _loss_of_run(
        self, theta: PyTree, run: PyTree, batches: PyTree, keys: jax.Array
    ) -> jax.Array:
        task = self._family.task_fn(run[1])
        params, state = self._lopt.opt_fn(theta).get_params_state(run[0])

        def loss(batch: PyTree, key: jax.Array) -> jax.Array:
            return task.loss_with_state_and_aux(params, state, key, batch)[0]

        return jnp.mean(jax.vmap(loss)(batches, keys))


def _keys(protocol: Protocol, step: int, purpose: int) -> jax.Array:
    """Keys for tasks whose loss draws, [seeds, batches]: 0 to train, 1 to evaluate."""
    count = protocol.eval_batches if purpose else protocol.eval_every
    key = jax.random.fold_in(protocol.key, 2 * step + purpose)
    return jax.random.split(key, (protocol.num_seeds, count))
