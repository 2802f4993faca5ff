"""The zoos that there are, by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from unf_lopt._options import check_option
from unf_lopt.weights.adapters import Adapters
from unf_lopt.weights.addition import Addition
from unf_lopt.weights.classifiers import Classifiers
from unf_lopt.weights.implicit import Implicit
from unf_lopt.weights.zoo import Population

_TEST_SHARE = 0.3


@dataclasses.dataclass(frozen=True)
class Kind:
    """A zoo by name.

    Attributes:
      about: in one line.
      settings: the class whose fields are its settings.
      defaults: those that differ from the class's own.
      population: from the settings.
    """

    about: str
    settings: type
    defaults: Mapping[str, Any]
    population: Callable[[Any], Population]


def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Scikit-learn's digits: ``[1797, 8, 8]`` from 0 to 1, and labels."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return images.reshape(-1, 8, 8).astype(np.float32) / 16, labels.astype(np.int32)


def digits_apart() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Digits that classifiers of a zoo are trained on, and those that they are tested on.

    Returns:
      Images ``[n, 8, 8]`` from 0 to 1 and labels ``[n]`` from 0 to 9, of either.
    """
    images, labels = _digits()
    order = np.random.default_rng(0).permutation(len(images))
    tests = round(_TEST_SHARE * len(images))
    test, train = order[:tests], order[tests:]
    return (images[train], labels[train]), (images[test], labels[test])


def _classifiers(settings: Classifiers) -> Population:
    return settings.population(*digits_apart())


def _images(settings: Implicit | Adapters) -> Population:
    return settings.digits(*_digits())


KINDS: dict[str, Kind] = {
    "addition": Kind("GRUs that add numbers", Addition, {}, Addition.population),
    "digits_mlp": Kind("MLPs that read digits", Classifiers, {}, _classifiers),
    "digits_cnn": Kind("CNNs that read digits", Classifiers, {"network": "cnn"}, _classifiers),
    "images": Kind("digits as SIRENs, each from its own start", Implicit, {}, _images),
    "images_shared": Kind(
        "digits as SIRENs, all from one start", Implicit, {"initialization": "shared"}, _images
    ),
    "adapters": Kind("digits as factors of one SIREN", Adapters, {}, _images),
    "sines": Kind("sine waves as SIRENs", Implicit, {}, Implicit.sines),
}


def population_of(name: str, **settings: Any) -> Population:
    """How the models of a zoo are made.

    Args:
      name: in `KINDS`.
      **settings: fields of the zoo's settings, such as ``num_steps``.

    Raises:
      ValueError: there is no such zoo or setting, or a setting is out of its range.
    """
    check_option("zoo", name, tuple(KINDS))
    kind = KINDS[name]
    known = {field.name for field in dataclasses.fields(kind.settings)}
    unknown = sorted(settings.keys() - known)
    if unknown:
        raise ValueError(f"the zoo {name!r} has no setting {unknown}; it has {sorted(known)}.")
    return kind.population(kind.settings(**{**kind.defaults, **settings}))
