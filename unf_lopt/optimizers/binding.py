"""From a task to the weight space that an optimizer is bound to."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

from unf_lopt import ecosystem
from unf_lopt.symmetry import PermutationSpec

_LOG = logging.getLogger("unf_lopt")


@dataclasses.dataclass(frozen=True)
class SymmetryOptions:
    """How the spec of a task is found.

    Attributes:
      verify: whether it is verified on numbers, see :func:`unf_lopt.verify_spec`.
      randomness: see :func:`unf_lopt.infer_spec`.
    """

    verify: bool = False
    randomness: str = "frozen"


def resolve_spec(source: Any, options: SymmetryOptions | None = None) -> PermutationSpec:
    """The spec of a task family or a task, found from its loss, or the spec itself.

    What was found is logged, at level INFO of the logger ``unf_lopt``.

    Raises:
      TypeError: for anything else.
      SymmetryError: the spec is to be verified and is no symmetry of the loss.
    """
    options = options or SymmetryOptions()
    if isinstance(source, PermutationSpec):
        return source
    if isinstance(source, ecosystem.Task):
        source = ecosystem.single_task_to_family(source)
    if not isinstance(source, ecosystem.TaskFamily):
        raise TypeError(
            f"expected a TaskFamily, a Task or a PermutationSpec; got {type(source).__name__}."
        )
    spec = ecosystem.spec_of(source, randomness=options.randomness)
    _LOG.info("symmetry of %s:\n%s", source.name, spec)
    if options.verify:
        found = ecosystem.verify_spec_of(
            source, spec, randomness=options.randomness, maximality=False
        )
        _LOG.info("%s", found)
    return spec
