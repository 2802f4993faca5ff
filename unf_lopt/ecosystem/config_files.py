"""Which file the name of a config means, in whatever folder a command is started.

gin looks into the working directory before anything else, also for what a config of this package
includes, and takes the folders of a name for Python packages: a folder `base` that happens to be
there is one without a file, on which gin fails. So the configs of this package include each other
as `unf_lopt:NAME`, which is a file of the package whoever reads it; and what a command reads, and
what that includes, is looked up here.
"""

import contextlib
import difflib
import functools
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import IO

import gin.config
import gin.resource_reader

import unf_lopt
from unf_lopt.ecosystem import _version

PREFIX = "unf_lopt:"


@functools.cache
def config_folders() -> tuple[pathlib.Path, ...]:
    """This package's folders of configs: of the experiments, and of the ecosystem's version."""
    folder = pathlib.Path(unf_lopt.__file__).parent / "gin"
    return folder, folder / _version.version()


@functools.cache
def add_config_path() -> pathlib.Path:
    """Adds this package's configs to gin's search path; a second call does nothing.

    Configs are found by name from anywhere, and `unf_lopt:NAME` is always the one of this package.
    `ecosystem.gin` is the file for the ecosystem's version installed.

    Returns:
      The folder of the configs.
    """
    for folder in config_folders():
        gin.add_config_file_search_path(str(folder))
    gin.config.register_file_reader(_open_packaged, lambda name: _packaged(name) is not None)
    return config_folders()[0]


@contextlib.contextmanager
def found_by_name() -> Iterator[None]:
    """While it lasts, gin finds configs as `find` does, and reads no config within itself."""
    reading: list[pathlib.Path] = []

    def parse_config_file(
        config_file: str, skip_unknown: bool = False, print_includes_and_imports: bool = False
    ) -> gin.config.ParsedConfigFileIncludesAndImports:
        path = find(config_file, reading[-1] if reading else None).resolve()
        if path in reading:
            circle = " includes ".join(map(str, [*reading[reading.index(path) :], path]))
            raise ValueError(f"configs include each other: {circle}; take one of the includes out.")
        reading.append(path)
        try:
            text = path.read_text(encoding="utf-8-sig")  # editors may begin a file with a mark
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: this is no text in UTF-8; save it as such.") from error
        includes, imports = gin.parse_config(text, skip_unknown=skip_unknown)
        reading.pop()
        return gin.config.ParsedConfigFileIncludesAndImports(config_file, imports, includes)

    theirs = gin.config.parse_config_file
    gin.config.parse_config_file = parse_config_file
    try:
        yield
    finally:
        gin.config.parse_config_file = theirs


def find(name: str, including: pathlib.Path | None = None) -> pathlib.Path:
    """The file that a name means.

    Args:
      name: as in `--config_file` or in an include: a path, or the name of a config of this package.
      including: the file that includes it; None for one named on the command line.

    Returns:
      For a name on the command line the file of the working directory, if there is one. For an
      include the file beside the including one, if that is not of this package. Then this
      package's, then those of gin's other search paths, then the working directory's.

    Raises:
      OSError: there is no such file; names the folders, and the nearest of this package's configs.
    """
    if name.startswith(PREFIX):
        path = _packaged(name)
        if path is None:
            raise FileNotFoundError(_not_found(name, config_folders()))
        return path
    folders = _search_folders(including)
    for folder in folders:
        path = folder / name
        if path.is_file():
            return path
    resource = _resource(name)
    if resource is not None:
        return resource
    if os.path.isdir(name):
        raise IsADirectoryError(f"config {name!r} is a folder; name a file of it.")
    raise FileNotFoundError(_not_found(name, folders))


def _search_folders(including: pathlib.Path | None) -> list[pathlib.Path]:
    here = pathlib.Path()
    # What plugins added. gin has no other way to ask, and puts the working directory first.
    added = [pathlib.Path(prefix) for prefix in gin.config._LOCATION_PREFIXES if prefix]
    everywhere = [*config_folders(), *added]
    if including is None:
        folders = [here, *everywhere]
    elif any(including.is_relative_to(folder.resolve()) for folder in config_folders()):
        folders = [*everywhere, here]
    else:
        folders = [including.parent, *everywhere, here]
    return list(dict.fromkeys(folders))


def _packaged(name: str) -> pathlib.Path | None:
    if not name.startswith(PREFIX):
        return None
    paths = (folder / name.removeprefix(PREFIX) for folder in config_folders())
    return next((path for path in paths if path.is_file()), None)


def _open_packaged(name: str) -> IO[str]:
    return open(find(name), encoding="utf-8")


def _resource(name: str) -> pathlib.Path | None:
    """A file of a Python package, as gin finds it: `PACKAGE/FOLDER/NAME.gin`."""
    reader = gin.resource_reader
    try:
        if not os.path.isabs(name) and reader.system_path_file_exists(name):
            return pathlib.Path(reader._parse_config_path(name))
    except (TypeError, AttributeError):
        pass  # a folder that is no package: gin asks for its file
    return None


def _not_found(name: str, folders: Sequence[pathlib.Path]) -> str:
    places = ", ".join(str(folder.absolute()) for folder in folders)
    where = "" if os.path.isabs(name) else f"; looked in {places}"
    known = sorted(path.name for path in config_folders()[0].glob("*.gin"))
    near = difflib.get_close_matches(name.removeprefix(PREFIX), known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"this package has {', '.join(known)}."
    return f"no config {name!r}{where}; {hint}"
