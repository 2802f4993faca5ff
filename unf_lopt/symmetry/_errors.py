"""Errors of specs and symmetries."""


class SpecError(ValueError):
    """A spec that contradicts itself, or a tree that does not fit its spec."""


def check_kind(what: str, value: object, kind: type) -> None:
    """Refuses an argument of another kind, such as one in the place of another.

    Args:
      what: the function, and what is wanted in this place.
      value: what was given.
      kind: what it must be.

    Raises:
      SpecError: it is not.
    """
    if not isinstance(value, kind):
        raise SpecError(
            f"{what} must be a {kind.__name__}, not a {type(value).__name__}; "
            "unf_lopt.infer_spec(loss_fn, params, ...) gives one."
        )


class SymmetryError(ValueError):
    """A claimed symmetry does not hold on numbers."""
