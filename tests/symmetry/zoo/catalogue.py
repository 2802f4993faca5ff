"""Every case of the zoo but those of the ecosystem, which `ecosystem.py` makes from its tasks."""

from __future__ import annotations

from tests.symmetry.zoo import (
    algebra,
    attention,
    convolution,
    experts,
    generative,
    libraries,
    mlp,
    randomness,
    recurrent,
    relational,
    structure,
    training,
)
from tests.symmetry.zoo.case import Case, cases_of

MODULES = (
    mlp,
    convolution,
    recurrent,
    attention,
    experts,
    libraries,
    generative,
    randomness,
    relational,
    training,
    structure,
    algebra,
)

CASES: list[Case] = [item for module in MODULES for item in cases_of(module)]
