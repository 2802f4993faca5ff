"""``python -m unf_lopt.evaluate``: compares trained optimizers with tuned baselines, on any tasks.

``--train_log_dir`` is the folder of a run, whose task and horizon are taken; without it the
configuration (``--config_file``, ``--gin_bindings``) says what takes part and on which tasks.
"""

import functools
import pathlib
import shlex
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
        "checkpoint", None, "A theta_N.safetensors or params_N; by default the newest of the run."
    )
    flags.DEFINE_string(
        "output_dir", None, "Where the report is written; by default TRAIN_LOG_DIR/evaluation."
    )
    flags.DEFINE_string(
        "cache_dir", None, "Where finished runs are kept; by default OUTPUT_DIR/runs."
    )
    flags.DEFINE_multi_string(
        "compare", [], "SOURCE or NAME=SOURCE of a theta that takes part; may be repeated."
    )


def run() -> None:
    """Reads the run's configuration, evaluates, prints the table and the closing line.

    Raises:
      absl.app.UsageError: neither a run nor a configuration is given, or no folder to write to.
      ValueError: a number, a name or a folder that cannot be.
      FileNotFoundError: there is no such run or checkpoint.
    """
    from absl import app, flags

    folder = flags.FLAGS.train_log_dir
    if not folder and not (flags.FLAGS.config_file or flags.FLAGS.gin_bindings):
        raise app.UsageError(
            "--train_log_dir=FOLDER says which run is evaluated; --config_file=held_out.gin with "
            "--compare=THETA evaluates without one."
        )
    if not folder and not flags.FLAGS.output_dir:
        raise app.UsageError("--output_dir=FOLDER says where the report is written.")
    output_dir = pathlib.Path(flags.FLAGS.output_dir or pathlib.Path(folder, "evaluation"))
    surroundings.check_folder("--output_dir", output_dir)
    if flags.FLAGS.cache_dir is not None:
        surroundings.check_folder("--cache_dir", flags.FLAGS.cache_dir)
    surroundings.check_devices()
    surroundings.need("rich", "matplotlib")
    # Plugins have to be there before any config that names them.
    ecosystem.import_plugins()
    from unf_lopt import evaluation

    compared = [_compared(argument) for argument in dict.fromkeys(flags.FLAGS.compare)]
    if folder:
        evaluation.bind_run(folder, flags.FLAGS.gin_import or (), flags.FLAGS.checkpoint)
    else:
        ecosystem.load_task_modules()  # a configuration may name any task
    ecosystem.parse_flags_and_config(check=settings.check)
    evaluation.bind_training_config()
    settings.check_kinds("evaluate")
    main_theta = flags.FLAGS.checkpoint or folder or None
    options = {"cache_dir": flags.FLAGS.cache_dir} if flags.FLAGS.cache_dir else {}
    summary = evaluation.evaluate(output_dir, main_theta, compared, command=_command(), **options)

    from rich.console import Console

    from unf_lopt.evaluation import report

    # Where nobody watches there is no width to keep to.
    Console(width=None if sys.stdout.isatty() else 120).print(report.table(summary))
    print(*report.closing_lines(summary, output_dir), sep="\n")


def _compared(argument: str) -> Any:
    from absl import flags

    from unf_lopt import evaluation

    name, source = evaluation.split_name(argument)
    lopt = evaluation.undescribed_optimizer(source, flags.FLAGS.gin_import or ())
    return evaluation.Trained.load(source, name, lopt)


def _command() -> str:
    """The command line as one would type it again."""
    from absl import flags

    given = [own for own in map(flags.FLAGS.__getitem__, flags.FLAGS) if own.present]
    arguments = [line for own in given for line in own.serialize().splitlines()]
    return " \\\n  ".join(["python -m unf_lopt.evaluate", *map(shlex.quote, arguments)])


COMMAND = commands.Command(
    name="evaluate",
    summary="Compares trained optimizers with tuned baselines, on held-out seeds of any tasks.",
    flags={
        "--train_log_dir=FOLDER": "the run",
        "--compare=SOURCE": "a theta file, another run's folder or a shipped optimizer's name, or "
        "NAME=SOURCE; may be repeated",
        "--checkpoint=FILE": "a theta_N.safetensors or params_N; by default the run's newest",
        "--output_dir=FOLDER": "of the report; by default TRAIN_LOG_DIR/evaluation",
        "--cache_dir=FOLDER": "of finished runs; by default OUTPUT_DIR/runs",
    },
    examples=(
        "--train_log_dir=runs/unf --compare=runs/deep_sets",
        "--config_file=held_out.gin --compare=universal --output_dir=runs/held_out",
    ),
    define_flags=define_flags,
    run=run,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; see :func:`unf_lopt.commands.main`."""
    return commands.main(COMMAND, arguments)


if __name__ == "__main__":
    sys.exit(main())
