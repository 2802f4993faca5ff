"""Meta-gradients and outer steps with the ecosystem's estimators and learner, in either version."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import gin
import jax
import jax.numpy as jnp
import numpy as np

from unf_lopt import ecosystem
from unf_lopt._types import PyTree


@dataclasses.dataclass(frozen=True)
class MetaGradient:
    """What the gradient estimators found in one truncation each.

    Attributes:
      grad: the mean of the estimators' meta-gradients, a tree like theta; not cleaned: where it is
        not finite, it says so here.
      mean_loss: the mean of `losses`.
      losses: each estimator's meta-loss.
      finite: whether every number of `grad` and `mean_loss` is finite.
      unroll_states: the estimators' next states.
      metrics: with metrics asked for, means by name, "TASK/METRIC".
    """

    grad: PyTree
    mean_loss: float
    losses: tuple[float, ...]
    finite: bool
    unroll_states: list[Any]
    metrics: dict[str, float]


def make_learner(lopt: Any, **kwargs: Any) -> Any:
    """The ecosystem's `GradientLearner` for `lopt`.

    Args:
      lopt: the `LearnedOptimizer` whose parameters it trains.
      **kwargs: `theta_opt`, `num_steps`, `init_theta_from_path`, …; what is not given comes from
        gin (`GradientLearner.theta_opt` and so on).
    """
    name = {"release": "lopt", "main": "meta_init"}[ecosystem.version()]
    return ecosystem.GradientLearner(**{name: lopt}, **kwargs)


def theta_of(learner: Any, state: Any) -> PyTree:
    """The learned optimizer's parameters in a `GradientLearner`'s state."""
    if ecosystem.version() == "release":
        return learner.get_lopt_params(state)
    return learner.get_meta_params(state)


def make_gradient_estimators(
    learned_opt: Any,
    key: jax.Array,
    num: int,
    task_families: Sequence[Any] = (),
    estimator_fn: Any = None,
) -> list[Any]:
    """The ecosystem's `build_gradient_estimators`, configured by gin.

    Args:
      learned_opt: the `LearnedOptimizer`.
      key: for what gin's `sample_task_family_fn` samples.
      num: how many estimators.
      task_families: task families or tasks: `num` estimators for each of them, in place of what
        gin's `sample_task_family_fn` gives. The optimizer is bound to each, if it can be bound.
      estimator_fn: makes an estimator of `task_family` and `learned_opt`, in place of gin's
        `build_gradient_estimators`; the task family is then that of `sample_single_task_family`
        where none are given.

    Raises:
      ValueError: the families take thetas of different weight spaces.
    """
    worker = {} if ecosystem.version() == "release" else {"worker_id": 0}

    if estimator_fn is not None and not task_families:
        family = gin.get_bindings("sample_single_task_family")["task_family"]
        return [estimator_fn(task_family=family, learned_opt=learned_opt) for _ in range(num)]

    def build(lopt: Any, key: jax.Array, **family: Any) -> list[Any]:
        if estimator_fn is not None:
            own = family["sample_task_family_fn"](key)
            return [estimator_fn(task_family=own, learned_opt=lopt) for _ in range(num)]
        return ecosystem.build_gradient_estimators(
            learned_opt=lopt, key=key, num_gradient_estimators=num, **worker, **family
        )

    if not task_families:
        return build(learned_opt, key)
    families = [
        ecosystem.single_task_to_family(family) if isinstance(family, ecosystem.Task) else family
        for family in task_families
    ]
    bound = [_bound(learned_opt, family) for family in families]
    names = ["the optimizer itself", *(family.name for family in families)]
    _check_one_theta([learned_opt, *bound], names)
    keys = jax.random.split(key, len(families))
    return [
        estimator
        for lopt, family, own in zip(bound, families, keys, strict=True)
        for estimator in build(lopt, own, sample_task_family_fn=lambda _, family=family: family)
    ]


def _bound(learned_opt: Any, task_family: Any) -> Any:
    return learned_opt.bind(task_family) if hasattr(learned_opt, "bind") else learned_opt


def _check_one_theta(learned_opts: Sequence[Any], names: Sequence[str]) -> None:
    known = [
        (name, lopt.theta_spec.canonical())
        for name, lopt in zip(names, learned_opts, strict=True)
        if getattr(lopt, "theta_spec", None) is not None
    ]
    for (one, spec), (other, other_spec) in itertools.pairwise(known):
        if spec != other_spec:
            raise ValueError(
                f"{learned_opts[0].name} has a theta for one weight space, and those of {one} and "
                f"{other} differ; for task families of different architectures take "
                f"unf_universal. First against second:\n{spec.difference(other_spec)}"
            )


def gradient_estimator(
    estimator: Any,
    task_family: Any,
    learned_opt: Any,
    trunc_sched: Any,
    *,
    num_tasks: int,
    random_initial_iteration_offset: int = 0,
    **options: Any,
) -> Any:
    """An estimator of the ecosystem without gin, in either version.

    Args:
      estimator: `ecosystem.TruncatedPES`, `TruncatedES`, `TruncatedGrad` or `FullES`.
      task_family: what to train on.
      learned_opt: the `LearnedOptimizer` whose theta it differentiates.
      trunc_sched: when an inner run starts anew, such as `ConstantTruncationSchedule(2000)`; for
        `FullES`, which runs all of it in every outer step, its length.
      num_tasks: inner runs in parallel.
      random_initial_iteration_offset: inner runs start with a step count drawn below this, so that
        they do not all end at once; not for `FullES`.
      **options: of the estimator.
    """
    of_step = {"task_family": task_family, "learned_opt": learned_opt, "num_tasks": num_tasks}
    if estimator is not ecosystem.FullES:
        of_step["trunc_sched"] = trunc_sched
        of_step["random_initial_iteration_offset"] = random_initial_iteration_offset
    elif ecosystem.version() == "release":
        options["unroll_length"] = int(trunc_sched.init(jax.random.PRNGKey(0), None).length)
    else:
        schedules = ecosystem.load("outer_trainers.truncation_schedule")
        of_step["trunc_sched"] = schedules.NeverEndingTruncationSchedule()
        options["truncation_schedule"] = trunc_sched
    if ecosystem.version() == "release":
        return estimator(**of_step, **options)
    steps = ecosystem.load("outer_trainers.lopt_truncated_step")
    return estimator(steps.VectorizedLOptTruncatedStep(**of_step), **options)


def truncated_pes(
    task_family: Any,
    learned_opt: Any,
    trunc_sched: Any,
    *,
    num_tasks: int,
    trunc_length: int,
    std: float,
    steps_per_jit: int,
    random_initial_iteration_offset: int = 0,
    stack_antithetic_samples: bool = False,
) -> Any:
    """The ecosystem's `TruncatedPES` without gin.

    Source: Vicol, Metz, Sohl-Dickstein, "Unbiased Gradient Estimation in Unrolled Computation
    Graphs with Persistent Evolution Strategies" (ICML 2021).

    Args:
      task_family: what to train on.
      learned_opt: the `LearnedOptimizer` to perturb.
      trunc_sched: when an inner run starts anew, such as `ConstantTruncationSchedule(2000)`.
      num_tasks: inner runs in parallel, each with a perturbation and its negative.
      trunc_length: inner steps per meta-gradient, a multiple of `steps_per_jit`.
      std: standard deviation of the perturbations of theta.
      steps_per_jit: inner steps per compiled call.
      random_initial_iteration_offset: inner runs start with a step count drawn below this, so that
        they do not all end at once.
      stack_antithetic_samples: run both signs as one batch instead of one after the other.
    """
    return gradient_estimator(
        ecosystem.TruncatedPES,
        task_family,
        learned_opt,
        trunc_sched,
        num_tasks=num_tasks,
        random_initial_iteration_offset=random_initial_iteration_offset,
        trunc_length=trunc_length,
        std=std,
        steps_per_jit=steps_per_jit,
        stack_antithetic_samples=stack_antithetic_samples,
    )


def task_name(estimator: Any) -> str:
    """The name of the task family that an estimator runs on."""
    return task_family_of(estimator).name


def task_family_of(estimator: Any) -> Any:
    """The task family that an estimator runs on; its `datasets` are what the estimator draws."""
    if hasattr(estimator, "task_family"):  # the release's, and this project's
        return estimator.task_family
    return estimator.truncated_step.task_family


def init_unroll_states(worker_weights: Any, estimators: Sequence[Any], key: jax.Array) -> list[Any]:
    """Fresh inner runs for every estimator.

    Args:
      worker_weights: from `learner.get_state_for_worker(state)`.
      estimators: the gradient estimators.
      key: split among them.
    """
    keys = jax.random.split(key, len(estimators))
    states = [
        estimator.init_worker_state(worker_weights, key)
        for estimator, key in zip(estimators, keys, strict=True)
    ]
    # GitHub main donates the states' buffers, and none may be donated twice: PES starts both signs
    # with the same arrays, and initial values that depend on no key, such as an identity, can be
    # one buffer in several places.
    return jax.tree_util.tree_map(jnp.copy, states)


def compute_gradient(
    worker_weights: Any,
    estimators: Sequence[Any],
    unroll_states: Sequence[Any],
    key: jax.Array,
    with_metrics: bool = False,
) -> MetaGradient:
    """One truncation of every estimator, and the mean of their meta-gradients.

    The same numbers as the ecosystem's `gradient_worker_compute`, which cannot be used where runs
    have to repeat bit for bit and failures have to be seen: it replaces what is not finite by
    numbers without a word, and draws from NumPy's global generator.

    Args:
      worker_weights: from `learner.get_state_for_worker(state)`.
      estimators: the gradient estimators.
      unroll_states: their states, from `init_unroll_states` or the last call.
      key: split once for each estimator.
      with_metrics: also return the estimators' own metrics and the norm of their gradients.

    Raises:
      ValueError: if there is no estimator, or not one state for each.
    """
    if not estimators or len(estimators) != len(unroll_states):
        raise ValueError(
            f"compute_gradient: got {len(estimators)} estimators and {len(unroll_states)} unroll "
            "states; pass one state for each, from init_unroll_states or the last MetaGradient"
        )
    outs, metrics = [], {}
    for estimator, state in zip(estimators, unroll_states, strict=True):
        key, estimator_key = jax.random.split(key)
        out, found = estimator.compute_gradient_estimate(
            worker_weights, estimator_key, state, with_summary=with_metrics
        )
        outs.append(out)
        if with_metrics:
            metrics.update(_named_means(task_name(estimator), found, out.grad))
    losses = [out.mean_loss for out in outs]
    grad, mean_loss, finite = _mean_and_finite([out.grad for out in outs], losses)
    return MetaGradient(
        grad=grad,
        mean_loss=float(mean_loss),
        losses=tuple(float(loss) for loss in losses),
        finite=bool(finite),
        unroll_states=[out.unroll_state for out in outs],
        metrics=metrics,
    )


def apply_gradient(
    learner: Any, state: Any, gradient: MetaGradient, key: jax.Array, with_metrics: bool = False
) -> tuple[Any, dict[str, float]]:
    """One step of the meta-optimizer: `learner.update` with one worker's gradient.

    Args:
      learner: from `make_learner`.
      state: its state.
      gradient: from `compute_gradient`.
      key: for meta-optimizers that draw.
      with_metrics: also return the norm and mean absolute value of the meta-gradient.

    Returns:
      The learner's next state, and metrics by name.

    Raises:
      ValueError: if the gradient is not finite, since it would end theta.
    """
    if not gradient.finite:
        raise ValueError(
            f"apply_gradient: the meta-gradient is not finite (meta-losses {gradient.losses}); "
            "skip the step, or start the unroll states anew with init_unroll_states"
        )
    aggregated = ecosystem.AggregatedGradient(
        theta_grads=jax.tree_util.tree_map(np.asarray, gradient.grad),
        theta_model_state=learner.get_state_for_worker(state).theta_model_state,
        mean_loss=np.float32(gradient.mean_loss),
    )
    state, metrics = learner.update(state, [aggregated], with_metrics=with_metrics, key=key)
    return state, {name.partition("||")[2]: float(value) for name, value in metrics.items()}


@jax.jit
def _mean_and_finite(
    grads: Sequence[PyTree], losses: Sequence[jax.Array]
) -> tuple[PyTree, jax.Array, jax.Array]:
    mean = jax.tree_util.tree_map(lambda *leaves: sum(leaves) / len(leaves), *grads)
    mean_loss = jnp.mean(jnp.asarray(losses))
    leaves = [*jax.tree_util.tree_leaves(mean), mean_loss]
    return mean, mean_loss, jnp.all(jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]))


def _named_means(task: str, metrics: dict[str, Any], grad: PyTree) -> dict[str, float]:
    # The ecosystem writes "AGGREGATION||NAME"; a trainer's log wants one number a name.
    named = {name.partition("||")[2]: value for name, value in metrics.items()}
    leaves = jax.tree_util.tree_leaves(grad)
    named["grad_norm"] = jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in leaves))
    return {f"{task}/{name}": float(np.mean(value)) for name, value in named.items()}
