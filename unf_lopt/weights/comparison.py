"""Predictors beside each other, over splits by model: scores, paired differences, a picture."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import itertools
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.stats
from jaxtyping import Float, Shaped

from unf_lopt._files import digest_of_code
from unf_lopt._version import __version__
from unf_lopt.runs import RunError, checksum, read_json, write_whole
from unf_lopt.weights.fitting import FitOptions, Fitted, Split, fit, split_models
from unf_lopt.weights.measures import target_of
from unf_lopt.weights.predictors import predictor
from unf_lopt.weights.zoo import Zoo

_CONFIDENCE = 0.95
_PACKAGES = ("jax", "numpy", "optax", "scikit-learn")


@dataclasses.dataclass(frozen=True)
class Score:
    """A predictor's scores.

    Attributes:
      name: of the predictor.
      scores: on the test models of every split.
      settings: chosen on validation models, for every split.
      num_parameters: of its network.
      predicted: for the test models of the first split.
    """

    name: str
    scores: tuple[float, ...]
    settings: tuple[float, ...]
    num_parameters: int
    predicted: Float[np.ndarray, "models outputs"]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What came of all predictors on one zoo.

    Attributes:
      measure: what the score is called.
      higher_is_better: which way it goes.
      num_train: models that each was trained on.
      actual: the labels of the test models of the first split.
      scores: of every predictor.
    """

    measure: str
    higher_is_better: bool
    num_train: int
    actual: Shaped[np.ndarray, "models ..."]
    scores: tuple[Score, ...]

    def table(self) -> str:
        """Markdown: a row for every predictor, the best first."""
        sign = -1 if self.higher_is_better else 1
        ordered = sorted(self.scores, key=lambda own: sign * np.mean(own.scores))
        lines = [
            f"| predictor | {self.measure}, mean ± standard error | every split | parameters |",
            "|---|---:|---|---:|",
        ]
        for own in ordered:
            error = scipy.stats.sem(own.scores) if own.scores[1:] else 0.0
            each = ", ".join(f"{score:.3f}" for score in own.scores)
            size = f"{own.num_parameters:,}" if own.num_parameters else "–"
            lines.append(
                f"| {predictor(own.name).title} | {np.mean(own.scores):.3f} ± {error:.3f} "
                f"| {each} | {size} |"
            )
        return "\n".join(lines)

    def differences(self) -> str:
        """Markdown: the first predictor's score less every other's, split by split."""
        first, *others = self.scores
        title = predictor(first.name).title
        lines = [f"| difference of {self.measure} | mean, 95% interval |", "|---|---:|"]
        for own in others:
            paired = np.subtract(first.scores, own.scores)
            low, high = _interval(paired)
            lines.append(
                f"| {title} − {predictor(own.name).title} "
                f"| {paired.mean():.3f} ({low:.3f} to {high:.3f}) |"
            )
        return "\n".join(lines)

    def data(self) -> dict[str, Any]:
        """All of it, as plain data."""
        return {
            "measure": self.measure,
            "higher_is_better": self.higher_is_better,
            "num_train": self.num_train,
            "predictors": [
                {
                    "name": own.name,
                    "scores": list(own.scores),
                    "settings": list(own.settings),
                    "num_parameters": own.num_parameters,
                }
                for own in self.scores
            ],
        }


def compare(
    zoo: Zoo,
    names: Sequence[str],
    *,
    num_splits: int = 5,
    num_train: int | None = None,
    options: FitOptions = FitOptions(),  # noqa: B008 (immutable)
    folder: str | pathlib.Path | None = None,
    report: Callable[[str, int, float], None] = lambda name, split, score: None,
) -> Comparison:
    """Fits every predictor on every split.

    Args:
      zoo: the models.
      names: of predictors; the first is compared with every other.
      num_splits: random splits by model, or by the zoo's groups, the same for all.
      num_train: models to train on; None for all that are left by validation and test.
      options: of networks.
      folder: where every finished fit is kept, and read from by a later call whose zoo, numbers
        and versions are the same; None keeps none.
      report: called with a predictor's name, the split's number and its score.

    Raises:
      ValueError: no predictor or split is asked for, there is none of a name, or the zoo is too
        small.
    """
    if not names or num_splits < 1:
        raise ValueError("compare: at least one predictor and one split are needed.")
    for name in names:
        predictor(name)
    target = target_of(zoo.labels)
    splits = [
        split_models(len(zoo), seed, groups=zoo.groups, num_train=num_train)
        for seed in range(num_splits)
    ]
    found = {name: [] for name in names}
    kept = None if folder is None else _Kept(pathlib.Path(folder), zoo, options)
    for (number, split), name in itertools.product(enumerate(splits), names):
        make = functools.partial(fit, name, zoo, split, options, number)
        fitted = make() if kept is None else kept.fit(name, split, number, make)
        report(name, number, fitted.score)
        found[name].append(fitted)
    scores = tuple(
        Score(
            name,
            tuple(own.score for own in each),
            tuple(own.setting for own in each),
            each[0].num_parameters,
            each[0].outputs,
        )
        for name, each in found.items()
    )
    return Comparison(
        target.measure,
        target.higher_is_better,
        len(splits[0].train),
        zoo.labels[splits[0].test],
        scores,
    )


class _Kept:
    """Finished fits in files, whose names have a digest of all that they depend on."""

    def __init__(self, folder: pathlib.Path, zoo: Zoo, options: FitOptions):
        models = hashlib.sha256(zoo.spec.to_json().encode())
        for array in (*zoo.params.values(), zoo.labels):
            models.update(array.tobytes())
        self._folder = folder
        self._said = {
            "zoo": models.hexdigest(),
            "options": dataclasses.asdict(options),
            "versions": {"unf_lopt": __version__, **{name: _version(name) for name in _PACKAGES}},
            "code": digest_of_code(("layers", "symmetry", "weights")),
        }

    def fit(self, name: str, split: Split, seed: int, make: Callable[[], Fitted]) -> Fitted:
        """One that is there, or what is made and kept."""
        rows = [checksum(part.astype(np.int64).tobytes()) for part in split]
        said = json.dumps({"predictor": name, "rows": rows, "seed": seed, **self._said})
        path = self._folder / f"{name}_{seed}-{checksum(said.encode())[:16]}.json"
        try:
            found = read_json(path)
            return Fitted(**{**found, "outputs": np.asarray(found["outputs"])})
        except (RunError, KeyError, TypeError):
            pass  # not there, or not whole: it is made
        fitted = make()
        self._folder.mkdir(parents=True, exist_ok=True)
        plain = {**fitted._asdict(), "outputs": fitted.outputs.tolist()}
        write_whole(path, json.dumps(plain).encode())
        return fitted


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None  # scikit-learn, which networks do without


def write_comparison(folder: str | pathlib.Path, zoo: Zoo, comparison: Comparison) -> pathlib.Path:
    """Writes ``comparison.json``, ``comparison.md`` and, of rates and numbers, a picture.

    Returns:
      The path of the page.
    """
    path = pathlib.Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    about = {"zoo": zoo.name, "settings": zoo.settings, "num_models": len(zoo)}
    text = json.dumps({**about, **comparison.data()}, indent=1)
    write_whole(path / "comparison.json", text.encode())
    parts = [
        f"# {zoo.name}: {len(zoo):,} models, {comparison.num_train:,} to train on",
        comparison.table(),
    ]
    if len(comparison.scores) > 1 and len(comparison.scores[0].scores) > 1:
        parts.append(comparison.differences())
    if np.issubdtype(comparison.actual.dtype, np.floating) and comparison.actual.ndim == 1:
        _draw(path / "predicted.png", comparison)
        parts.append("![Predicted against actual, on models that were not seen](predicted.png)")
    page = path / "comparison.md"
    write_whole(page, ("\n\n".join(parts) + "\n").encode())
    return page


def _interval(values: Float[np.ndarray, " splits"]) -> tuple[float, float]:
    """Student's interval of the mean."""
    half = scipy.stats.sem(values) * scipy.stats.t.ppf((1 + _CONFIDENCE) / 2, len(values) - 1)
    return float(values.mean() - half), float(values.mean() + half)


def _draw(path: pathlib.Path, comparison: Comparison) -> None:
    from matplotlib.figure import Figure

    count = len(comparison.scores)
    figure = Figure(figsize=(2.6 * count, 2.9), layout="constrained")
    axes = figure.subplots(1, count, sharey=True, squeeze=False)[0]
    for axis, own in zip(axes, comparison.scores, strict=True):
        order = scipy.stats.rankdata(own.predicted[:, 0]) / len(own.predicted)
        axis.scatter(comparison.actual, order, s=6, alpha=0.6, linewidths=0)
        axis.set_title(f"{predictor(own.name).title}\n{own.scores[0]:.3f}", fontsize=8)
        axis.set_xlabel("actual", fontsize=8)
    axes[0].set_ylabel("rank of the prediction", fontsize=8)
    figure.savefig(path, dpi=120)
