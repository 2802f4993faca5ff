"""Errors of specs and symmetries."""


class SpecError(ValueError):
    """A spec that contradicts itself, or a tree that does not fit its spec."""


class SymmetryError(ValueError):
    """A claimed symmetry does not hold on numbers."""
