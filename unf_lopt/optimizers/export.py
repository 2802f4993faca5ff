"""Learned optimizers as optax gradient transformations, for anyone's training loop."""

from __future__ import annotations

import importlib
import os
import pathlib
from collections.abc import Callable
from typing import Any

import gin
import jax
import optax

from unf_lopt.optimizers.checkpoint import (
    CONFIG,
    load_theta,
    optimizer_name,
    params_file,
    shape_differences,
)
from unf_lopt.optimizers.family import OPTIMIZERS, unf
from unf_lopt.optimizers.learned_optimizer import FunctionalLearnedOptimizer, StepState
from unf_lopt.symmetry import PermutationSpec, infer_spec, verify_spec

PyTree = Any


def to_optax(
    theta_or_path: PyTree | str | os.PathLike[str],
    loss_fn: Callable[..., Any],
    params: PyTree,
    *args: Any,
    optimizer: FunctionalLearnedOptimizer | None = None,
    spec: PermutationSpec | None = None,
    has_aux: bool = False,
    state_argnum: int | None = None,
) -> optax.GradientTransformationExtraArgs:
    """A learned optimizer for a loss, as an optax gradient transformation.

    ``update(gradient, state, params)`` gives ``−α·(d + λ·W)``, so that nothing is to be scaled by a
    learning rate any more. The loss is only traced, to find the symmetry of its parameters; it is
    never evaluated.

    Args:
      theta_or_path: the meta-parameters, or a ``params_N`` or the folder of an outer-training
        run, which also says which optimizer they belong to.
      loss_fn: ``loss_fn(params, *args)`` gives the scalar that is trained on.
      params: its parameters: arrays or ``ShapeDtypeStruct``s. The gradients that the
        transformation is called with are of the same tree.
      *args: its other arguments, arrays or ``ShapeDtypeStruct``s.
      optimizer: the learned optimizer that theta belongs to; the run's own by default, and
        ``unf()`` where theta is given as such.
      spec: the weight space, where it is not to be found from the loss.
      has_aux: whether the loss also gives auxiliary output, as for :func:`jax.grad`.
      state_argnum: which argument is model state, as for :func:`unf_lopt.infer_spec`.

    Returns:
      The transformation. ``update`` needs the parameters; other arguments, such as
      ``value=loss``, are taken and not used.

    Raises:
      FileNotFoundError: there is no such run, or it has no configuration and no ``optimizer`` is
        given.
      ValueError: theta belongs to another optimizer or to another weight space.
      SymmetryError: the optimizer verifies its spec and this one is no symmetry of the loss.
    """
    is_path = isinstance(theta_or_path, (str, os.PathLike))
    if optimizer is None:
        optimizer = optimizer_of_run(theta_or_path) if is_path else unf()
    if optimizer.symmetry is not None:
        options = {"has_aux": has_aux, "state_argnum": state_argnum}
        options["randomness"] = optimizer.symmetry.randomness
        if spec is None:
            spec = infer_spec(loss_fn, params, *args, **options)
        if optimizer.symmetry.verify:
            verify_spec(spec, loss_fn, params, *args, maximality=False, **options)
        optimizer = optimizer.bind(spec)
    if is_path:
        theta, _ = load_theta(theta_or_path, optimizer)
    else:
        theta = theta_or_path
        _check_theta(theta, optimizer)
    inner = optimizer.opt_fn(theta)

    def update(
        gradient: PyTree, state: StepState, params: PyTree = None, **extra_args: Any
    ) -> tuple[PyTree, StepState]:
        del extra_args
        if params is None:
            raise ValueError(
                f"{optimizer.name} reads the parameters: call update(gradient, state, params)."
            )
        updates, state = inner.step(state, params, gradient)
        return jax.tree.map(lambda u, w: u.astype(w.dtype), updates, params), state

    return optax.GradientTransformationExtraArgs(inner.step_state, update)


def optimizer_of_run(source: str | os.PathLike[str]) -> FunctionalLearnedOptimizer:
    """The learned optimizer that a run trained, as its ``config.gin`` says, bound to no task.

    The current gin configuration is put aside meanwhile.

    Args:
      source: the run's folder or a ``params_N`` in it.

    Raises:
      FileNotFoundError: there is no such run, or it has no ``config.gin``.
      TypeError: the run trained an optimizer of another package.
    """
    path = pathlib.Path(params_file(source)).parent / CONFIG
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {path}, which says what optimizer theta belongs to: pass it, such as "
            "optimizer=unf()."
        )
    importlib.import_module("unf_lopt.register")  # what configurations name

    current = gin.config_str()
    try:
        with gin.unlock_config():
            gin.clear_config()
            gin.parse_config([path.read_text(), "_configured.lopt = %LOPT"])
            for name in OPTIMIZERS:
                gin.bind_parameter(f"{name}.task_family", None)
            optimizer = _configured()
    finally:
        with gin.unlock_config():
            gin.clear_config()
            gin.parse_config(current)
    if not isinstance(optimizer, FunctionalLearnedOptimizer):
        raise TypeError(f"{path} trains a {optimizer_name(optimizer)}, which is not of unf_lopt.")
    return optimizer


@gin.configurable(module="unf_lopt")
def _configured(lopt: Any = gin.REQUIRED) -> Any:
    return lopt


def _check_theta(theta: PyTree, optimizer: FunctionalLearnedOptimizer) -> None:
    """Refuses a theta whose shapes are not the optimizer's."""
    expected = jax.eval_shape(optimizer.init, jax.random.key(0))
    if different := shape_differences(theta, expected):
        raise ValueError(f"theta is not of {optimizer.name} on this weight space: {different}")
