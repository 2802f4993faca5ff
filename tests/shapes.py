"""Which modules state shapes in their signatures, to be checked wherever a test calls them."""

import pathlib

ROOT = pathlib.Path(__file__).parent.parent
STATED = "from jaxtyping import "


def modules():
    """The names of all modules that state shapes."""
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / "unf_lopt").rglob("*.py"))
        if STATED in path.read_text(encoding="utf-8")
    ]
