"""``python -m unf_lopt.evaluate``: compares a trained optimizer with hand-designed baselines.

``--train_log_dir`` is the folder of the run; the ecosystem's other flags (``--config_file``,
``--gin_bindings``, ``--gin_import``) change the configuration that the run had.
"""

import functools
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from unf_lopt import commands, ecosystem
from unf_lopt.commands import settings, surroundings


@functools.cache
def define_flags() -> None:
    """Defines the command's own flags."""
    from absl import flags

    flags.DEFINE_string(
        "checkpoint", None, "A params_N file; by default the newest of --train_log_dir."
    )
    flags.DEFINE_string(
        "output_dir", None, "Where the report is written; by default TRAIN_LOG_DIR/evaluation."
    )
    flags.DEFINE_multi_string(
        "compare", [], "FOLDER or NAME=FOLDER of another run to compare with; may be repeated."
    )


def run() -> None:
    """Reads the run's configuration, evaluates, prints the table and the closing line.

    Raises:
      absl.app.UsageError: no ``--train_log_dir``.
      ValueError: a number, a name or a folder that cannot be.
      FileNotFoundError: there is no such run or checkpoint.
    """
    from absl import app, flags

    folder = flags.FLAGS.train_log_dir
    if not folder:
        raise app.UsageError("--train_log_dir=FOLDER says which run is evaluated.")
    output_dir = pathlib.Path(flags.FLAGS.output_dir or pathlib.Path(folder, "evaluation"))
    surroundings.check_folder("--output_dir", output_dir)
    surroundings.check_devices()
    surroundings.need("rich", "matplotlib")
    # Plugins have to be there before any config that names them.
    ecosystem.import_plugins()
    from unf_lopt import evaluation

    compared = [_compared(argument) for argument in dict.fromkeys(flags.FLAGS.compare)]
    evaluation.bind_run(folder, flags.FLAGS.gin_import or (), flags.FLAGS.checkpoint)
    ecosystem.parse_flags_and_config(check=settings.check)
    settings.check_kinds("evaluate")
    summary = evaluation.evaluate(output_dir, flags.FLAGS.checkpoint or folder, compared)

    from rich.console import Console

    from unf_lopt.evaluation import report

    # Where nobody watches there is no width to keep to.
    Console(width=None if sys.stdout.isatty() else 120).print(report.table(summary))
    print(report.closing_line(summary, output_dir))


def _compared(argument: str) -> Any:
    from absl import flags

    from unf_lopt import evaluation

    name, folder = "", argument
    if not pathlib.Path(argument).is_dir() and "=" in argument:
        name, _, folder = argument.partition("=")
    lopt = evaluation.undescribed_optimizer(folder, flags.FLAGS.gin_import or ())
    return evaluation.Trained.load(folder, name or None, lopt)


COMMAND = commands.Command(
    name="evaluate",
    summary="Compares a trained optimizer with tuned baselines and other runs, on held-out seeds.",
    flags={
        "--train_log_dir=FOLDER": "the run",
        "--compare=FOLDER": "another run, or NAME=FOLDER; may be repeated",
        "--checkpoint=FILE": "a params_N file; by default the run's newest",
        "--output_dir=FOLDER": "of the report; by default TRAIN_LOG_DIR/evaluation",
    },
    examples=("--train_log_dir=runs/unf --compare=runs/deep_sets",),
    define_flags=define_flags,
    run=run,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; see :func:`unf_lopt.commands.main`."""
    return commands.main(COMMAND, arguments)


if __name__ == "__main__":
    sys.exit(main())
