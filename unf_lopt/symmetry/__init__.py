"""Which axes of which parameters may be permuted: the spec and the law."""

from unf_lopt.symmetry._axes import Axis, Product, Sum
from unf_lopt.symmetry._equivariance import assert_equivariant, random_features
from unf_lopt.symmetry._errors import SpecError, SymmetryError
from unf_lopt.symmetry._spec import PermutationSpec
from unf_lopt.symmetry.inference import common_refinement, infer_spec
from unf_lopt.symmetry.verification import Verification, verify_spec

__all__ = [
    "Axis",
    "PermutationSpec",
    "Product",
    "SpecError",
    "Sum",
    "SymmetryError",
    "Verification",
    "assert_equivariant",
    "common_refinement",
    "infer_spec",
    "random_features",
    "verify_spec",
]
