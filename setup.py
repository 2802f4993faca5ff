"""The package, and the one place that states what it requires.

``requirements.lock`` and ``requirements-lowest.lock`` are made from this file (``make lock``,
``make lowest-lock``); tests check that all three agree.
"""

import pathlib
import re

import setuptools

ROOT = pathlib.Path(__file__).parent


def _version() -> str:
    source = (ROOT / "unf_lopt" / "_version.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+)"$', source, re.MULTILINE).group(1)


def _readme() -> str:
    readme = ROOT / "README.md"
    return readme.read_text(encoding="utf-8") if readme.exists() else ""


# The symmetry specs and the layers: all that `import unf_lopt` needs.
CORE = [
    "jax>=0.9",
    "dm-haiku>=0.0.16",
    "numpy>=2.0",
    "gin-config>=0.5.0",
]

# What `learned_optimization` imports while it trains and evaluates. The library itself is not
# here: its release pins versions that cannot be installed together any more, so it is installed
# beside these with `pip install --no-deps learned_optimization==0.0.1`.
ECOSYSTEM = [
    "absl-py>=2.1",
    "chex>=0.1.90",
    "flax>=0.10",
    "optax>=0.2.4",
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

# The suite; it builds wheels, hence setuptools.
TEST = [
    "hypothesis>=6.100",
    "packaging>=24.2",
    "pytest>=8.0",
    "pytest-xdist>=3.6.1",
    "setuptools>=77.0.1",
]

# What the Makefile uses.
DEV = [
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
    packages=setuptools.find_packages(include=["unf_lopt", "unf_lopt.*"]),
    package_data={"unf_lopt": ["gin/**/*.gin"]},
    entry_points={"console_scripts": ["unf-lopt = unf_lopt.__main__:main"]},
    install_requires=CORE,
    extras_require={
        "ecosystem": ECOSYSTEM,
        "experiments": ECOSYSTEM + EXPERIMENTS,
        "test": ECOSYSTEM + EXPERIMENTS + TEST,
        "dev": ECOSYSTEM + EXPERIMENTS + TEST + DEV,
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    zip_safe=False,
)
