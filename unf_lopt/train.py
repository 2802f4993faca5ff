"""``python -m unf_lopt.train``: meta-trains a learned optimizer from a gin config.

The flags are the ecosystem's: ``--config_file``, ``--gin_bindings``, ``--gin_import``,
``--train_log_dir``. A folder that has a run already is resumed.
"""

from collections.abc import Sequence

from absl import app

from unf_lopt import ecosystem


def main(argv: Sequence[str]) -> None:
    """Parses the configuration and trains.

    Raises:
      app.UsageError: no ``--train_log_dir``, or an argument that is no flag.
    """
    if len(argv) > 1:
        raise app.UsageError(f"not a flag: {' '.join(argv[1:])}")
    train_log_dir = ecosystem.parse_flags_and_config()
    if not train_log_dir:
        raise app.UsageError("--train_log_dir=FOLDER says where the run is written.")
    from unf_lopt import outer_training  # after the flags: it loads the ecosystem

    outer_training.train(train_log_dir)


if __name__ == "__main__":
    ecosystem.define_flags()
    app.run(main)
