"""The door: light to import, one set of names on both versions, clear about what is missing."""

import os
import subprocess
import sys
import textwrap

import pytest

from unf_lopt import ecosystem


def _run(code: str) -> str:
    """What a fresh interpreter prints; a failure there fails here."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_it_loads_nothing_heavy():
    loaded = _run(
        """
        import sys
        from unf_lopt import ecosystem
        ecosystem.version(), ecosystem.describe(), dir(ecosystem)
        print(*{name.partition(".")[0] for name in sys.modules})
        """
    ).split()
    assert "unf_lopt" in loaded
    assert not {"learned_optimization", "tensorflow", "flax", "haiku", "jax"}.intersection(loaded)


def test_without_the_ecosystem_a_name_says_how_to_get_it():
    message = _run(
        """
        import sys
        sys.modules["learned_optimization"] = None  # as if it were not installed
        from unf_lopt import ecosystem
        print(ecosystem.describe())
        for use in (lambda: ecosystem.Task, lambda: ecosystem.make_learner(None)):
            try:
                use()
            except ImportError as error:
                print(type(error).__name__, error.name, error)
        """
    )
    assert message.count("EcosystemMissing learned_optimization") == 2
    assert message.startswith("learned_optimization not installed")
    assert "pip install --no-deps learned_optimization==0.0.1" in message
    assert "git clone https://github.com/google/learned_optimization" in message


def test_a_missing_dependency_is_named_and_the_ecosystem_not_called_missing():
    message = _run(
        """
        import sys
        sys.modules["haiku"] = None
        from unf_lopt import ecosystem
        try:
            ecosystem.Task
        except ImportError as error:
            print(type(error).__name__, error.name, error)
        """
    )
    assert message.startswith("EcosystemMissing haiku")
    assert "tasks.base is installed" in message
    assert "imports 'haiku', which is not" in message
    assert "not installed" not in message


def test_version_and_description_agree_with_what_is_there():
    marker = {"release": "release 0.0.1", "main": "GitHub main"}[ecosystem.version()]
    assert marker in ecosystem.describe()
    assert "\n" not in ecosystem.describe()
    if ecosystem.version() == "main":
        assert ecosystem.load("outer_trainers.truncated_step")
    else:
        with pytest.raises(ModuleNotFoundError, match="truncated_step"):
            ecosystem.load("outer_trainers.truncated_step")


@pytest.mark.parametrize("name", ecosystem.__all__)
def test_every_name_resolves(name):
    assert getattr(ecosystem, name) is not None
    assert name in dir(ecosystem)


def test_names_are_the_ecosystems_own():
    from learned_optimization.learned_optimizers import base as lopt_base
    from learned_optimization.tasks import base as tasks_base

    assert ecosystem.Task is tasks_base.Task
    assert ecosystem.LearnedOptimizer is lopt_base.LearnedOptimizer
    assert issubclass(ecosystem.Adam, ecosystem.Optimizer)
    assert ecosystem.Adam.__module__.startswith("learned_optimization")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Tusk'"):
        ecosystem.Tusk  # noqa: B018
    assert not hasattr(ecosystem, "Tusk")


@pytest.mark.parametrize("arguments", [["-v", "tests"], ["--verbosity=loud"], ["-v", "1", "x"]])
def test_it_does_not_mind_the_arguments_of_other_programs(arguments, monkeypatch):
    """The ecosystem parses the command line as it is imported; pytest's -v is no number."""
    monkeypatch.delitem(sys.modules, "learned_optimization.profile", raising=False)
    monkeypatch.setattr(sys, "argv", ["program", *arguments])
    assert ecosystem.load("profile").FLAGS.is_parsed()
    assert sys.argv == ["program", *arguments]
