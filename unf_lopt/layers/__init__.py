"""Linear equivariant maps between the tensors of a weight space, and networks of them."""

from unf_lopt.layers._linear import EquivariantLinear, check_layer_options
from unf_lopt.layers._modules import PointwiseMLP, UNFLinear
from unf_lopt.layers._partitions import bell_number, count_maps

__all__ = [
    "EquivariantLinear",
    "PointwiseMLP",
    "UNFLinear",
    "bell_number",
    "check_layer_options",
    "count_maps",
]
