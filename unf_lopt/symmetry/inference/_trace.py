"""From a loss function to its jaxpr, with every input refused early that cannot be traced."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

from unf_lopt._types import PyTree
from unf_lopt.symmetry._errors import SpecError
from unf_lopt.symmetry._trees import leaf_paths, match, unmatched


@dataclasses.dataclass(frozen=True)
class TracedLoss:
    """A loss as a jaxpr: ``(*parameters, *arguments) -> (loss, *new model state)``.

    Attributes:
      function: the same, as a Python function of flat arrays that returns a list.
      jaxpr: its closed jaxpr.
      inputs: shape and dtype of every flat input.
      values: every flat input itself where an array was given, else None.
      paths: the paths of the parameters, which come first among the inputs.
      state_inputs: positions of the model state among the inputs; its new values are the
        outputs after the loss, in the same order.
      state_paths: its leaves' paths.
    """

    function: Callable[..., list[Any]]
    jaxpr: core.ClosedJaxpr
    inputs: tuple[jax.ShapeDtypeStruct, ...]
    values: tuple[Any, ...]
    paths: tuple[str, ...]
    state_inputs: tuple[int, ...] = ()
    state_paths: tuple[str, ...] = ()


def trace_loss(
    loss_fn: Callable[..., Any],
    params: PyTree,
    args: Sequence[Any],
    *,
    has_aux: bool = False,
    state_argnum: int | None = None,
) -> TracedLoss:
    """Traces ``loss_fn(params, *args)`` without computing anything.

    Args:
      loss_fn: returns a scalar; with ``state_argnum`` ``(loss, new_state)``; with ``has_aux``
        one more output, which is ignored.
      params: the parameters, as arrays or ``jax.ShapeDtypeStruct``.
      args: the other arguments, the same or trees of them; PRNG keys too.
      has_aux: whether the last output is auxiliary.
      state_argnum: the position among ``args`` of the model state, if there is one.

    Raises:
      SpecError: params are empty, or not arrays; the loss is not a scalar; outputs and model
        state do not fit the options.
    """
    params_leaves, params_tree = jax.tree_util.tree_flatten(params)
    if not params_leaves:
        raise SpecError("params has no leaves: there is nothing to permute.")
    paths = leaf_paths(params)
    if state_argnum is not None and not 0 <= state_argnum < len(args):
        raise SpecError(
            f"state_argnum={state_argnum} is the position of the model state among the "
            f"{len(args)} arguments after params, counted from 0."
        )
    args_leaves, args_trees = [], []
    named = [(f"params '{path}'", leaf) for path, leaf in zip(paths, params_leaves, strict=True)]
    for number, arg in enumerate(args):
        leaves, tree = jax.tree_util.tree_flatten_with_path(arg)
        args_leaves.append(leaves)
        args_trees.append(tree)
        for path, leaf in leaves:
            where = jax.tree_util.keystr(path, simple=True, separator="/")
            named.append((f"argument {number} '{where}'", leaf))
    inputs = tuple(_shape_of(name, leaf) for name, leaf in named)
    values = tuple(None if _is_abstract(leaf) else leaf for _, leaf in named)
    for path, shape in zip(paths, inputs, strict=False):
        if 0 in shape.shape:
            raise SpecError(f"'{path}' has shape {shape.shape}: an empty parameter has no means.")

    def function(*flat: Any) -> list[Any]:
        remaining = list(flat)
        trees = []
        for tree in (params_tree, *args_trees):
            count = tree.num_leaves
            trees.append(jax.tree_util.tree_unflatten(tree, remaining[:count]))
            remaining = remaining[count:]
        loss, new_state = _outputs(loss_fn(*trees), has_aux, state_argnum is not None)
        if state_argnum is None:
            return [loss]
        return [loss, *_state_leaves(trees[1 + state_argnum], new_state)]

    try:
        jaxpr = jax.make_jaxpr(function)(*inputs)
    except SpecError:
        raise
    except Exception as error:
        error.add_note("This happened when loss_fn(params, *args) was traced to find its symmetry.")
        raise
    state_inputs: tuple[int, ...] = ()
    state_paths: tuple[str, ...] = ()
    if state_argnum is not None:
        start = len(paths) + sum(len(leaves) for leaves in args_leaves[:state_argnum])
        state_inputs = tuple(range(start, start + len(args_leaves[state_argnum])))
        state_paths = leaf_paths(args[state_argnum])
    return TracedLoss(function, jaxpr, inputs, values, paths, state_inputs, state_paths)


def _is_abstract(leaf: Any) -> bool:
    return isinstance(leaf, jax.ShapeDtypeStruct)


def _shape_of(name: str, leaf: Any) -> jax.ShapeDtypeStruct:
    if _is_abstract(leaf):
        return leaf
    try:
        return jax.eval_shape(lambda x: x, leaf)
    except TypeError as error:
        raise SpecError(
            f"{name} is a {type(leaf).__name__}, not an array. What is not an array belongs "
            "into the function: infer_spec(lambda params, x: loss_fn(params, x, train=True), ...). "
            "Of a module with other leaves nnx.split or eqx.partition give the arrays."
        ) from error


def _outputs(output: Any, has_aux: bool, has_state: bool) -> tuple[Any, PyTree]:
    expected = ["loss"] + ["new_state"] * has_state + ["aux"] * has_aux
    if len(expected) == 1:
        parts: tuple[Any, ...] = (output,)
    elif isinstance(output, (tuple, list)) and len(output) == len(expected):
        parts = tuple(output)
    else:
        raise SpecError(
            f"loss_fn must return ({', '.join(expected)}) with these options; it returned "
            f"{jax.tree.map(np.shape, output)!r}."
        )
    loss = parts[0]
    if not jax.tree_util.treedef_is_leaf(jax.tree.structure(loss)) or np.shape(loss) != ():
        raise SpecError(
            f"loss_fn must return a scalar; it returned {jax.tree.map(np.shape, loss)!r}. Reduce "
            "it (jnp.mean), or say what else it returns with has_aux=True or state_argnum=."
        )
    return loss, parts[1] if has_state else ()


def _state_leaves(state: PyTree, new_state: PyTree) -> list[Any]:
    """The new leaves in the order of the old ones.

    Compared are paths and shapes, not tree definitions: the data that a pytree class keeps beside
    its leaves need not be comparable, and the same state may come back in another container.
    """
    old_paths, new_paths = leaf_paths(state), leaf_paths(new_state)
    old, new = jax.tree.leaves(state), jax.tree.leaves(new_state)
    places = match(old_paths, new_paths)
    missing, extra = unmatched(old_paths, new_paths, places)
    if missing or extra:
        raise SpecError(
            "the model state that loss_fn returns does not have the leaves of its argument: only "
            f"in the argument: {missing or 'none'}; only in what is returned: {extra or 'none'}. "
            "state_argnum counts the arguments after params, from 0."
        )
    leaves = [new[place] for place in places if place is not None]
    for path, before, after in zip(old_paths, old, leaves, strict=True):
        if np.shape(before) != np.shape(after):
            raise SpecError(
                f"the model state that loss_fn returns has shape {np.shape(after)} at '{path}', "
                f"but its argument {np.shape(before)}."
            )
    return leaves
