"""A command that must refuse what it is given."""

import pytest

from unf_lopt.__main__ import main


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Runs a command that must refuse: the line that it says."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("a file")

    def run(*arguments, within=tmp_path):
        before = contents(within)
        code = main([argument.replace("{tmp}", str(tmp_path)) for argument in arguments])
        output = capsys.readouterr()
        assert code in (1, 2), output
        assert "Traceback" not in output.out + output.err
        (line,) = output.err.splitlines()
        assert line.startswith(f"unf-lopt {arguments[0]}: ")
        assert len(line) > len(f"unf-lopt {arguments[0]}: ") + 10
        assert contents(within) == before
        return line

    return run


def contents(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}
