"""``python -m unf_lopt.train``: meta-trains a learned optimizer from a gin config.

The flags are the ecosystem's: ``--config_file``, ``--gin_bindings``, ``--gin_import``,
``--train_log_dir``. A folder that has a run already is resumed.
"""

import sys
from collections.abc import Sequence

from unf_lopt import commands, ecosystem
from unf_lopt.commands import settings, surroundings


def run() -> None:
    """Reads the configuration that the flags name, checks it and trains.

    Raises:
      absl.app.UsageError: no ``--train_log_dir``, or nothing that says what is trained.
      ValueError: a number, a name or a folder that cannot be.
    """
    from absl import app, flags

    folder = flags.FLAGS.train_log_dir
    if not folder:
        raise app.UsageError("--train_log_dir=FOLDER says where the run is written.")
    if not flags.FLAGS.config_file and not flags.FLAGS.gin_bindings:
        raise app.UsageError("--config_file=NAME says what is trained, such as demo.gin.")
    surroundings.check_folder("--train_log_dir", folder)
    surroundings.check_devices()
    ecosystem.import_plugins()
    ecosystem.parse_flags_and_config(check=settings.check)
    settings.check_kinds()
    from unf_lopt import outer_training  # after the flags: it loads the ecosystem

    outer_training.train(folder)


COMMAND = commands.Command(
    name="train",
    summary="Meta-trains a learned optimizer; continues the run that the folder has.",
    flags={"--train_log_dir=FOLDER": "where the run is written"},
    examples=(
        "--config_file=demo.gin --train_log_dir=runs/demo",
        "--config_file=digits_mlp.gin --config_file=small.gin --train_log_dir=runs/unf "
        "--gin_bindings='OUTER_STEPS=500'",
    ),
    define_flags=lambda: None,
    run=run,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; see :func:`unf_lopt.commands.main`."""
    return commands.main(COMMAND, arguments)


if __name__ == "__main__":
    sys.exit(main())
