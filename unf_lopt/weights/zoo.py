"""Many trained networks of one architecture, with what is known of each.

A zoo is a folder: ``zoo.json`` says what it is and has the spec, ``shard_N.safetensors`` has the
parameters with the models as first axis and their columns, ``table.csv`` the columns as text, and
``shared.safetensors`` what all models have in common. All are readable without this package.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from unf_lopt._options import check_counts
from unf_lopt._types import PyTree
from unf_lopt.runs import RunError, read_file, read_json, write_whole
from unf_lopt.symmetry import PermutationSpec
from unf_lopt.weights.measures import target_of

_DESCRIPTION, _TABLE, _SHARED = "zoo.json", "table.csv", "shared.safetensors"
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
        and arrays ``[models]`` or ``[models, ...]`` by name. It is compiled once. What all share
        is its second argument, if there is something.
      label: the column that is to be predicted.
      group: the column that says which models belong together, so that none of them is trained on
        while another is for the test; None if no two do.
      shared: makes what all models share, arrays by name, once for a zoo; None if that is nothing.
    """

    name: str
    settings: Mapping[str, Any]
    spec: PermutationSpec
    train: Callable[..., tuple[PyTree, dict[str, jax.Array]]]
    label: str
    group: str | None = None
    shared: Callable[[], dict[str, jax.Array]] | None = None


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
      group: as of :class:`Population`.
      shared: what all models have in common, by name.
    """

    name: str
    spec: PermutationSpec
    params: dict[str, np.ndarray]
    columns: Columns
    label: str
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    group: str | None = None
    shared: Columns = dataclasses.field(default_factory=dict)

    @classmethod
    def of(
        cls,
        spec: PermutationSpec,
        networks: Sequence[PyTree],
        labels: Any,
        name: str = "own",
        groups: Any = None,
    ) -> Zoo:
        """One of networks that were trained elsewhere.

        Args:
          spec: their weight space.
          networks: a tree of it for each.
          labels: what is to be predicted of each, ``[networks, ...]``.
          name: for the report.
          groups: what each belongs to, such as the run whose checkpoint it is, ``[networks]``:
            networks of one group are never in two parts of a split. None if no two belong together.

        Raises:
          SpecError: a tree does not fit the spec.
          ValueError: there are not as many labels, or groups, as networks, or a label is no
            finite number.
        """
        columns = {"label": np.asarray(labels)}
        target_of(columns["label"])  # says what is wrong with them
        if groups is not None:
            columns["group"] = np.asarray(groups)
        for column, own in columns.items():
            if not networks or len(networks) != len(own):
                raise ValueError(f"Zoo.of: {len(networks)} networks and {len(own)} {column}s.")
        leaves = zip(*(spec.flatten(own)[0] for own in networks), strict=True)
        params = {path: np.stack(own) for path, own in zip(spec.paths, leaves, strict=True)}
        group = None if groups is None else "group"
        return cls(name, spec, params, columns, "label", group=group)

    def __len__(self) -> int:
        return len(self.columns[self.label])

    @property
    def labels(self) -> np.ndarray:
        """What is to be predicted, ``[models, ...]``."""
        return self.columns[self.label]

    @property
    def groups(self) -> np.ndarray | None:
        """What each model belongs to, ``[models]``; None if no two belong together."""
        return None if self.group is None else self.columns[self.group]

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
      ValueError: a number is out of its range.
      RunError: the folder has another zoo, or a damaged file.
    """
    check_counts("build_zoo", num_models=num_models, shard_size=shard_size)
    if not 0 <= seed < 2**32:
        raise ValueError(f"build_zoo(seed={seed}): must be from 0 to {2**32 - 1}.")
    path = pathlib.Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    described = _describe(path, population, seed, shard_size)
    shared = _share(path, population)
    train = jax.jit(population.train)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.arange(num_models))
    shards = []
    for start in range(0, num_models, shard_size):
        own = keys[start : start + shard_size]
        file = _shard(path, start // shard_size)
        shard = _read_shard(file, population.spec) if file.exists() else None
        if shard is not None and population.label not in shard.columns:
            raise RunError(f"{file} is damaged: it has no {population.label}; remove it.")
        if shard is None or len(shard.columns[population.label]) < len(own):
            shard = _trained(population.spec, *train(own, *([shared] if shared else [])))
            write_whole(file, save(shard.arrays()))
        shards.append(shard)
        report(min(start + shard_size, num_models))
    zoo = _joined(described, shared, shards).first(num_models)
    write_whole(path / _TABLE, _as_table(zoo.columns).encode())
    return zoo


def read_zoo(folder: str | pathlib.Path) -> Zoo:
    """The zoo of a folder.

    Raises:
      RunError: it is not there, or a file is damaged.
    """
    path = pathlib.Path(folder)
    described = read_json(path / _DESCRIPTION)
    files = []
    while _shard(path, len(files)).exists():
        files.append(_shard(path, len(files)))
    if not files:
        raise RunError(f"{path} has no models yet: no {_shard(path, 0).name}.")
    shared = _load(path / _SHARED) if (path / _SHARED).exists() else {}
    spec = PermutationSpec.from_json(json.dumps(described.get("spec")))
    return _joined(described, shared, [_read_shard(file, spec) for file in files])


class _Shard(NamedTuple):
    """Some of the models: parameters by path, and columns, each ``[models, ...]``."""

    params: Columns
    columns: Columns

    def arrays(self) -> Columns:
        """As a file names them."""
        params = {f"{_PARAMETER}{path}": x for path, x in self.params.items()}
        return params | {f"{_COLUMN}{name}": x for name, x in self.columns.items()}


def _joined(described: Mapping[str, Any], shared: Columns, shards: Sequence[_Shard]) -> Zoo:
    """One zoo; the order of its arrays does not depend on which shards come from a file."""
    spec = PermutationSpec.from_json(json.dumps(described["spec"]))
    params = {path: np.concatenate([own.params[path] for own in shards]) for path in spec.paths}
    names = sorted(shards[0].columns)
    columns = {name: np.concatenate([own.columns[name] for own in shards]) for name in names}
    label, group, settings = described["label"], described.get("group"), described["settings"]
    return Zoo(described["name"], spec, params, columns, label, settings, group, shared)


def _describe(
    path: pathlib.Path, population: Population, seed: int, shard_size: int
) -> dict[str, Any]:
    """Writes what the zoo is, or checks that it is the one that is there; gives it as data."""
    described = {
        "name": population.name,
        "label": population.label,
        "settings": {**population.settings, "seed": seed, "shard_size": shard_size},
        "spec": json.loads(population.spec.to_json()),
    }
    if population.group is not None:
        described["group"] = population.group
    text = json.dumps(described, indent=1).encode()
    file = path / _DESCRIPTION
    if not file.exists():
        write_whole(file, text)
    elif read_json(file) != json.loads(text):
        raise RunError(f"{path} has another zoo; its {_DESCRIPTION} says which. Name a new folder.")
    return described


def _share(path: pathlib.Path, population: Population) -> Columns:
    """What all models share; made, unless it is there from a call before."""
    if population.shared is None:
        return {}
    file = path / _SHARED
    if file.exists():
        return _load(file)
    made = {name: np.asarray(x) for name, x in sorted(population.shared().items())}
    write_whole(file, save(made))
    return made


def _trained(spec: PermutationSpec, params: PyTree, columns: Mapping[str, Any]) -> _Shard:
    leaves = jax.vmap(lambda tree: spec.flatten(tree)[0])(params)
    named = dict(zip(spec.paths, leaves, strict=True)), columns
    return _Shard(*({name: np.ascontiguousarray(x) for name, x in own.items()} for own in named))


def _read_shard(file: pathlib.Path, spec: PermutationSpec) -> _Shard:
    """The models of a file.

    Raises:
      RunError: it is damaged, or has models of another weight space.
    """
    arrays = _load(file)
    found = [
        {name.removeprefix(kind): x for name, x in arrays.items() if name.startswith(kind)}
        for kind in (_PARAMETER, _COLUMN)
    ]
    params, columns = found
    shapes = {path: x.shape[1:] for path, x in params.items()}
    lengths = {x.shape[:1] for x in arrays.values()}
    if (
        shapes != dict(zip(spec.paths, spec.shapes, strict=True))
        or len(lengths) != 1
        or () in lengths
        or not columns
        or any(x.dtype.kind != "f" or not np.isfinite(x).all() for x in params.values())
    ):
        raise RunError(
            f"{file} is damaged: its arrays are not those of models of this zoo; remove it, and it "
            "is made again."
        )
    return _Shard(params, columns)


def _load(file: pathlib.Path) -> Columns:
    """Arrays of a file by name, in the order of names: safetensors gives them in a random one.

    Raises:
      RunError: the file is damaged.
    """
    try:
        return dict(sorted(load(read_file(file)).items()))
    except SafetensorError as error:
        raise RunError(f"{file} is damaged ({error}); remove it, and it is made again.") from None


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
