"""The package as users get it, and the locks that say what it is tested with."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import unf_lopt

ROOT = pathlib.Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
LOWEST_LOCK = ROOT / "requirements-lowest.lock"

# What a user does with the package, as one JSON line. Nothing here may depend on the folder.
LOOK = """
import importlib.metadata, importlib.resources, json, sys
import unf_lopt
light = not {"tensorflow", "learned_optimization"} & set(sys.modules)
import gin, unf_lopt.tasks
configs = importlib.resources.files("unf_lopt") / "gin"
names = [p.relative_to(configs).as_posix() for p in configs.rglob("*.gin")]
print(json.dumps({
    "home": unf_lopt.__file__,
    "light": light,
    "tasks": unf_lopt.tasks.__file__,
    "configs": sorted(names),
    "texts": all((configs / name).read_text(encoding="utf-8") for name in names),
    "gin": hasattr(gin, "parse_config_file"),
    "versions": [unf_lopt.__version__, importlib.metadata.version("unf_lopt")],
}))
"""


def run(*command, cwd):
    """Runs a command outside any environment that is active; its output, or a failed test."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    outcome = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return outcome.stdout


LINKS = ("tasks", "gin")
# With symbolic links, and as git on Windows checks it out: links as text files.
CHECKOUTS = ["links", "linkless"]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The project's own files in folders of their own, so that no build touches the real one."""
    return {kind: _source(tmp_path_factory.mktemp(kind) / "project", kind) for kind in CHECKOUTS}


def _source(folder, kind):
    folder.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, folder)
    for name in ("unf_lopt", *LINKS):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignore)
    if kind == "linkless":
        for name in LINKS:
            link = folder / "unf_lopt" / name
            link.unlink()
            link.write_text(f"../{name}", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def source(sources):
    """A checkout with links."""
    return sources["links"]


@pytest.fixture(scope="module")
def wheels(sources, tmp_path_factory):
    """A wheel of each, built with the setuptools that is installed."""
    return {kind: _wheel(sources[kind], tmp_path_factory.mktemp("wheel")) for kind in CHECKOUTS}


# Calls a hook of the build backend, as pip does; prints the name of what it built.
HOOK = """
import sys, setuptools.build_meta
print(getattr(setuptools.build_meta, sys.argv[1])(sys.argv[2]))
"""


def _built(hook, source, folder):
    name = run(sys.executable, "-c", HOOK, hook, folder, cwd=source).splitlines()[-1]
    return folder / name


def _wheel(source, folder):
    return _built("build_wheel", source, folder)


@pytest.fixture(scope="module")
def wheel(wheels):
    """The wheel of a checkout with links."""
    return wheels["links"]


@pytest.fixture(scope="module")
def installed(request, source, wheels, tmp_path_factory):
    """Python of a fresh environment with the project installed as `request.param` says."""
    folder = tmp_path_factory.mktemp("environment")
    python, packages = _environment(folder)
    # The packages of the running environment behind its own; editable installs are not among
    # them, because their hooks are only read in the first folder.
    behind = sysconfig.get_path("purelib") + "\n"
    (packages / "behind.pth").write_text(behind, encoding="utf-8")
    what = {
        "editable": ["--editable", source],
        "wheel": [wheels["links"]],
        "linkless wheel": [wheels["linkless"]],
    }
    run(*_pip(python, "install"), *what[request.param], cwd=folder)
    return request.param, python


def _environment(folder):
    """A new virtual environment with the pip that Python brings; its Python and its packages."""
    venv.create(folder, with_pip=True)
    scheme = sysconfig.get_paths("venv", vars={"base": folder, "platbase": folder})
    return pathlib.Path(scheme["scripts"]) / "python", pathlib.Path(scheme["purelib"])


def _pip(python, command):
    return [python, "-m", "pip", command, "--quiet", "--no-deps", "--no-build-isolation"]


@pytest.mark.slow
@pytest.mark.parametrize("place", ["root", "elsewhere"])
@pytest.mark.parametrize("installed", ["editable", "wheel", "linkless wheel"], indirect=True)
def test_tasks_and_configs_are_there_from_any_folder(installed, place, source, tmp_path):
    way, python = installed
    found = json.loads(run(python, "-c", LOOK, cwd=source if place == "root" else tmp_path))

    in_source = pathlib.Path(found["home"]).is_relative_to(source)
    assert in_source == (way == "editable" or place == "root")
    assert pathlib.Path(found["tasks"]).name == "__init__.py"
    assert found["configs"] == sorted(
        path.relative_to(ROOT / "gin").as_posix() for path in (ROOT / "gin").rglob("*.gin")
    )
    assert found["configs"] and found["texts"]
    assert found["gin"], "the folder of configs hides the gin package"
    assert found["light"], "`import unf_lopt` loads the ecosystem or TensorFlow"
    assert found["versions"] == [unf_lopt.__version__] * 2


def held(wheel):
    """The files of the package in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


@pytest.mark.parametrize("kind", CHECKOUTS)
def test_wheel_holds_the_package_whole_and_nothing_else(kind, source, wheels):
    meant = {
        pathlib.Path(folder, name).relative_to(source).as_posix()
        for folder, _, names in os.walk(source / "unf_lopt", followlinks=True)
        for name in names
    }
    assert held(wheels[kind]) == meant
    assert "unf_lopt/py.typed" in meant


@pytest.mark.parametrize("kind", CHECKOUTS)
def test_source_distribution_builds_the_same_wheel(kind, sources, wheel, tmp_path):
    shutil.unpack_archive(_built("build_sdist", sources[kind], tmp_path), tmp_path, filter="data")
    (unpacked,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert held(_wheel(unpacked, tmp_path)) == held(wheel)


def test_editable_without_links_stops_with_the_reason(sources, tmp_path):
    message = _refusal("build_editable", sources["linkless"], tmp_path)
    assert "unf_lopt/tasks is no link to ../tasks" in message
    assert "core.symlinks true" in message


@pytest.mark.parametrize("missing", ["tasks/__init__.py", "gin/base"])
def test_a_source_that_is_not_whole_stops_with_the_reason(missing, tmp_path):
    folder = _source(tmp_path / "project", "linkless")
    (folder / missing).rename(tmp_path / "elsewhere")
    message = _refusal("build_wheel", folder, tmp_path)
    assert f"lacks {pathlib.Path(missing).name}: this source is not whole" in message


def _refusal(hook, source, folder):
    """What the build backend says when it cannot build a source."""
    words = [sys.executable, "-c", HOOK, hook, str(folder)]
    outcome = subprocess.run(words, cwd=source, capture_output=True, text=True)
    assert outcome.returncode != 0
    return " ".join((outcome.stdout + outcome.stderr).split())


@pytest.fixture(scope="module")
def requirements(wheel):
    """What setup.py requires, in the core and in every extra, as the built wheel states it."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        text = archive.read(name).decode()
    stated = [Requirement(line) for line in re.findall(r"^Requires-Dist: (.+)$", text, re.M)]
    assert stated
    return stated


def pins(lock):
    """The versions in a lock: {name: [(version, marker or ""), ...]}."""
    found = {}
    for line in re.findall(r"^[a-z0-9][^\s\\]*==[^\\]+", lock.read_text(encoding="utf-8"), re.M):
        requirement = Requirement(line.strip())
        (specifier,) = requirement.specifier
        name = canonicalize_name(requirement.name)
        found.setdefault(name, []).append((Version(specifier.version), requirement.marker))
    return found


@pytest.mark.parametrize(
    ("lock", "extras", "command"),
    [(LOCK, {"", "dev"}, "make lock"), (LOWEST_LOCK, {"", "test"}, "make lowest-lock")],
    ids=["lock", "lowest"],
)
def test_every_requirement_is_locked_at_a_version_that_satisfies_it(
    requirements, lock, extras, command
):
    locked = pins(lock)
    for requirement in requirements:
        if not _wanted(requirement, extras):
            continue
        name = canonicalize_name(requirement.name)
        assert name in locked, f"{lock.name} lacks {requirement}: `{command}`"
        assert all(version in requirement.specifier for version, _ in locked[name]), (
            f"{lock.name} has {name} {locked[name]}, setup.py says {requirement}: `{command}`"
        )


def _wanted(requirement, extras):
    """Whether one of the extras ("" for none) brings the requirement, on this or another system."""
    named = set(re.findall(r'extra == "(\w+)"', str(requirement.marker))) or {""}
    return bool(named & extras)


def test_the_lowest_lock_holds_the_stated_lower_bounds(requirements):
    """So that `make test-lowest` tests the bounds that setup.py states, not some above them."""
    locked = pins(LOWEST_LOCK)
    for requirement in requirements:
        if not _wanted(requirement, {"", "test"}):
            continue
        (bound,) = requirement.specifier
        assert bound.operator == ">=", f"{requirement} has no plain lower bound"
        lowest = min(version for version, _ in locked[canonicalize_name(requirement.name)])
        assert lowest == Version(bound.version), f"{requirement}, but {lowest} is what is tested"


@pytest.mark.parametrize("lock", [LOCK, LOWEST_LOCK], ids=["lock", "lowest"])
def test_locks_are_complete_and_name_no_place(lock):
    """Names, versions, markers and hashes: no index, no folder, nothing without a hash."""
    text = lock.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    pin = re.compile(r"[a-z0-9-]+==[\w.+!]+( ; [\w\s.'<>=!()*]+)? \\")
    digest = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
    assert [line for line in lines if not pin.fullmatch(line) and not digest.fullmatch(line)] == []
    assert not re.search(r"://|file:|--(find-links|index-url|extra-index-url)|/\w+/", text)
    assert [str(v) for v, _ in pins(lock)["learned-optimization"]] == ["0.0.1"]


def test_citation_states_the_version():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.+)$", text, re.M) == [unf_lopt.__version__]


@pytest.mark.slow
def test_core_installs_alone_and_says_how_to_get_the_ecosystem(wheel, tmp_path):
    """From the package index, with nothing of the ecosystem's: the layers work, the rest says."""
    python, _ = _environment(tmp_path / "venv")
    constraints = tmp_path / "constraints.txt"
    lines = [
        f"{name}=={version}" + (f" ; {marker}" if marker else "")
        for name, entries in pins(LOCK).items()
        for version, marker in entries
    ]
    constraints.write_text("\n".join(lines), encoding="utf-8")
    run(python, "-m", "pip", "install", "--quiet", wheel, "-c", constraints, cwd=tmp_path)

    use = """
import importlib.util, haiku, jax, unf_lopt
for name in ("tensorflow", "flax", "learned_optimization"):
    assert importlib.util.find_spec(name) is None, name
params = {"w": jax.numpy.ones((3, 2))}
spec = unf_lopt.PermutationSpec.from_names({"w": ("in", "out")}, params)
layer = haiku.transform(lambda x: unf_lopt.UNFLinear(4, spec)(x))
features = {"w": jax.numpy.ones((3, 2, 1))}
print(layer.apply(layer.init(jax.random.PRNGKey(0), features), None, features)["w"].shape)
from unf_lopt import ecosystem
try:
    ecosystem.Task
except ecosystem.EcosystemMissing as error:
    print(error)
"""
    printed = run(python, "-c", use, cwd=tmp_path)
    assert printed.startswith("(3, 2, 4)\n")
    assert "pip install" in printed and "learned_optimization" in printed
