"""Which modules state shapes in their signatures, to be checked wherever a test calls them."""

import pathlib
import re
from collections.abc import Callable
from typing import Any

from beartype import beartype

ROOT = pathlib.Path(__file__).parent.parent
STATED = "from jaxtyping import "
SHAPE = re.compile(r"\b(Bool|Complex|Float|Inexact|Int|Integer|Key|Num|Real|Shaped|UInt)\[")


def modules():
    """The names of all modules that state shapes."""
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / "unf_lopt").rglob("*.py"))
        if STATED in path.read_text(encoding="utf-8")
    ]


def checked(function: Callable) -> Callable:
    """Checks the arguments whose annotations state a shape.

    The others are the type checker's, and of users' values their errors are the library's own.
    """
    function.__annotations__ = {
        name: hint if SHAPE.search(hint if isinstance(hint, str) else repr(hint)) else Any
        for name, hint in function.__annotations__.items()
    }
    return beartype(function)
