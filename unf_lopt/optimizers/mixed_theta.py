"""The learned numbers of a mixed step, as they are before training: those set by hand."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from unf_lopt._types import PyTree
from unf_lopt.optimizers import hypergradient
from unf_lopt.optimizers.controller import Controller
from unf_lopt.optimizers.functional import Functional

Scalars = dict[str, jax.Array]
# Of the extents of matrices, in the order of `Matrices.log_extents`.
POWERS = ("power_rows", "power_columns", "power_window")
# Of the number of tensors.
NUMBER_POWER = "power_tensors"
_ALL_POWERS = (*POWERS, NUMBER_POWER)
_DECAY = ("log_weight_decay", "slope_weight_decay")
# What a step may have that thetas without it can go on with.
_LATER: dict[str, float] = {name: 0.0 for name in (*_ALL_POWERS, hypergradient.LEAK)}
_LATER |= {"log_weight_decay": float(np.log(0.05)), "slope_weight_decay": 0.0}


def initial_scalars(
    mixed: Sequence[str],
    *,
    follows_hypergradient: bool = False,
    sees_extents: bool = False,
    decays: bool = False,
) -> Scalars:
    """The scalars of a step set by hand, as they are learned: logarithms, logits and exponents.

    - ``log_step``, ``log_hidden``, ``log_last``, ``log_embedding``, ``log_vector``: the step size
      and what every role multiplies it by;
    - ``horizon``, ``decay``, ``slope``, ``noise``, ``log_warm_up``: κ, p, q, c and the steps of the
      warm-up, see :class:`mixed_step.MixedStep`;
    - ``logit_first``, ``logit_second``, ``logit_nesterov``: the decays μ and β2, and n;
    - ``mix_NAME``, ``slope_NAME`` of every direction but the first: its logit at the middle, and
      from start to end;
    - ``power_rows``, ``power_columns``, ``power_window``, ``power_tensors``: ηs, likewise;
    - ``log_weight_decay``, ``slope_weight_decay``: log λ at the middle, and from start to end;
    - ``log_gain``, ``gain_horizon``, ``log_sharpness``, ``growth``, ``slope_growth``,
      ``root_leak``: see :func:`hypergradient.next_log_factors`.

    Args:
      mixed: the names of the directions.
      follows_hypergradient: whether step sizes do.
      sees_extents: whether step sizes depend on the extents of matrices.
      decays: whether weight decay is learned.
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
    }
    for name in mixed[1:]:
        values[f"mix_{name}"], values[f"slope_{name}"] = (start + end) / 2, end - start
    if follows_hypergradient:
        values |= hypergradient.initial_scalars()
    if sees_extents:
        values |= {name: _LATER[name] for name in _ALL_POWERS}
    if decays:
        values |= {name: _LATER[name] for name in _DECAY}
    return {name: jnp.asarray(value, jnp.result_type(float)) for name, value in values.items()}


def initial_theta(
    key: jax.Array,
    mixed: Sequence[str],
    controller: Controller | None = None,
    functional: Functional | None = None,
    *,
    follows_hypergradient: bool = False,
    sees_extents: bool = False,
    decays: bool = False,
) -> PyTree:
    """Theta of a step: ``{"scalars": …}``, and ``"controller"`` and ``"functional"`` with these."""
    scalars = initial_scalars(
        mixed,
        follows_hypergradient=follows_hypergradient,
        sees_extents=sees_extents,
        decays=decays,
    )
    theta: dict[str, PyTree] = {"scalars": scalars}
    if controller is not None:
        theta["controller"] = controller.init(key)
    if functional is not None:
        theta["functional"] = functional.init(jax.random.fold_in(key, 2))
    return theta


def grown(tensors: Mapping[str, np.ndarray], names: Collection[str]) -> dict[str, np.ndarray]:
    """Theta of a step without extents, a leak or a learned weight decay, as that of one with them.

    Extents and the leak have no effect at first; weight decay begins as it is set by hand, and a
    controller does not change it.

    Args:
      tensors: theta's numbers by path, such as ``scalars/log_step``.
      names: the paths that the other step has.

    Returns:
      Its theta; the given numbers alone where something else is missing.
    """
    larger = dict(tensors)
    new = {*names} - {*tensors}
    if "scalars/log_step" not in tensors or not new <= {f"scalars/{name}" for name in _LATER}:
        return larger
    larger |= {path: np.asarray(_LATER[path.removeprefix("scalars/")], np.float32) for path in new}
    sees, decays = f"scalars/{POWERS[0]}" in new, "scalars/log_weight_decay" in new
    more = {"encode": ((0, len(POWERS) * sees), (0, 0)), "out": ((0, 0), (0, decays))}
    more["out_bias"] = ((0, decays),)
    for name, widths in more.items():
        if (path := f"controller/{name}") in tensors:
            larger[path] = np.pad(tensors[path], widths)
    return larger


def _logit(p: float) -> float:
    return float(np.log(p) - np.log1p(-p))
