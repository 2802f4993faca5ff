"""Where in the user's source an equation comes from."""

from __future__ import annotations

import functools
import re
import sysconfig
from typing import Any

from jax._src import source_info_util

# What Jupyter writes a cell to, for Python to read; the file says nothing to its user.
_CELL = re.compile(r".*[/\\]ipykernel_\d+[/\\]\d+\.py")
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")})


def is_known(source_info: Any) -> bool:
    """Whether anything outside of JAX is known to have asked for it."""
    return source_info_util.user_frame(source_info.traceback) is not None


def is_of_library(jaxpr: Any) -> bool:
    """Whether a jaxpr is that of an installed library's function."""
    function = getattr(jaxpr.debug_info, "func_src_info", None) or ""
    return function.rpartition(" at ")[2].startswith(_LIBRARIES)


def place(source_info: Any) -> str:
    """``file:line (function)``: the nearest line that is not an installed library's, if any.

    Where a library's line did it for the user's, both are told.
    """
    frames = list(source_info_util.user_frames(source_info.traceback))
    if not frames:
        return "an unknown place"
    nearest = _show(frames[0].file_name, frames[0].start_line, frames[0].function_name)
    for frame in frames:
        if not frame.file_name.startswith(_LIBRARIES):
            own = _show(frame.file_name, frame.start_line, frame.function_name)
            return own if own == nearest else f"{own}, in {nearest}"
    return nearest


@functools.cache
def _show(file_name: str, line: int, function: str) -> str:
    for library in _LIBRARIES:
        file_name = (
            file_name.removeprefix(library).lstrip("/") if library in file_name else file_name
        )
    return f"{_CELL.sub('a cell', file_name)}:{line} ({function})"
