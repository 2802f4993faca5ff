"""Which axes of which parameters may be permuted: the spec and the law.

Beside the spec itself, helpers for those who compute on one: :func:`leaf_paths` names the leaves
of a tree as specs do and :func:`path_string` a single path, :func:`spaces_of` lists what an axis
is made of, :func:`size_of` gives its length, and :func:`block_axes` tells the axes of a
parameter's blocks in its factored view. :func:`companions` tells which axes say which permutation
a nested one has, and :func:`permuted_block` permutes a block. :func:`check_kind` refuses what is no
spec.
"""

from unf_lopt.symmetry._axes import Axis, Product, Sum, size_of, spaces_of
from unf_lopt.symmetry._axes import rename as rename_axis
from unf_lopt.symmetry._equivariance import assert_equivariant, random_features
from unf_lopt.symmetry._errors import SpecError, SymmetryError, check_kind
from unf_lopt.symmetry._nesting import companions, permuted_block
from unf_lopt.symmetry._spec import PermutationSpec
from unf_lopt.symmetry._trees import leaf_paths, path_string
from unf_lopt.symmetry._views import block_axes
from unf_lopt.symmetry.drawing import Picture
from unf_lopt.symmetry.inference import common_refinement, infer_spec
from unf_lopt.symmetry.verification import Verification, verify_spec

__all__ = [
    "Axis",
    "PermutationSpec",
    "Picture",
    "Product",
    "SpecError",
    "Sum",
    "SymmetryError",
    "Verification",
    "assert_equivariant",
    "block_axes",
    "check_kind",
    "common_refinement",
    "companions",
    "infer_spec",
    "leaf_paths",
    "path_string",
    "permuted_block",
    "random_features",
    "rename_axis",
    "size_of",
    "spaces_of",
    "verify_spec",
]
