"""Tiny inner problems in plain JAX, with the symmetries that inference finds in their losses."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from unf_lopt import PermutationSpec, infer_spec

INPUTS, UNITS, OUTPUTS, BATCH, MEMBER = 3, 4, 2, 5, 2
# How far a random theta is from an initial one, by its parts: scalars are learned in units of ten.
NOISE = {"scalars": 0.01, "functional": 0.1, "controller": 0.1}
# Small options of every optimizer; those that are not here take none of these.
FUNCTIONAL = ("unf", "nfn", "unf_universal", "deep_sets", "learned_sgdm")
MIXED = ("mixed_step", "unf_controller")
NUM_STEPS = 60
_CHAIN = {
    "first": {"w": (INPUTS, UNITS), "b": (UNITS,)},
    "last": {"w": (UNITS, OUTPUTS), "b": (OUTPUTS,)},
}


@dataclasses.dataclass(frozen=True)
class Problem:
    """Parameters' shapes, ``loss(params)`` on data of its own, and what of it is to be found."""

    shapes: Any
    loss: Callable[[Any], jax.Array]
    nested: bool = False

    @functools.cached_property
    def spec(self) -> PermutationSpec:
        """The symmetry that is found from the loss."""
        shapes = self.tree(lambda shape: jax.ShapeDtypeStruct(shape, "f4"))
        return infer_spec(self.loss, shapes, nested=self.nested)

    @functools.cached_property
    def grad(self) -> Callable[[Any], Any]:
        """The compiled gradient."""
        return jax.jit(jax.grad(self.loss))

    def tree(self, leaf: Callable[[tuple[int, ...]], Any]) -> Any:
        """A tree like the parameters of what a function makes of each shape."""
        return jax.tree.map(leaf, self.shapes, is_leaf=lambda node: isinstance(node, tuple))

    def random(self, seed: int, dtype: Any = None) -> Any:
        """A tree like the parameters, standard normal."""
        generator = np.random.default_rng(seed)
        return self.tree(lambda shape: jnp.asarray(generator.normal(size=shape), dtype))


def _data() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(7)
    return generator.normal(size=(BATCH, INPUTS)), generator.normal(size=(BATCH, OUTPUTS))


def _chain_loss(params: Any) -> jax.Array:
    x, y = map(jnp.asarray, _data())
    hidden = jnp.tanh(x @ params["first"]["w"] + params["first"]["b"])
    return jnp.mean((hidden @ params["last"]["w"] + params["last"]["b"] - y) ** 2)


def _recurrent_loss(params: Any) -> jax.Array:
    x, y = map(jnp.asarray, _data())
    hidden = jnp.tanh(x @ params["first"]["w"] + params["first"]["b"])
    hidden = jnp.tanh(hidden + hidden @ params["recurrent"])
    out = hidden @ params["last"]["w"] + params["last"]["b"]
    return jnp.mean((params["scale"] * out - y) ** 2)


def _members_loss(params: Any) -> jax.Array:
    """A mixture of members, each of which has units of its own."""
    x, y = map(jnp.asarray, _data())
    hidden = jnp.tanh(jnp.einsum("bi,miu->bmu", x, params["first"]["w"]) + params["first"]["b"])
    own = jnp.einsum("bmu,muo->bmo", hidden, params["last"]["w"])
    gates = jax.nn.softmax(x @ params["gate"])
    out = jnp.einsum("bm,bmo->bo", gates, own) + params["last"]["b"]
    return jnp.mean((params["scale"] * out - y) ** 2)


def small_options(name: str) -> dict[str, Any]:
    """Options with which an optimizer has few coefficients."""
    if name == "unf_controller":
        return {"width": 3}
    if name in ("learned_sgdm", "mixed_step"):
        return {}
    return {"hidden_channels": 3, "hidden_layers": 1}


# An MLP, one with a recurrent matrix and a scalar, and several whose units are nested.
CHAIN = Problem(_CHAIN, _chain_loss)
RECURRENT = Problem({**_CHAIN, "recurrent": (UNITS, UNITS), "scale": ()}, _recurrent_loss)
MEMBERS = Problem(
    {
        "first": {"w": (MEMBER, INPUTS, UNITS), "b": (MEMBER, UNITS)},
        "last": {"w": (MEMBER, UNITS, OUTPUTS), "b": (OUTPUTS,)},
        "gate": (INPUTS, MEMBER),
        "scale": (),
    },
    _members_loss,
    nested=True,
)
