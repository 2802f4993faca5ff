"""Types that every room uses.

Shapes are written with jaxtyping, ``Float[Array, "*shape channels"]``: for the reader and the type
checker, nothing checks them while a program runs.
"""

from __future__ import annotations

from typing import Any, TypeAlias

# What JAX takes as a tree: dictionaries, lists, tuples, registered classes, and leaves. Python's
# types cannot say more about it, so this is a word for the reader.
PyTree: TypeAlias = Any
