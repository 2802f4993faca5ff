"""``python -m unf_lopt.evaluate``: compares a trained optimizer with the ecosystem's baselines.

``--train_log_dir`` is the folder of the run; the ecosystem's other flags (``--config_file``,
``--gin_bindings``, ``--gin_import``) change the configuration that the run had.
"""

import importlib
import pathlib
import sys
from collections.abc import Sequence

from absl import app, flags
from rich.console import Console

from unf_lopt import ecosystem, evaluation

_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "A params_N file; by default the newest of --train_log_dir."
)
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "Where the report is written; by default TRAIN_LOG_DIR/evaluation."
)
_COMPARE = flags.DEFINE_multi_string(
    "compare", [], "FOLDER or NAME=FOLDER of another run to compare with; may be repeated."
)


def main(argv: Sequence[str]) -> None:
    """Reads the run's configuration, evaluates, prints the table and the closing line.

    Raises:
      app.UsageError: no ``--train_log_dir``, or an argument that is no flag.
    """
    if len(argv) > 1:
        raise app.UsageError(f"not a flag: {' '.join(argv[1:])}")
    run = flags.FLAGS.train_log_dir
    if not run:
        raise app.UsageError("--train_log_dir=FOLDER says which run is evaluated.")
    # Plugins have to be there before any config that names them.
    for module in ("unf_lopt.register", *(flags.FLAGS.gin_import or ())):
        importlib.import_module(module)
    compared = [_compared(argument) for argument in dict.fromkeys(_COMPARE.value)]
    evaluation.bind_run(run, flags.FLAGS.gin_import or (), _CHECKPOINT.value)
    ecosystem.parse_flags_and_config()
    output_dir = pathlib.Path(_OUTPUT_DIR.value or pathlib.Path(run, "evaluation"))
    summary = evaluation.evaluate(output_dir, _CHECKPOINT.value or run, compared)

    from unf_lopt.evaluation import report  # brings Matplotlib, for which errors need not wait

    # Where nobody watches there is no width to keep to.
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(report.table(summary))
    print(report.closing_line(summary, output_dir))


def _compared(argument: str) -> evaluation.Trained:
    name, folder = "", argument
    if not pathlib.Path(argument).is_dir() and "=" in argument:
        name, _, folder = argument.partition("=")
    return evaluation.Trained.load(folder, name or None)


if __name__ == "__main__":
    ecosystem.define_flags()
    app.run(main)
