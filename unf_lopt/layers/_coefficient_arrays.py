"""How the coefficients of the full layer are kept in few arrays."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from unf_lopt.layers._plan import Bucket, Plan

# What makes random numbers is compiled array by array, for every perturbation of theta too, so few
# arrays are better; what is cut out of an array is copied in every call, so large ones stay apart.
LARGE = 65_536
SHARED = "coefficients"


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """The coefficients of a layer as parameters.

    A bucket of ``LARGE`` coefficients or more has an array of its own, ``[features, input channels,
    slots, output channels]``. All others share ``SHARED``, ``[maps, input channels, output
    channels]``: bucket after bucket, the maps of a bucket's first feature to every slot, then
    those of the next.

    Attributes:
      plan: of the layer.
      input_channels: of it.
      output_channels: of it.
    """

    plan: Plan
    input_channels: int
    output_channels: int

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of every array, by the parameter's name."""
        shapes: dict[str, tuple[int, ...]] = {}
        maps = 0
        for bucket, features, slots in self._sizes():
            if self._is_large(features, slots):
                shapes[_name(bucket)] = (
                    features,
                    self.input_channels,
                    slots,
                    self.output_channels,
                )
            else:
                maps += features * slots
        if maps:
            shapes[SHARED] = (maps, self.input_channels, self.output_channels)
        return shapes

    def tables(self, params: Mapping[str, Any]) -> dict[Bucket, Any]:
        """``[features, input channels, slots, output channels]`` for every bucket."""
        tables, start = {}, 0
        for bucket, features, slots in self._sizes():
            if self._is_large(features, slots):
                tables[bucket] = params[_name(bucket)]
            else:
                own = params[SHARED][start : start + features * slots]
                tables[bucket] = own.reshape(features, slots, *own.shape[1:]).swapaxes(1, 2)
                start += features * slots
        return tables

    def params(self, tables: Mapping[Bucket, np.ndarray]) -> dict[str, np.ndarray]:
        """The inverse of :meth:`tables`, for tables of any number of channels."""
        params, shared = {}, []
        for bucket, features, slots in self._sizes():
            table = tables[bucket]
            if self._is_large(features, slots):
                params[_name(bucket)] = table
            else:
                own = table.swapaxes(1, 2)
                shared.append(own.reshape(features * slots, *own.shape[2:]))
        if shared:
            params[SHARED] = np.concatenate(shared)
        return params

    def _sizes(self) -> Iterator[tuple[Bucket, int, int]]:
        for bucket, (features, slots) in self.plan.buckets.items():
            yield bucket, len(features), len(slots)

    def _is_large(self, features: int, slots: int) -> bool:
        matrix = (self.input_channels, self.output_channels)
        return math.prod((features, slots, *matrix)) >= LARGE


def _name(bucket: Bucket) -> str:
    return f"{SHARED}({','.join(bucket)})"
