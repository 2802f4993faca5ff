"""``python -m unf_lopt.predict``: what do the weights of a network say about it?

Trains a zoo of small networks, fits predictors to their weights, and writes a page that compares
them. A killed command keeps the shards of models that it finished.
"""

from __future__ import annotations

import argparse
import functools
import json
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Any

from unf_lopt.runs import RunError, only_trainer
from unf_lopt.symmetry import SpecError
from unf_lopt.weights import (
    PREDICTORS,
    ZOOS,
    FitOptions,
    build_zoo,
    compare,
    population_of,
    write_comparison,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      arguments: of the command line, without the program's name.

    Returns:
      The exit code: 0, 1 for an error that is told in one line, 130 if it was interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        _run(options)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130
    except (ValueError, SpecError, RunError, ImportError) as error:
        print(f"unf-lopt predict: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    about = "\n".join(f"  {name:<14} {kind.about}" for name, kind in ZOOS.items())
    parser = argparse.ArgumentParser(
        prog="unf-lopt predict",
        description=f"{__doc__}\nZoos:\n{about}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--zoo", required=True, choices=ZOOS)
    parser.add_argument("--dir", required=True, help="folder of the zoo and of what is written")
    parser.add_argument("--models", type=int, default=1000, help="how many are trained")
    parser.add_argument("--predictors", type=_names, default=tuple(PREDICTORS), help="a,b,…")
    parser.add_argument("--splits", type=int, default=5, help="random splits by model")
    parser.add_argument("--num_train", type=int, help="models to train on; all by default")
    parser.add_argument("--width", type=int, default=16, help="channels of the predictors")
    parser.add_argument("--epochs", type=int, default=60, help="of fitting, at most")
    parser.add_argument("--seed", type=int, default=0, help="of the zoo")
    parser.add_argument("--shard", type=int, default=100, help="models trained in one program")
    parser.add_argument("--settings", default="{}", help="of the zoo, as JSON")
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _settings(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"--settings={text}: JSON such as '{{\"num_steps\": 1000}}' is needed.")
    return found


def _run(options: argparse.Namespace) -> None:
    folder = pathlib.Path(options.dir)
    fitting = FitOptions(width=options.width, epochs=options.epochs)
    unknown = sorted(set(options.predictors) - set(PREDICTORS))
    if unknown:
        raise ValueError(f"--predictors: there is no {unknown}; there are {list(PREDICTORS)}.")
    population = population_of(options.zoo, **_settings(options.settings))
    folder.mkdir(parents=True, exist_ok=True)
    with only_trainer(folder):
        zoo = build_zoo(
            folder,
            population,
            options.models,
            seed=options.seed,
            shard_size=options.shard,
            report=functools.partial(_trained, options.models, time.monotonic()),
        )
    comparison = compare(
        zoo,
        options.predictors,
        num_splits=options.splits,
        num_train=options.num_train,
        options=fitting,
        report=_fitted,
    )
    page = write_comparison(folder, zoo, comparison)
    print(f"\n{page.read_text(encoding='utf-8')}\nwritten to {page}")


def _trained(models: int, start: float, done: int) -> None:
    left = (time.monotonic() - start) / done * (models - done)
    print(f"{done:,} of {models:,} models; about {left / 60:.1f} minutes left", flush=True)


def _fitted(name: str, split: int, score: Any) -> None:
    print(f"split {split}: {name} {score:.3f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
