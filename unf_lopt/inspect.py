"""``python -m unf_lopt.inspect``: the permutation symmetry of a task, and its verification.

The task is that of a config (``--config_file``, ``--gin_bindings``) or one by its gin name
(``--task``). ``--explain=PATH:AXIS`` says what tied or froze an axis.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import gin
from absl import app, flags

from unf_lopt import ecosystem, symmetry

_VERIFY = flags.DEFINE_bool("verify", True, "Verify the symmetry on numbers, in float64.")
_MAXIMALITY = flags.DEFINE_bool("maximality", True, "Look for symmetries that were not found.")
_RANDOMNESS = flags.DEFINE_enum(
    "randomness", "frozen", ["frozen", "in_distribution"], "What random draws in the loss do."
)
_EXPLAIN = flags.DEFINE_multi_string(
    "explain", [], "PATH:AXIS, such as mlp/~/linear_0/w:1; may be repeated."
)


def main(argv: Sequence[str]) -> None:
    """Prints the table, what is to be explained, and the verification.

    Raises:
      app.UsageError: an argument that is no flag, or no task is named.
    """
    if len(argv) > 1:
        raise app.UsageError(f"not a flag: {' '.join(argv[1:])}")
    family = _task_family()
    spec = ecosystem.spec_of(family, randomness=_RANDOMNESS.value)
    print(f"{family.name}\n\n{spec}")
    for place in dict.fromkeys(_EXPLAIN.value):  # the release parses the flags twice
        path, _, axis = place.rpartition(":")
        if not path or not axis.isdigit():
            raise app.UsageError(f"--explain={place}: expected PATH:AXIS, such as w:1.")
        print(f"\n{spec.explain(path, int(axis))}")
    if _VERIFY.value:
        try:
            result = ecosystem.verify_spec_of(
                family, spec, randomness=_RANDOMNESS.value, maximality=_MAXIMALITY.value
            )
        except symmetry.SymmetryError as error:
            sys.exit(f"\nnot a symmetry: {error}")
        print(f"\n{result}")


def _task_family() -> Any:
    ecosystem.parse_flags_and_config(finalize=False)  # modules of tasks register names
    if flags.FLAGS.task:
        importlib.import_module("unf_lopt.register")  # tasks of this project
        try:
            return ecosystem.named_task_family(flags.FLAGS.task)
        except ValueError as error:
            raise app.UsageError(f"--task={flags.FLAGS.task}: {error}") from error
    try:
        return gin.get_bindings("sample_single_task_family")["task_family"]
    except (KeyError, ValueError) as error:
        raise app.UsageError(
            "--config_file=FILE says which config's task is inspected, --task=NAME names one; "
            f"found neither ({error})."
        ) from error


if __name__ == "__main__":
    ecosystem.define_flags()
    # In place of the ecosystem's number of a replica.
    flags.DEFINE_string("task", None, "The gin name of a task or family.", allow_override=True)
    app.run(main)
