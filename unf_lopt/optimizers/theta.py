"""Theta in a file that says, as data, all that a reader has to know; reading it executes nothing.

``theta_N.safetensors`` is what is handed on. ``params_N`` is the same theta for the ecosystem's own
tools; what they have no place for stands in its ``gen_id``, a text by which the ecosystem's own
loop tells runs apart. With the Flax of today that loop writes ``params_N`` as a folder (Orbax);
all three are read here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from unf_lopt import runs
from unf_lopt._types import PyTree
from unf_lopt._version import __version__
from unf_lopt.optimizers.family import from_description
from unf_lopt.optimizers.frozen import trainable_spec
from unf_lopt.optimizers.learned_optimizer import LearnedOptimizer
from unf_lopt.optimizers.mixed_theta import grown
from unf_lopt.symmetry import PermutationSpec

_FORMAT = "unf_lopt.theta/1"
_METADATA = "unf_lopt"  # the name of our text in a safetensors file
SHIPPED = pathlib.Path(__file__).parents[1] / "trained"  # NAME.safetensors and NAME.md


@dataclasses.dataclass(frozen=True)
class SavedTheta:
    """A theta and what its file says about it.

    Attributes:
      path: the file.
      tensors: the numbers by path, such as ``scalars/tenth_log_alpha``.
      outer_steps: how many outer steps made them.
      optimizer: the description of the learned optimizer that they belong to, see
        :func:`unf_lopt.optimizers.from_description`; None where the file does not say.
      spec: the weight space that they are for, frozen parameters included; None where they are
        for any, or it does not say.
      training: what else is known of the training, such as the tasks' names.
      version: of the package that wrote the file; None where it was another package.
    """

    path: pathlib.Path
    tensors: Mapping[str, np.ndarray]
    outer_steps: int
    optimizer: Mapping[str, Any] | None = None
    spec: PermutationSpec | None = None
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    version: str | None = None

    @property
    def shipped_name(self) -> str | None:
        """The name by which the package ships it; None for any other theta."""
        return self.path.stem if self.path.parent == SHIPPED else None

    def make_optimizer(self) -> LearnedOptimizer:
        """The learned optimizer, bound where the file says the weight space.

        Raises:
          ValueError: the file does not say which it is, or it is not of this version.
        """
        if self.optimizer is None:
            raise ValueError(
                f"{self.path} does not say which optimizer it belongs to: pass it, such as "
                "optimizer=unf()."
            )
        try:
            lopt = from_description(self.optimizer)
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from error
        return lopt if self.spec is None else lopt.bind(self.spec)

    def for_optimizer(self, lopt: Any) -> PyTree:
        """Theta as a tree like that of an optimizer.

        One of a step that does not see the extents of matrices, or learns no weight decay, is also
        for one that does, see :func:`mixed_theta.grown`.

        Args:
          lopt: the learned optimizer, of this package or another.

        Raises:
          ValueError: theta was written for another optimizer or another weight space.
        """
        self._check_spec(lopt)
        expected = jax.eval_shape(lopt.init, jax.random.PRNGKey(0))
        tensors = grown(self.tensors, dict(_named(expected)).keys())
        if different := shape_differences(tensors, expected):
            raise ValueError(
                f"{self.path} was not written by this {optimizer_name(lopt)} on this weight "
                f"space: {different}.{self._whose()}"
            )
        leaves = [jnp.asarray(tensors[name]) for name, _ in _named(expected)]
        return jax.tree.unflatten(jax.tree.structure(expected), leaves)

    def _whose(self) -> str:
        if self.optimizer is None:
            return ""
        return (
            f" It is of {self.optimizer.get('optimizer')}, with the options that it says; "
            "LOPT=@trained() with trained.theta takes these (finetune.gin does)."
        )

    def _check_spec(self, lopt: Any) -> None:
        bound = getattr(lopt, "theta_spec", None)
        if self.spec is None or bound is None:
            return
        frozen = (self.optimizer or {}).get("frozen", ())
        trained = trainable_spec(self.spec, frozen)
        difference = trained.canonical().difference(bound.canonical())
        if difference:
            raise ValueError(
                f"{self.path} was written for another weight space than that of this "
                f"{optimizer_name(lopt)}. Spaces numbered in order, saved against bound:\n"
                f"{difference}"
            )


def theta_data(
    theta: PyTree, lopt: LearnedOptimizer, outer_steps: int, training: Mapping[str, Any]
) -> bytes:
    """What ``theta_N.safetensors`` holds.

    Args:
      theta: the meta-parameters.
      lopt: the learned optimizer that they belong to.
      outer_steps: how many outer steps made them.
      training: what else is worth knowing, plain data.

    Raises:
      ValueError: the optimizer's options cannot be written down, see
        :meth:`LearnedOptimizer.description`.
    """
    tensors = {name: np.asarray(leaf) for name, leaf in _named(theta)}
    said = {"format": _FORMAT, "outer_steps": outer_steps, **_about(lopt, training)}
    said["sha256"] = _digest(tensors, said)
    # One entry: the library writes several in an order that differs from one process to the next.
    return safetensors.numpy.save(tensors, {_METADATA: json.dumps(said, sort_keys=True)})


def theta_identity(lopt: Any, training: Mapping[str, Any]) -> str:
    """What stands in the ``gen_id`` of a ``params_N``; empty for optimizers of other packages."""
    if not isinstance(lopt, LearnedOptimizer):
        return ""
    return json.dumps(_about(lopt, training), sort_keys=True)


def read_theta(source: str | os.PathLike[str]) -> SavedTheta:
    """Reads a theta file, or the newest in a run's folder; nothing in it is executed.

    Args:
      source: the file or the folder; where there is neither, the name of an optimizer that the
        package ships.

    Raises:
      FileNotFoundError: there is no such file, and nothing of this name is shipped.
      RunError: the file is damaged or no theta.
    """
    if not os.fspath(source):
        names = ", ".join(shipped_names())
        raise FileNotFoundError(f"'' names no theta; there are {names}, files and runs' folders.")
    path = runs.theta_file(_shipped(source) or source)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise runs.RunError(f"{path} is neither a file nor a folder.")  # a pipe, say, never ends
    saved = _read_safetensors(path) if path.suffix == ".safetensors" else _read_params(path)
    for name, own in saved.tensors.items():
        if own.dtype not in (np.float32, np.float64):
            raise runs.RunError(f"{path} is no theta: its {name} is {own.dtype}, not a float.")
    return saved


def shipped_names() -> tuple[str, ...]:
    """The names of the optimizers that the package ships."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.safetensors")))


def _shipped(source: str | os.PathLike[str]) -> pathlib.Path | None:
    """The file of a shipped optimizer's name; None for what is a path."""
    if not isinstance(source, str) or pathlib.Path(source).exists():
        return None
    if pathlib.Path(source).name != source or pathlib.Path(source).suffix:
        return None  # with a folder or an ending it is the path of a file that is not there
    if source in shipped_names():
        return SHIPPED / f"{source}.safetensors"
    names = ", ".join(shipped_names()) or "none yet"
    raise FileNotFoundError(
        f"there is no {source}; give a theta file (safetensors or params_N), a run's folder, or "
        f"the name of an optimizer that the package ships ({names})."
    )


def load_theta(source: str | os.PathLike[str], lopt: Any) -> tuple[PyTree, int]:
    """Theta of a file or of the newest one in a run's folder, for an optimizer that is at hand.

    Args:
      source: the file or the folder.
      lopt: the learned optimizer that it belongs to.

    Returns:
      Theta and the number of outer steps that made it.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is damaged, or was written for another optimizer or another weight space.
    """
    saved = read_theta(source)
    return saved.for_optimizer(lopt), saved.outer_steps


def shape_differences(theta: PyTree, expected: PyTree) -> str:
    """Where the shapes of a theta are not the expected ones; empty where all are."""
    found, wanted = ({name: np.shape(x) for name, x in _named(tree)} for tree in (theta, expected))
    missing = sorted(wanted.keys() - found.keys())
    extra = sorted(found.keys() - wanted.keys())
    parts = [
        f"theta's {name} is {found[name]}, expected {wanted[name]}"
        for name in sorted(wanted.keys() & found.keys())
        if found[name] != wanted[name]
    ]
    parts += [f"theta has no {', '.join(missing)}"] if missing else []
    parts += [f"theta has {', '.join(extra)}, which is not expected"] if extra else []
    return "; ".join(parts)


def optimizer_name(lopt: Any) -> str:
    """What messages and reports call a learned optimizer, ours or the ecosystem's."""
    try:
        return getattr(lopt, "name", None) or type(lopt).__name__
    except NotImplementedError:  # the ecosystem's, where a class does not say
        return type(lopt).__name__


def _about(lopt: LearnedOptimizer, training: Mapping[str, Any]) -> dict[str, Any]:
    spec = None if lopt.theta_spec is None else lopt.whole_spec
    return {
        "version": __version__,
        "optimizer": lopt.description(),
        "spec": None if spec is None else json.loads(spec.to_json()),
        "training": dict(training),
    }


def _read_safetensors(path: pathlib.Path) -> SavedTheta:
    try:
        with safetensors.safe_open(path, "numpy") as file:
            text = (file.metadata() or {}).get(_METADATA, "{}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, ValueError, AttributeError, TypeError) as error:
        raise runs.RunError(f"{path} is damaged or no safetensors file: {error}") from error
    said = _parsed(path, text)
    if said.get("format") != _FORMAT:
        raise runs.RunError(
            f"{path} is no theta of this version: its format is {said.get('format')!r}, "
            f"expected {_FORMAT!r}."
        )
    digits = said.pop("sha256", "")
    if _digest(tensors, said) != digits:
        raise runs.RunError(f"{path} is damaged: its checksum is another.")
    return SavedTheta(path, tensors, _outer_steps(path, said), **_about_in(path, said))


def _read_params(path: pathlib.Path) -> SavedTheta:
    # Flax is imported only for the ecosystem's own format.
    from flax import errors
    from flax.training import checkpoints

    try:
        saved = checkpoints.restore_checkpoint(str(path.resolve()), target=None)
        tensors = {name: np.asarray(leaf) for name, leaf in _named(saved["params"])}
        step, identity = int(np.asarray(saved["step"])), saved.get("gen_id")
    except (ValueError, KeyError, TypeError, AttributeError, errors.FlaxError) as error:
        raise runs.RunError(f"{path} is not a params_N of the ecosystem: {error}") from error
    if not isinstance(identity, str) or not identity.startswith("{"):
        return SavedTheta(path, tensors, step)
    return SavedTheta(path, tensors, step, **_about_in(path, _parsed(path, identity)))


def _parsed(path: pathlib.Path, text: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
        if isinstance(said, dict):
            return said
    except (ValueError, RecursionError):
        pass
    raise runs.RunError(f"{path} is damaged: what it says of itself cannot be read.")


def _outer_steps(path: pathlib.Path, said: Mapping[str, Any]) -> int:
    steps = said.get("outer_steps")
    if isinstance(steps, bool) or not isinstance(steps, int) or not 0 <= steps < 2**63:
        raise runs.RunError(f"{path} does not say after how many outer steps it was written.")
    return steps


def _check_about(about: Mapping[str, Any]) -> None:
    """Refuses what is said in another form than ours.

    Raises:
      TypeError: something is.
    """
    kinds = {"optimizer": dict, "training": dict, "version": str}
    for name, kind in kinds.items():
        if not isinstance(about[name], kind):
            raise TypeError(f"{name} is no {kind.__name__}")
    families = about["training"].get("task_families", [])
    if not isinstance(families, list) or not all(isinstance(own, str) for own in families):
        raise TypeError("task_families are no names")


def _about_in(path: pathlib.Path, about: Mapping[str, Any]) -> dict[str, Any]:
    try:
        _check_about(about)
        spec = about["spec"]
        return {
            "optimizer": about["optimizer"],
            "spec": None if spec is None else PermutationSpec.from_json(json.dumps(spec)),
            "training": about["training"],
            "version": about["version"],
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise runs.RunError(f"{path} does not say whose theta it is: {error}") from error


def _digest(tensors: Mapping[str, np.ndarray], said: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(dict(said), sort_keys=True).encode())
    for name, array in sorted(tensors.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _named(tree: PyTree) -> Iterator[tuple[str, Any]]:
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        yield jax.tree_util.keystr(path, simple=True, separator="/"), leaf
