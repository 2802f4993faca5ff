"""Testing on numbers that a permutation spec is a symmetry of a loss, and the largest one."""

from unf_lopt.symmetry.verification._result import Verification
from unf_lopt.symmetry.verification._verify import verify_spec

__all__ = ["Verification", "verify_spec"]
