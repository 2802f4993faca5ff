"""``python -m unf_lopt.train``: meta-trains a learned optimizer from a gin config.

The flags are the ecosystem's: ``--config_file``, ``--gin_bindings``, ``--gin_import``,
``--train_log_dir``. A folder that has a run already is resumed. With ``--distributed`` it is one
process of several; ``python -m unf_lopt.launch`` starts them on one machine.
"""

import contextlib
import functools
import os
import platform
import sys
from collections.abc import Iterator, Sequence

from unf_lopt import commands, ecosystem, processes
from unf_lopt._version import __version__
from unf_lopt.commands import errors, settings, surroundings


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
    processes.end_with_launcher()
    ecosystem.import_plugins()
    ecosystem.parse_flags_and_config(check=settings.check)
    from unf_lopt import outer_training  # after the flags: it loads the ecosystem

    with _group(folder) as group:  # before anything is computed
        surroundings.check_devices()
        settings.check_kinds()
        outer_training.train(folder, group=group)


@contextlib.contextmanager
def _group(folder: str) -> Iterator[processes.Group]:
    """The processes of the run, as the flags say; the others are told of an error of this one."""
    import gin
    import jax
    from absl import app, flags

    given = flags.FLAGS
    if not given.distributed:
        for name in ("coordinator_address", "num_processes", "process_id"):
            if given[name].present:
                raise app.UsageError(f"--{name} is for one of several processes: --distributed.")
        yield processes.Group()
        return
    same = {
        "version of unf_lopt": __version__,
        "version of JAX": jax.__version__,
        "version of the ecosystem": ecosystem.version(),
        "version of Python": platform.python_version(),
        "--train_log_dir": os.path.abspath(folder),
        "configuration": gin.config_str(max_line_length=100_000),
    }
    with processes.joined(
        given.coordinator_address,
        given.num_processes,
        given.process_id,
        same,
        given.start_seconds,
    ) as group:
        try:
            yield group
        except BaseException as error:
            group.failed(errors.told(error) or f"{type(error).__name__}: {error}")
            raise


@functools.cache
def _define_flags() -> None:
    from absl import flags

    flags.DEFINE_bool("distributed", False, "Take part in a run of several processes.")
    flags.DEFINE_string("coordinator_address", None, "HOST:PORT of the first process.")
    flags.DEFINE_integer("num_processes", None, "How many processes there are.", lower_bound=1)
    flags.DEFINE_integer("process_id", None, "The number of this one, from 0.", lower_bound=0)
    flags.DEFINE_float("start_seconds", 20.0, "How long all may take to start.", lower_bound=1.0)


COMMAND = commands.Command(
    name="train",
    summary="Meta-trains a learned optimizer; continues the run that the folder has.",
    flags={
        "--train_log_dir=FOLDER": "where the run is written",
        "--distributed": "one process of several, as SLURM, Open MPI, a TPU pod or Kubernetes "
        "started them, or as the next flags say",
        "--coordinator_address=HOST:PORT": "of the first process; the next port is used, too",
        "--num_processes=N": "how many processes there are",
        "--process_id=I": "the number of this one, from 0",
        "--start_seconds=20": "how long the processes may take to be all there",
    },
    examples=(
        "--config_file=demo.gin --train_log_dir=runs/demo",
        "--config_file=digits_mlp.gin --config_file=small.gin --train_log_dir=runs/unf "
        "--gin_bindings='OUTER_STEPS=500'",
    ),
    define_flags=_define_flags,
    run=run,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; see :func:`unf_lopt.commands.main`."""
    code = commands.main(COMMAND, arguments)
    jax = sys.modules.get("jax")  # asking for help loads none
    if code and jax is not None and jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # JAX would wait for the others, which end with this one
    return code


if __name__ == "__main__":
    sys.exit(main())
