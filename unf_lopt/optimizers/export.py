"""Learned optimizers as optax gradient transformations for a loss, for anyone's training loop."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from unf_lopt._types import PyTree
from unf_lopt.optimizers.family import unf
from unf_lopt.optimizers.frozen import trainable, with_frozen
from unf_lopt.optimizers.learned_optimizer import LearnedOptimizer
from unf_lopt.optimizers.theta import read_theta, shape_differences, shipped_names
from unf_lopt.optimizers.transformation import transformation_with_extra_args
from unf_lopt.symmetry import PermutationSpec, infer_spec, verify_spec


def to_optax(
    theta_or_path: PyTree | str | os.PathLike[str],
    loss_fn: Callable[..., Any],
    params: PyTree,
    *args: Any,
    optimizer: LearnedOptimizer | None = None,
    spec: PermutationSpec | None = None,
    num_steps: int | None = None,
    has_aux: bool = False,
    state_argnum: int | None = None,
    randomness: str = "frozen",
    verify: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """A learned optimizer for a loss, as an optax gradient transformation.

    ``update(gradient, state, params)`` gives ``−α·(d + λ·W)``, so that nothing is to be scaled by a
    learning rate any more. The loss is only traced, to find the symmetry of its parameters; it is
    never evaluated, unless it is to be verified.

    Args:
      theta_or_path: the meta-parameters, or a theta file, or the folder of an outer-training run,
        or the name of an optimizer that the package ships. Files say which optimizer they belong
        to; nothing in them is executed.
      loss_fn: ``loss_fn(params, *args)`` gives the scalar that is trained on.
      params: its parameters: arrays or ``ShapeDtypeStruct``s. The gradients that the
        transformation is called with are of the same tree.
      *args: its other arguments, arrays or ``ShapeDtypeStruct``s.
      optimizer: the learned optimizer that theta belongs to; the file's own by default, and
        ``unf()`` where theta is given as such.
      spec: the weight space, where it is not to be found from the loss.
      num_steps: how many steps there will be, for optimizers that plan them.
      has_aux: whether the loss also gives auxiliary output, as for :func:`jax.grad`.
      state_argnum: the position among ``args`` of the model state, as for
        :func:`unf_lopt.infer_spec`.
      randomness: what random draws in the loss do, as for :func:`unf_lopt.infer_spec`.
      verify: whether the spec is verified on numbers too, which takes seconds.

    Returns:
      The transformation. ``update`` needs the parameters; other arguments, such as
      ``value=loss``, may be given.

    Raises:
      FileNotFoundError: there is no such file or run.
      ValueError: theta belongs to another optimizer or to another weight space, or the file is
        damaged or does not say which optimizer it belongs to, and none is given.
      SymmetryError: the spec is to be verified and is no symmetry of the loss.
      TypeError: the first argument is neither theta nor where one lies.
    """
    saved = None
    if isinstance(theta_or_path, (str, os.PathLike)):
        saved = read_theta(theta_or_path)
    elif not isinstance(theta_or_path, Mapping):
        raise TypeError(
            f"to_optax({theta_or_path!r}, ...): give theta (a dictionary), a theta file, a run's "
            f"folder, or the name of an optimizer: {', '.join(shipped_names())}."
        )
    if optimizer is None:
        optimizer = unf() if saved is None else saved.make_optimizer()
    loss_fn, params = _without_empty(loss_fn, params)
    options = {"has_aux": has_aux, "state_argnum": state_argnum, "randomness": randomness}
    if spec is None and optimizer.needs_spec:
        spec = infer_spec(loss_fn, params, *args, **options)
    if verify and spec is not None:
        verify_spec(spec, loss_fn, params, *args, maximality=False, **options)
    if spec is not None:
        optimizer = optimizer.bind(spec)
    theta = _checked(theta_or_path, optimizer) if saved is None else saved.for_optimizer(optimizer)
    inner = optimizer.transformation(theta, num_steps)

    def update(
        gradient: PyTree, state: PyTree, params: PyTree = None, **extra_args: Any
    ) -> tuple[PyTree, PyTree]:
        updates, state = inner.update(gradient, state, params, **extra_args)
        return jax.tree.map(lambda u, w: u.astype(jnp.result_type(w)), updates, params), state

    return transformation_with_extra_args(inner.init, update)


def _without_empty(
    loss_fn: Callable[..., Any], params: PyTree
) -> tuple[Callable[..., Any], PyTree]:
    """The loss of the parameters that have entries; the others have no symmetry to find."""
    leaves, treedef = jax.tree.flatten(params)
    empty = [jnp.zeros(x.shape, x.dtype) if 0 in jnp.shape(x) else None for x in leaves]
    if all(own is None for own in empty):
        return loss_fn, params
    rest = jax.tree.unflatten(treedef, empty)

    def loss(own: PyTree, *args: Any) -> Any:
        return loss_fn(with_frozen(own, rest), *args)

    return loss, trainable(params, ())


def _checked(theta: PyTree, optimizer: LearnedOptimizer) -> PyTree:
    """Refuses a theta whose shapes are not the optimizer's."""
    expected = jax.eval_shape(optimizer.init, jax.random.key(0))
    if different := shape_differences(theta, expected):
        raise ValueError(f"theta is not of {optimizer.name} on this weight space: {different}")
    return theta
