"""What a command needs around it: folders it can write to, devices that JAX finds."""

from __future__ import annotations

import importlib
import os
import pathlib


def check_jax() -> None:
    """Imports JAX, which reads its settings from the environment.

    Raises:
      ValueError: one of them has a value that it does not know.
    """
    try:
        importlib.import_module("jax")
    except ValueError as error:
        given = ", ".join(sorted(name for name in os.environ if name.startswith("JAX_")))
        raise ValueError(f"{error}; of JAX's settings these are set: {given}.") from error


def check_devices() -> None:
    """Asks JAX for its devices.

    Raises:
      ValueError: there are none of the kind that `JAX_PLATFORMS` asks for.
    """
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        wanted = jax.config.jax_platforms  # pyright: ignore[reportAttributeAccessIssue]
        wanted = wanted or os.environ.get("JAX_PLATFORMS", "")
        reason = str(error).partition("\n")[0] or "this build of JAX has none"
        raise ValueError(
            f"JAX_PLATFORMS={wanted!r}: JAX {jax.__version__} finds no such device: {reason}. "
            "Unset it, or install JAX for it, such as pip install 'jax[cuda12]'."
        ) from error


def check_folder(name: str, path: str | os.PathLike[str]) -> None:
    """Checks that a folder is there or can be made, and can be written to; makes nothing.

    Args:
      name: of the flag.
      path: the folder.

    Raises:
      ValueError: it cannot.
    """
    if not os.fspath(path):
        raise ValueError(f"{name}=: names no folder.")
    folder = pathlib.Path(path)
    nearest = folder.absolute()
    while not os.path.lexists(nearest):
        nearest = nearest.parent
    if not nearest.is_dir():
        what = "it is a link to none" if folder.is_symlink() else "it is a file"
        if nearest != folder.absolute():
            what = f"{nearest} is no folder"
        raise ValueError(f"{name}={path}: cannot be a folder, {what}; choose another.")
    if not os.access(nearest, os.W_OK | os.X_OK) or not os.statvfs(nearest).f_blocks:
        raise ValueError(f"{name}={path}: cannot be written to ({nearest}); choose another.")


def check_file(name: str, path: str | os.PathLike[str], suffix: str) -> None:
    """Checks that a file can be written, in a folder that is there; makes nothing.

    Args:
      name: of the flag.
      path: the file.
      suffix: what its name ends in.

    Raises:
      ValueError: it cannot, or its name ends in something else.
    """
    file = pathlib.Path(path)
    if file.suffix.lower() != suffix or file.name.lower() == suffix:
        raise ValueError(f"{name}={path}: must name a file that ends in {suffix}.")
    if file.is_dir():
        raise ValueError(f"{name}={path}: is a folder; name a file in it.")
    if not file.parent.is_dir():
        raise ValueError(f"{name}={path}: there is no folder {file.parent}; make it first.")
    check_folder(name, file.parent)


def need(*modules: str) -> None:
    """Imports modules that are needed at the end, so that what is missing is known at once.

    Raises:
      ModuleNotFoundError: one is not installed.
    """
    for module in modules:
        importlib.import_module(module)
