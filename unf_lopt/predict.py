"""``python -m unf_lopt.predict``: what do the weights of a network say about it?

Trains a zoo of small networks, fits predictors to their weights, and writes a page that compares
them. A killed command keeps the shards of models and the fits that it finished.
"""

from __future__ import annotations

import functools
import json
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Any

from unf_lopt import commands
from unf_lopt.commands import surroundings


@functools.cache
def define_flags() -> None:
    """Defines the command's own flags."""
    from absl import flags

    flags.DEFINE_string("zoo", None, "Name of the zoo.")
    flags.DEFINE_string("dir", None, "Folder of the zoo and of what is written.")
    flags.DEFINE_integer("models", 1000, "How many are trained.", 1, 10_000_000)
    flags.DEFINE_list("predictors", [], "Names of predictors; by default all.")
    flags.DEFINE_integer("splits", 5, "Random splits by model.", 1, 1000)
    flags.DEFINE_integer("num_train", None, "Models to train on; by default all.", 1)
    flags.DEFINE_integer("width", 16, "Channels of the predictors.", 1, 4096)
    flags.DEFINE_integer("epochs", 60, "Of fitting, at most.", 1, 1_000_000)
    flags.DEFINE_integer("seed", 0, "Of the zoo.", 0, 2**32 - 1)
    flags.DEFINE_integer("shard", 100, "Models trained in one program.", 1, 1_000_000)
    flags.DEFINE_string("settings", "{}", "Of the zoo, as JSON.")


def run() -> None:
    """Trains the zoo, compares predictors, and prints the page that it writes.

    Raises:
      absl.app.UsageError: no zoo or no folder.
      ValueError: a name or a number that cannot be.
      unf_lopt.runs.RunError: the folder has another zoo, or another command is at work in it.
    """
    from absl import app, flags

    given = flags.FLAGS
    if not given.zoo or not given.dir:
        raise app.UsageError("--zoo=NAME and --dir=FOLDER say what is trained, and where it is.")
    settings = _settings(given.settings)
    folder = pathlib.Path(given.dir)
    surroundings.check_folder("--dir", folder)
    surroundings.check_devices()
    surroundings.need("sklearn", "matplotlib")
    from unf_lopt import weights
    from unf_lopt.runs import only_trainer

    fitting = weights.FitOptions(width=given.width, epochs=given.epochs)
    names = tuple(given.predictors) or tuple(weights.PREDICTORS)
    unknown = sorted(set(names) - set(weights.PREDICTORS))
    if unknown:
        known = list(weights.PREDICTORS)
        raise ValueError(f"--predictors: there is no {unknown}; there are {known}.")
    if len(set(names)) < len(names):
        raise ValueError(f"--predictors={','.join(names)}: each can be named once.")
    weights.split_models(given.models, 0, num_train=given.num_train)  # says if it cannot be
    population = weights.population_of(given.zoo, **settings)
    folder.mkdir(parents=True, exist_ok=True)
    with only_trainer(folder):
        zoo = weights.build_zoo(
            folder,
            population,
            given.models,
            seed=given.seed,
            shard_size=given.shard,
            report=functools.partial(_trained, given.models, time.monotonic()),
        )
    comparison = weights.compare(
        zoo,
        names,
        num_splits=given.splits,
        num_train=given.num_train,
        options=fitting,
        folder=folder / "fits",
        report=_fitted,
    )
    page = weights.write_comparison(folder, zoo, comparison)
    print(f"\n{page.read_text(encoding='utf-8')}\nwritten to {page}")


def _settings(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"--settings={text}: JSON such as '{{\"num_steps\": 1000}}' is needed.")
    return found


def _trained(models: int, start: float, done: int) -> None:
    left = (time.monotonic() - start) / done * (models - done)
    print(f"{done:,} of {models:,} models; about {left / 60:.1f} minutes left")


def _fitted(name: str, split: int, score: float) -> None:
    print(f"split {split}: {name} {score:.3f}")


COMMAND = commands.Command(
    name="predict",
    summary="Predicts from the weights of small networks what they do.",
    flags={
        "--zoo=NAME": "addition, digits_mlp, digits_cnn, images, images_shared, adapters or sines",
        "--dir=FOLDER": "of the zoo and of what is written; the same command goes on",
        "--models=N": "how many are trained; 1000 by default",
        "--predictors=A,B": "unf, dwsnets, deep_sets, statnn, linear, mlp, mlp_augmented, ridge, "
        "boosting; by default all",
        "--splits=N": "random splits by model; 5 by default",
        "--num_train=N": "models to train on; all by default",
        "--width=N": "channels of the predictors; 16 by default",
        "--epochs=N": "of fitting, at most; 60 by default",
        "--seed=N": "of the zoo; 0 by default",
        "--shard=N": "models trained in one program; 100 by default",
        "--settings=JSON": "of the zoo, such as '{\"num_steps\": 1000}'",
    },
    examples=(
        "--zoo=addition --dir=runs/addition",
        "--zoo=images --dir=runs/images --predictors=unf,linear --models=500",
    ),
    define_flags=define_flags,
    run=run,
    reads_config=False,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; see :func:`unf_lopt.commands.main`."""
    return commands.main(COMMAND, arguments)


if __name__ == "__main__":
    sys.exit(main())
