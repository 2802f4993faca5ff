"""``python -m unf_lopt.inspect``: the permutation symmetry of a task, and its verification.

The task is that of a config (``--config_file``, ``--gin_bindings``) or one by its gin name
(``--task``). ``--explain=PATH:AXIS`` says what tied or froze an axis, ``--draw=FILE.svg`` writes a
picture.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Sequence
from typing import Any

from unf_lopt import commands, ecosystem
from unf_lopt.commands import settings, surroundings
from unf_lopt.ecosystem import config_names, config_text


@functools.cache
def define_flags() -> None:
    """Defines the command's own flags."""
    from absl import flags

    flags.DEFINE_bool("verify", True, "Verify the symmetry on numbers, in float64.")
    flags.DEFINE_bool("maximality", True, "Look for symmetries that were not found.")
    flags.DEFINE_enum(
        "randomness", "frozen", ["frozen", "in_distribution"], "What random draws in the loss do."
    )
    flags.DEFINE_multi_string(
        "explain", [], "PATH:AXIS, such as mlp/~/linear_0/w:1; may be repeated."
    )
    flags.DEFINE_string("draw", None, "An SVG file to write a picture of the symmetry to.")
    # In place of the ecosystem's number of a replica.
    flags.DEFINE_string("task", None, "The gin name of a task or family.", allow_override=True)


def run() -> None:
    """Prints the table, what is to be explained, and the verification; writes the picture.

    Raises:
      absl.app.UsageError: no task is named, or an axis to explain that there is not.
      ValueError: the picture cannot be written where it is to be.
      SymmetryError: the verification fails.
    """
    from absl import app, flags

    places = [_place(place) for place in flags.FLAGS.explain]
    if flags.FLAGS.draw is not None:
        surroundings.check_file("--draw", flags.FLAGS.draw, ".svg")
    surroundings.check_devices()
    family = _task_family()
    spec = ecosystem.spec_of(family, randomness=flags.FLAGS.randomness)
    try:
        explained = [spec.explain(path, axis) for path, axis in dict.fromkeys(places)]
    except ValueError as error:
        raise app.UsageError(f"--explain: {error}") from error
    print(f"{family.name}\n\n{spec}")
    for text in explained:
        print(f"\n{text}")
    if flags.FLAGS.draw is not None:
        print(f"\npicture: {spec.draw(family.name).save(flags.FLAGS.draw)}")
    if flags.FLAGS.verify:
        result = ecosystem.verify_spec_of(
            family, spec, randomness=flags.FLAGS.randomness, maximality=flags.FLAGS.maximality
        )
        print(f"\n{result}")


def _place(place: str) -> tuple[str, int]:
    from absl import app

    path, _, axis = place.rpartition(":")
    if not path or not (axis.isascii() and axis.isdigit()):
        raise app.UsageError(f"--explain={place}: expected PATH:AXIS, such as w:1.")
    return path, int(axis)


def _check_complete(config: config_text.ConfigText) -> None:
    config_names.check(config, known=config.macros)
    settings.check(config)


def _task_family() -> Any:
    import gin
    from absl import app, flags

    ecosystem.import_plugins()
    # Not locked: modules of tasks register names.
    check = settings.check if flags.FLAGS.task else _check_complete
    ecosystem.parse_flags_and_config(finalize=False, check=check)
    if flags.FLAGS.task:
        importlib.import_module("unf_lopt.register")  # tasks of this project
        try:
            return ecosystem.named_task_family(flags.FLAGS.task)
        except ValueError as error:
            raise app.UsageError(f"--task={flags.FLAGS.task}: {error}") from error
    if "task_family" not in gin.get_bindings("sample_single_task_family", False):
        raise app.UsageError(
            "--config_file=FILE says which config's task is inspected, --task=NAME names one; "
            "there is neither."
        )
    settings.check_kinds()
    return gin.get_bindings("sample_single_task_family")["task_family"]


COMMAND = commands.Command(
    name="inspect",
    summary="Shows the permutation symmetry of a task, and verifies it.",
    flags={
        "--task=NAME": "a task or family by its gin name, in place of a config's",
        "--explain=PATH:AXIS": "what tied or froze an axis, such as w:1; may be repeated",
        "--draw=FILE.svg": "writes a picture of the symmetry",
        "--noverify": "without the verification on numbers",
        "--nomaximality": "without the search for symmetries that were not found",
        "--randomness=KIND": "what random draws in the loss do: frozen or in_distribution",
    },
    examples=(
        "--config_file=demo.gin --draw=demo.svg",
        "--task=QuadraticTask --explain=:0",
    ),
    define_flags=define_flags,
    run=run,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; see :func:`unf_lopt.commands.main`."""
    return commands.main(COMMAND, arguments)


if __name__ == "__main__":
    sys.exit(main())
