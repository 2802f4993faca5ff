"""Configurations of strangers: read as data, and nothing that they name is run."""

import pathlib

import pytest

from unf_lopt import runs
from unf_lopt.runs import Macro, Reference, read_configuration

HOSTILE = {
    "dynamic registration": (
        "from __gin__ import dynamic_registration\nimport pathlib\n"
        "LOPT = @pathlib.Path.touch()\npathlib.Path.touch.self = @pathlib.Path()\n"
        "pathlib.Path.args = ['{marker}']\nTASK_FAMILY = %LOPT\nHORIZON = 10\n",
        "line 1",
    ),
    "import": ("HORIZON = 10\nimport payload\n", "line 2: imports payload"),
    "import from": ("HORIZON = 10\n\nfrom payload import run\n", "line 3: imports payload.run"),
    "import as": ("import payload as unf_lopt\n", "line 1: imports payload"),
    "import of a name that begins as ours": (
        "import unf_lopt_payload\n",
        "imports unf_lopt_payload",
    ),
    "include": ("include 'payload.gin'\n", "line 1: includes 'payload.gin'"),
    "include of a url": ("include 'http://localhost/payload.gin'\n", "line 1: includes"),
    "no gin": ("this is no configuration", "is not a gin configuration"),
    "binary": ("\x00\x01\x02", "is not a gin configuration"),
    "unclosed": ("HORIZON = (1, 2\n", "is not a gin configuration"),
    "deep": ("HORIZON = " + "(" * 5000 + "\n", "is not a gin configuration"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_does_more_than_bind_is_refused_by_line(name, tmp_path, monkeypatch):
    marker = tmp_path / "executed"
    (tmp_path / "payload.py").write_text(f"open({str(marker)!r}, 'w').close()\nrun = 1\n")
    (tmp_path / "unf_lopt_payload.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    (tmp_path / "payload.gin").write_text("HORIZON = 10\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    text, message = HOSTILE[name]
    path = tmp_path / "config.gin"
    path.write_text(text.replace("{marker}", str(marker)))
    with pytest.raises(runs.RunError, match=message.replace("(", r"\(")) as error:
        read_configuration(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert not marker.exists()


def test_bindings_are_data(tmp_path):
    path = tmp_path / "config.gin"
    path.write_text(
        "import unf_lopt.register\nHORIZON = 10\nTASK_FAMILY = @scope/digits_mlp_family()\n"
        "OTHER = %HORIZON\ntrain:\n  seed = 3\nscope/digits_mlp_family.hidden_sizes = (4, 5)\n"
        "evaluate.splits = {'a': [1, @f], 'b': %OTHER}\n"
    )
    found = read_configuration(path)
    assert found.macros["HORIZON"] == 10
    assert found.macros["TASK_FAMILY"] == Reference("scope/digits_mlp_family", True)
    assert found.value(Macro("OTHER")) == 10
    assert found.parameters["train"] == {"seed": 3}
    assert found.parameters["scope/digits_mlp_family"] == {"hidden_sizes": (4, 5)}
    assert found.parameters["evaluate"]["splits"] == {
        "a": [1, Reference("f", False)],
        "b": Macro("OTHER"),
    }


def test_macros_that_stand_for_themselves_or_nothing_are_named(tmp_path):
    path = tmp_path / "config.gin"
    path.write_text("A = %B\nB = %A\nC = %D\n")
    found = read_configuration(path)
    with pytest.raises(runs.RunError, match="macro A stands for itself"):
        found.value(Macro("A"))
    with pytest.raises(runs.RunError, match="macro D is not defined"):
        found.value(Macro("C"))


def test_a_plugin_of_ones_own_is_named(tmp_path):
    path = tmp_path / "config.gin"
    path.write_text("import my_plugin\nHORIZON = 10\n")
    assert read_configuration(path, plugins=["my_plugin"]).macros == {"HORIZON": 10}
    with pytest.raises(runs.RunError, match="--gin_import=my_plugin"):
        read_configuration(path)
    with pytest.raises(runs.RunError, match="cannot be read"):
        read_configuration(pathlib.Path(tmp_path, "nowhere.gin"))
