"""Random weight spaces for hypothesis."""

import itertools

import jax
from hypothesis import settings
from hypothesis import strategies as st

from unf_lopt import PermutationSpec

# Of a test each of whose examples is a program to compile.
compiling = settings(max_examples=settings.default.max_examples // 3)
SIZES = {"a": 2, "b": 3, "c": 4, "pixels": 2}


@st.composite
def specs(draw, max_tensors=3, max_rank=4, spaces=tuple(SIZES)):
    """Several tensors of rank 0 to ``max_rank`` whose axes lie in few spaces, some repeated."""
    axes = draw(
        st.lists(
            st.lists(st.sampled_from(spaces), max_size=max_rank).map(tuple),
            min_size=1,
            max_size=max_tensors,
        )
    )
    names = {f"tensor_{index}": own for index, own in enumerate(axes)}
    used = {name for own in axes for name in own}
    return from_axes(names, fixed={"pixels"} & used)


def from_axes(names, fixed=(), sizes=SIZES):
    """A spec with the given axes, the spaces of the sizes above."""
    params = {
        path: jax.ShapeDtypeStruct(tuple(sizes[name] for name in own), "float32")
        for path, own in names.items()
    }
    return PermutationSpec.from_names(names, params, fixed=set(fixed))


def mlp_spec(widths, fixed=("space_0",)):
    """An MLP of the given widths; the last space is fixed too."""
    names, params = {}, {}
    for index, (rows, columns) in enumerate(itertools.pairwise(widths)):
        names[f"linear_{index}"] = {
            "w": (f"space_{index}", f"space_{index + 1}"),
            "b": (f"space_{index + 1}",),
        }
        params[f"linear_{index}"] = {
            "w": jax.ShapeDtypeStruct((rows, columns), "float32"),
            "b": jax.ShapeDtypeStruct((columns,), "float32"),
        }
    return PermutationSpec.from_names(names, params, {*fixed, f"space_{len(widths) - 1}"})


def haiku_mlp_spec(params):
    """The symmetry of a classifying `hk.nets.MLP`, written by hand: the units of hidden layers."""
    spaces = ["pixels", *(f"hidden_{layer}" for layer in range(len(params) - 1)), "classes"]
    names = {
        f"mlp/~/linear_{layer}": {"w": (rows, columns), "b": (columns,)}
        for layer, (rows, columns) in enumerate(itertools.pairwise(spaces))
    }
    return PermutationSpec.from_names(names, params, fixed={"pixels", "classes"})
