"""Many trained networks of one architecture, with what is known of each.

A zoo is a folder: ``zoo.json`` says what it is and has the spec, ``shard_N.safetensors`` has the
parameters with the models as first axis and their columns, and ``table.csv`` the columns as text.
All are readable without this package.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from unf_lopt._types import PyTree
from unf_lopt.runs import RunError, read_file, write_whole
from unf_lopt.symmetry import PermutationSpec

_DESCRIPTION, _TABLE = "zoo.json", "table.csv"
_PARAMETER, _COLUMN = "parameter:", "column:"

Columns = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Population:
    """How the models of a zoo are made.

    Attributes:
      name: of the kind of zoo.
      settings: plain data that say what is trained; another zoo has others.
      spec: the weight space of every model.
      train: from keys, one a model, to ``(params, columns)``: a tree with the models as first axis,
        and arrays ``[models]`` or ``[models, ...]`` by name. It is compiled once.
      label: the column that is to be predicted.
    """

    name: str
    settings: Mapping[str, Any]
    spec: PermutationSpec
    train: Callable[[jax.Array], tuple[PyTree, dict[str, jax.Array]]]
    label: str


@dataclasses.dataclass(frozen=True)
class Zoo:
    """Trained networks of one weight space.

    Attributes:
      name: of the kind of zoo.
      spec: the weight space.
      params: by the spec's paths, ``[models, *shape]``.
      columns: what is known of the models, ``[models, ...]``.
      label: the column that is to be predicted.
      settings: how they were trained.
    """

    name: str
    spec: PermutationSpec
    params: dict[str, np.ndarray]
    columns: Columns
    label: str
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(
        cls, spec: PermutationSpec, networks: Sequence[PyTree], labels: Any, name: str = "own"
    ) -> Zoo:
        """One of networks that were trained elsewhere.

        Args:
          spec: their weight space.
          networks: a tree of it for each.
          labels: what is to be predicted of each, ``[networks, ...]``.
          name: for the report.

        Raises:
          SpecError: a tree does not fit the spec.
          ValueError: there are not as many labels as networks.
        """
        labels = np.asarray(labels)
        if not networks or len(networks) != len(labels):
            raise ValueError(f"Zoo.of: {len(networks)} networks and {len(labels)} labels.")
        leaves = zip(*(spec.flatten(own)[0] for own in networks), strict=True)
        params = {path: np.stack(own) for path, own in zip(spec.paths, leaves, strict=True)}
        return cls(name, spec, params, {"label": labels}, "label")

    def __len__(self) -> int:
        return len(self.columns[self.label])

    @property
    def labels(self) -> np.ndarray:
        """What is to be predicted, ``[models, ...]``."""
        return self.columns[self.label]

    def first(self, count: int) -> Zoo:
        """The first models of it."""
        params, columns = (
            {name: own[:count] for name, own in group.items()}
            for group in (self.params, self.columns)
        )
        return dataclasses.replace(self, params=params, columns=columns)


def build_zoo(
    folder: str | pathlib.Path,
    population: Population,
    num_models: int,
    *,
    seed: int = 0,
    shard_size: int = 100,
    report: Callable[[int], None] = lambda done: None,
) -> Zoo:
    """Trains the models that a folder lacks, a shard at a time; the same call goes on.

    A model is a function of ``seed`` and its number alone.

    Args:
      folder: of the zoo; made if it is not there.
      population: how models are made.
      num_models: how many there are in the end.
      seed: of them all.
      shard_size: models that are trained in one program.
      report: called with the number of models that are done.

    Returns:
      The zoo.

    Raises:
      ValueError: a number is not positive.
      RunError: the folder has another zoo, or a damaged file.
    """
    for name, number in {"num_models": num_models, "shard_size": shard_size}.items():
        if number < 1:
            raise ValueError(f"build_zoo({name}={number}): must be 1 or more.")
    path = pathlib.Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    _describe(path, population, seed, shard_size)
    train = jax.jit(population.train)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.arange(num_models))
    for start in range(0, num_models, shard_size):
        own = keys[start : start + shard_size]
        file = _shard(path, start // shard_size)
        if not file.exists() or len(_read_shard(file)[1][population.label]) < len(own):
            write_whole(file, save(_flat(population.spec, *train(own))))
        report(min(start + shard_size, num_models))
    zoo = read_zoo(path).first(num_models)
    write_whole(path / _TABLE, _as_table(zoo.columns).encode())
    return zoo


def read_zoo(folder: str | pathlib.Path) -> Zoo:
    """The zoo of a folder.

    Raises:
      RunError: it is not there, or a file is damaged.
    """
    path = pathlib.Path(folder)
    described = json.loads(read_file(path / _DESCRIPTION))
    files = []
    while _shard(path, len(files)).exists():
        files.append(_shard(path, len(files)))
    if not files:
        raise RunError(f"{path} has no models yet: no {_shard(path, 0).name}.")
    parts = [_read_shard(file) for file in files]
    params, columns = (
        {name: np.concatenate([part[i][name] for part in parts]) for name in parts[0][i]}
        for i in range(2)
    )
    return Zoo(
        described["name"],
        PermutationSpec.from_json(json.dumps(described["spec"])),
        params,
        columns,
        described["label"],
        described["settings"],
    )


def _describe(path: pathlib.Path, population: Population, seed: int, shard_size: int) -> None:
    """Writes what the zoo is, or checks that it is the one that is there."""
    described = {
        "name": population.name,
        "label": population.label,
        "settings": {**population.settings, "seed": seed, "shard_size": shard_size},
        "spec": json.loads(population.spec.to_json()),
    }
    text = json.dumps(described, indent=1).encode()
    file = path / _DESCRIPTION
    if not file.exists():
        write_whole(file, text)
    elif json.loads(read_file(file)) != json.loads(text):
        raise RunError(f"{path} has another zoo; its {_DESCRIPTION} says which. Name a new folder.")


def _flat(spec: PermutationSpec, params: PyTree, columns: Mapping[str, Any]) -> Columns:
    leaves = jax.vmap(lambda tree: spec.flatten(tree)[0])(params)
    named = {f"{_PARAMETER}{path}": x for path, x in zip(spec.paths, leaves, strict=True)}
    named |= {f"{_COLUMN}{name}": x for name, x in columns.items()}
    return {name: np.ascontiguousarray(x) for name, x in named.items()}


def _read_shard(file: pathlib.Path) -> tuple[Columns, Columns]:
    """Parameters and columns.

    Raises:
      RunError: the file is damaged.
    """
    try:
        arrays = load(read_file(file))
    except SafetensorError as error:
        raise RunError(f"{file} is damaged ({error}); remove it, and it is made again.") from None
    found = [
        {name.removeprefix(kind): x for name, x in arrays.items() if name.startswith(kind)}
        for kind in (_PARAMETER, _COLUMN)
    ]
    return found[0], found[1]


def _as_table(columns: Columns) -> str:
    """A row for every model; columns of several numbers are left to the shards."""
    single = {name: x for name, x in columns.items() if x.ndim == 1}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["model", *single])
    writer.writerows(
        [number, *(x[number].item() for x in single.values())]
        for number in range(len(next(iter(single.values()))))
    )
    return text.getvalue()


def _shard(path: pathlib.Path, number: int) -> pathlib.Path:
    return path / f"shard_{number}.safetensors"
