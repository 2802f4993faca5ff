"""The package, and the one place that states what it requires.

``requirements.lock`` and ``requirements-lowest.lock`` are made from this file (``make lock``,
``make lowest-lock``); tests check that all three agree.
"""

import pathlib
import re

import setuptools
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel
from setuptools.errors import SetupError

ROOT = pathlib.Path(__file__).parent
# Folders at the top that are parts of the package. In a checkout relative links stand in the
# package for them; what is built takes them from here, because git on Windows checks links out as
# small text files.
LINKED = {"tasks": "__init__.py", "gin": "base"}  # and what each holds if it is whole


def _version() -> str:
    source = (ROOT / "unf_lopt" / "_version.py").read_text(encoding="utf-8")
    (version,) = re.findall(r'^__version__ = "(.+)"$', source, re.MULTILINE)
    return version


def _readme() -> str:
    readme = ROOT / "README.md"
    return readme.read_text(encoding="utf-8") if readme.exists() else ""


def _packages() -> list[str]:
    own = setuptools.find_packages(
        include=["unf_lopt", "unf_lopt.*"], exclude=["unf_lopt.tasks", "unf_lopt.tasks.*"]
    )
    tasks = setuptools.find_packages(include=["tasks", "tasks.*"])
    return [*own, *(f"unf_lopt.{name}" for name in tasks), "unf_lopt.gin"]


class WholeBuild(build_py):
    """Refuses to build a package without its tasks and configs."""

    def run(self) -> None:
        """Checks, then builds."""
        for folder, content in LINKED.items():
            if not (ROOT / folder / content).exists():
                raise SetupError(f"{ROOT / folder} lacks {content}: this source is not whole.")
        super().run()


class WholeEditable(editable_wheel):
    """Refuses an editable installation in which tasks and configs would not be found."""

    def run(self) -> None:
        """Checks, then installs."""
        for folder, content in LINKED.items():
            if not (ROOT / "unf_lopt" / folder / content).exists():
                raise SetupError(
                    f"unf_lopt/{folder} is no link to ../{folder}, which an editable installation "
                    "needs: this checkout is without symbolic links, or a source distribution. "
                    "Install without -e, or run `git config core.symlinks true` and "
                    "`git checkout -- unf_lopt` (on Windows in developer mode)."
                )
        super().run()


# The symmetry specs, the layers, and the optimizers as optax transformations with their
# checkpoints: what needs no ecosystem.
CORE = [
    "jax>=0.9",
    "dm-haiku>=0.0.16",
    "numpy>=2.0",
    "gin-config>=0.5.0",
    "optax>=0.2.6",
    "scipy>=1.14",
    "safetensors>=0.4.5",
    "filelock>=3.15.1",
    "jaxtyping>=0.2.34",
]

# What `learned_optimization` imports while it trains and evaluates. The library itself is not
# here: its release pins versions that cannot be installed together any more, so it is installed
# beside these with `pip install --no-deps learned_optimization==0.0.1`.
ECOSYSTEM = [
    "absl-py>=2.1",
    "chex>=0.1.90",
    "flax>=0.12.2",  # the first whose nnx.jit runs with JAX 0.9
    # The same TensorFlow; on x86-64 Linux the wheel without GPU code is a third of the size.
    'tensorflow-cpu>=2.20; sys_platform == "linux" and platform_machine == "x86_64"',
    'tensorflow>=2.20; sys_platform != "linux" or platform_machine != "x86_64"',
    "tensorflow-datasets>=4.9.10",  # the first that reads with protobuf 7
    "tensorboard>=2.20",
    "tqdm>=4.66",
]

# The project's own tasks, commands and reports.
EXPERIMENTS = [
    "matplotlib>=3.8.4",
    "rich>=13.0",
    "scikit-learn>=1.5",
]

# The suite; it trains Equinox's modules, and builds wheels, hence setuptools.
TEST = [
    "beartype>=0.19",
    "equinox>=0.13.4",
    "hypothesis>=6.100",
    "packaging>=24.2",
    "pytest>=8.0",
    "pytest-xdist>=3.6.1",
    "setuptools>=77.0.1",
]

# The pages of docs/ as a site, and what runs its notebooks.
DOCS = [
    "ipykernel>=6.29",
    "mkdocs>=1.6",
    "mkdocs-jupyter>=0.25",
    "mkdocs-material>=9.5",
    "mkdocstrings[python]>=0.26",
    "nbclient>=0.10",
]

# What the Makefile uses.
DEV = [
    "basedpyright>=1.31",  # pyright, with a Node of its own from the same index
    "ruff>=0.14",
    "uv>=0.8",
]

setuptools.setup(
    name="unf_lopt",
    version=_version(),
    description="Learned optimizers from universal neural functionals, on learned_optimization.",
    long_description=_readme(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=_packages(),
    package_dir={"unf_lopt.tasks": "tasks", "unf_lopt.gin": "gin"},
    package_data={
        "unf_lopt": ["py.typed", "trained/*"],
        "unf_lopt.evaluation": ["assets/*"],
        "unf_lopt.gin": ["**/*.gin"],
    },
    cmdclass={"build_py": WholeBuild, "editable_wheel": WholeEditable},
    entry_points={"console_scripts": ["unf-lopt = unf_lopt.__main__:main"]},
    install_requires=CORE,
    extras_require={
        "ecosystem": ECOSYSTEM,
        "experiments": ECOSYSTEM + EXPERIMENTS,
        "test": ECOSYSTEM + EXPERIMENTS + TEST,
        "docs": DOCS,
        "dev": ECOSYSTEM + EXPERIMENTS + TEST + DOCS + DEV,
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Typing :: Typed",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    zip_safe=False,
)
