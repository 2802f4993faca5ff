"""``python -m unf_lopt.card``: the card of a trained optimizer, and its folder for a hub."""

import functools
import pathlib
import sys
from collections.abc import Sequence

from unf_lopt import commands
from unf_lopt.commands import surroundings


@functools.cache
def define_flags() -> None:
    """Defines the command's own flags."""
    from absl import flags

    flags.DEFINE_string("theta", None, "A theta file in safetensors, or a run's folder.")
    flags.DEFINE_string("name", None, "What users load it by.")
    flags.DEFINE_string("results", None, "The results.json of an evaluation of it.")
    flags.DEFINE_multi_string("fact", [], "WHAT=TEXT of the training; may be repeated.")
    flags.DEFINE_multi_string("limit", [], "A sentence on what it is not good for.")
    flags.DEFINE_string("weights_dir", "weights", "The folder is made in it, by the name.")
    flags.DEFINE_boolean("ship", False, "Also writes both files into the package.")


def run() -> None:
    """Writes the files and prints their paths.

    Raises:
      absl.app.UsageError: no theta or no name.
      ValueError: the theta took no part in the results, or a fact has no name.
      FileNotFoundError: there is no such theta, or no such results.
    """
    from absl import app, flags

    theta, name = flags.FLAGS.theta, flags.FLAGS.name
    if not theta or not name:
        raise app.UsageError("--theta=THETA and --name=NAME say which optimizer the card is of.")
    if not name.isidentifier():
        raise ValueError(f"--name={name}: letters, digits and _ make a name, such as universal.")
    folder = pathlib.Path(flags.FLAGS.weights_dir, name)
    surroundings.check_folder("--weights_dir", folder)
    facts = {}
    for fact in flags.FLAGS.fact:
        what, sign, text = fact.partition("=")
        if not sign or not what:
            raise ValueError(f"--fact={fact}: is WHAT=TEXT, such as --fact=cpu_hours=1.5.")
        facts[what] = text
    from unf_lopt.evaluation import card
    from unf_lopt.optimizers.theta import SHIPPED
    from unf_lopt.runs import read_json, write_whole

    results = None
    if flags.FLAGS.results is not None:
        results = read_json(pathlib.Path(flags.FLAGS.results))

    written = card.write(folder, name, theta, results, flags.FLAGS.limit, **facts)
    if flags.FLAGS.ship:
        text, model = (path.read_bytes() for path in written)
        written += [SHIPPED / f"{name}.md", SHIPPED / f"{name}.safetensors"]
        write_whole(written[2], text)
        write_whole(written[3], model)
    print(*written, sep="\n")


COMMAND = commands.Command(
    name="card",
    summary="Writes the card of a trained optimizer, and its folder in the form of a hub.",
    flags={
        "--theta=SOURCE": "a theta_N.safetensors, or a run's folder for its newest",
        "--name=NAME": "what users load it by",
        "--results=FILE": "results.json of an evaluation in which it took part under the name",
        "--fact=WHAT=TEXT": "of the training, such as cpu_hours=1.5; may be repeated",
        "--limit=TEXT": "what it is not good for; may be repeated",
        "--weights_dir=FOLDER": "where its folder is made; by default weights",
        "--ship": "also writes both files into the package, for unf_lopt.load(NAME)",
    },
    examples=("--theta=runs/universal --name=universal --results=runs/held_out/results.json",),
    define_flags=define_flags,
    run=run,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; see :func:`unf_lopt.commands.main`."""
    return commands.main(COMMAND, arguments)


if __name__ == "__main__":
    sys.exit(main())
