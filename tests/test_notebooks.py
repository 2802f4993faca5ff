"""The notebooks of docs/: they run, and are committed with the outputs of a run."""

import pathlib
import re

import nbclient
import nbformat
import pytest

FOLDER = pathlib.Path(__file__).parents[1] / "docs" / "notebooks"
NOTEBOOKS = {path.stem: nbformat.read(path, as_version=4) for path in FOLDER.glob("*.ipynb")}
LARGEST = 200_000  # bytes
SLOW = ("train",)  # minutes


def code_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts_of(notebook):
    """What people write and what cells print."""
    for cell in notebook.cells:
        yield cell.source
        for output in cell.get("outputs", ()):
            yield output.get("text", "")
            yield from (own for own in output.get("data", {}).values() if isinstance(own, str))


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in sorted(NOTEBOOKS)],
)
def test_it_runs_from_the_top(name, tmp_path):
    """In a kernel of its own; a cell that fails is an error here."""
    notebook = nbformat.from_dict(NOTEBOOKS[name])
    for cell in code_of(notebook):
        cell.outputs, cell.execution_count = [], None
    nbclient.NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    assert [len(cell.outputs) > 0 for cell in code_of(notebook)] == [
        len(cell.outputs) > 0 for cell in code_of(NOTEBOOKS[name])
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", sorted(NOTEBOOKS))
def test_it_is_committed_as_a_whole_run_left_it(name):
    cells = code_of(NOTEBOOKS[name])
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {
        "stream",
        "display_data",
        "execute_result",
    }
    assert [o.text for o in outputs if o.output_type == "stream" and o.name == "stderr"] == []
    assert (FOLDER / f"{name}.ipynb").stat().st_size < LARGEST
    for text in texts_of(NOTEBOOKS[name]):
        assert not re.search(r"(?<![\w.])/(tmp|home|root|work|usr|Users)/", text), text


@pytest.mark.parametrize("name", sorted(NOTEBOOKS))
def test_its_links_lead_somewhere(name):
    for cell in NOTEBOOKS[name].cells:
        for target in re.findall(r"\]\((?!http|#)([^)#]+)[^)]*\)", cell.source):
            assert (FOLDER / target).exists(), target


def test_there_are_notebooks():
    assert sorted(NOTEBOOKS) == ["symmetry", "train"]
