"""Types that every room uses.

Shapes are written with jaxtyping, ``Float[Array, "*shape channels"]``: one name is one length in
all of a signature. Programs never check them; the tests check every call that they make.
"""

from __future__ import annotations

from typing import Any, TypeAlias

# What JAX takes as a tree: dictionaries, lists, tuples, registered classes, and leaves. Python's
# types cannot say more about it, so this is a word for the reader.
PyTree: TypeAlias = Any
