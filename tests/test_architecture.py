"""The rooms of docs/architecture.md: who may import whom, read from the code."""

import ast
import functools
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = "unf_lopt"

# From the bottom up; a room imports from rows below its own, never from its own row or above.
ROWS = (
    ("_types", "_options", "_version", "_files"),
    ("symmetry", "runs", "processes"),
    ("layers",),
    ("optimizers", "ecosystem"),
    ("tasks", "estimators", "commands"),
    ("outer_training", "evaluation", "weights"),
    ("register",),
    ("train", "launch", "evaluate", "inspect", "card", "predict"),
    ("__init__", "__main__"),
)
ROW = {room: number for number, rooms in enumerate(ROWS) for room in rooms}
SHARED = ROWS[0]  # private to users of the package, not to its rooms
WITHOUT_ECOSYSTEM = ("symmetry", "runs", "layers", "optimizers", "weights")
HEAVY = ("learned_optimization", "tensorflow", "tensorflow_datasets", "keras", "flax", "sklearn")
# One reads the ecosystem's own format, which is Flax's; others have scikit-learn's estimators and
# data. Nothing else of these rooms needs them.
IN_FUNCTIONS = {
    ("unf_lopt/optimizers/theta.py", "flax"),
    ("unf_lopt/weights/predictors.py", "sklearn"),
    ("unf_lopt/weights/zoos.py", "sklearn"),
}


class Import(NamedTuple):
    """One name that a module imports."""

    file: str
    line: int
    room: str
    name: str
    in_function: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.name}"

    @property
    def parts(self) -> list[str]:
        return self.name.split(".")


def room_of(path: pathlib.Path) -> str:
    """The folder below the package, or the module that lies in it directly."""
    parts = path.relative_to(ROOT / PACKAGE).parts
    return parts[0] if len(parts) > 1 else path.stem


def modules() -> list[pathlib.Path]:
    """Those of the package; the tasks are behind a link, which not every Python follows."""
    home, tasks = ROOT / PACKAGE, ROOT / "tasks"
    own = [path for path in home.rglob("*.py") if room_of(path) != "tasks"]
    linked = [home / "tasks" / path.relative_to(tasks) for path in tasks.rglob("*.py")]
    return sorted([*own, *linked])


def imports_of(path: pathlib.Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    file = path.relative_to(ROOT).as_posix()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: write imports from the package's root"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            yield Import(file, node.lineno, room_of(path), name, node in inner)


@functools.cache
def imports() -> list[Import]:
    """All of them, read once, and not where no test here runs."""
    return [found for path in modules() for found in imports_of(path)]


def between_rooms() -> list[Import]:
    """Imports of one room from another."""
    ours = [found for found in imports() if found.parts[0] == PACKAGE and len(found.parts) > 1]
    return [found for found in ours if found.parts[1] != found.room]


def test_every_module_is_in_a_room_that_has_a_row():
    rooms = {room_of(path) for path in modules()}
    assert rooms == set(ROW), rooms ^ set(ROW)


def test_no_room_imports_one_above_it_or_beside_it():
    wrong = [str(found) for found in between_rooms() if ROW[found.parts[1]] >= ROW[found.room]]
    assert wrong == []


def test_no_room_imports_private_names_of_another():
    wrong = [
        str(found)
        for found in between_rooms()
        if found.parts[1] not in SHARED
        if any(part.startswith("_") for part in found.parts[1:])
    ]
    assert wrong == []


@pytest.mark.parametrize("room", WITHOUT_ECOSYSTEM)
def test_rooms_of_the_core_need_no_ecosystem(room):
    heavy = [found for found in imports() if found.room == room and found.parts[0] in HEAVY]
    wrong = [
        str(found)
        for found in heavy
        if not (found.in_function and (found.file, found.parts[0]) in IN_FUNCTIONS)
    ]
    assert wrong == []


@pytest.mark.parametrize("room", [room for room in ROW if room != "ecosystem"])
def test_only_the_door_imports_the_ecosystem(room):
    wrong = [
        str(found)
        for found in imports()
        if found.room == room and found.parts[0] == "learned_optimization"
    ]
    assert wrong == []


def test_the_page_names_every_room():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for room in ROW:
        assert re.search(rf"\b{room}\b", page), room
