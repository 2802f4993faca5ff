"""Linear equivariant maps between the tensors of a weight space, and networks of them."""

from unf_lopt.layers._blocks import in_blocks, means_in_blocks
from unf_lopt.layers._fixed_axes import count_maps
from unf_lopt.layers._linear import EquivariantLinear, check_layer_options
from unf_lopt.layers._modules import UNF, InvariantPool, PointwiseMLP, UNFLinear
from unf_lopt.layers._network import (
    EquivariantNetwork,
    equivariant_linear,
    invariant_features,
)
from unf_lopt.layers._partitions import bell_number
from unf_lopt.layers._roles import ROLES, role_codes, role_features, roles_of
from unf_lopt.layers._tied import TiedLinear
from unf_lopt.layers._tied_as_full import untied

__all__ = [
    "ROLES",
    "UNF",
    "EquivariantLinear",
    "EquivariantNetwork",
    "InvariantPool",
    "PointwiseMLP",
    "TiedLinear",
    "UNFLinear",
    "bell_number",
    "check_layer_options",
    "count_maps",
    "equivariant_linear",
    "in_blocks",
    "invariant_features",
    "means_in_blocks",
    "role_codes",
    "role_features",
    "roles_of",
    "untied",
]
