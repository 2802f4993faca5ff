"""A trained theta with some of its numbers changed by hand, from which a training goes on.

    python -m benchmarks.changed_theta universal_generalizing --output=runs/start.safetensors
        --add scalars/power_tensors=-0.4 --scale controller/out/2=0.5

A number is named by its path in theta; of an array, all of it, or with ``/COLUMN`` a column.
"""

from __future__ import annotations

import argparse
import functools
import operator
import pathlib
from collections.abc import Callable

import jax
import numpy as np

from unf_lopt._types import PyTree
from unf_lopt.optimizers import read_theta, theta_data
from unf_lopt.runs import write_whole
from unf_lopt.symmetry import leaf_paths


def main() -> None:
    """Changes the numbers and writes the theta file, which says what was changed."""
    args = _arguments()
    saved = read_theta(args.theta)
    lopt = saved.make_optimizer()
    theta = saved.for_optimizer(lopt)
    for operation, changes in ((operator.add, args.add), (operator.mul, args.scale)):
        for change in changes:
            theta = _changed(theta, change, operation)
    training = {**saved.training, "changed": " ".join([*args.add, *args.scale])}
    write_whole(args.output, theta_data(theta, lopt, saved.outer_steps, training))
    print(args.output)


def _changed(theta: PyTree, change: str, operation: Callable[[float, float], float]) -> PyTree:
    """Theta with one ``PATH=NUMBER`` or ``PATH/COLUMN=NUMBER`` applied.

    Raises:
      SystemExit: theta has no such number.
    """
    name, _, number = change.partition("=")
    paths = leaf_paths(theta)
    whole, _, column = (name, "", "") if name in paths else name.rpartition("/")
    if whole not in paths:
        raise SystemExit(f"{change}: theta has no {name}; it has {', '.join(paths)}.")
    place = (Ellipsis, int(column)) if column else ()

    def of_leaf(path: str, leaf: jax.Array) -> np.ndarray:
        new = np.array(leaf)
        if path == whole:
            new[place] = operation(new[place], float(number))
        return new

    leaves, treedef = jax.tree.flatten(theta)
    return treedef.unflatten(map(of_leaf, paths, leaves))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("theta", help="a shipped optimizer's name, a theta file or a run's folder")
    add = functools.partial(parser.add_argument, nargs="*", default=(), metavar="PATH=NUMBER")
    add("--add", help="numbers to add")
    add("--scale", help="numbers to multiply by")
    parser.add_argument("--output", type=pathlib.Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
