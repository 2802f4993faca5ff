# Every target sets up what it needs; a second run sets nothing up again.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
ECOSYSTEM_RELEASE := learned_optimization==0.0.1

VENV := .venv
LOWEST_VENV := .venv-lowest
NEWER_VENV := .venv-newer
RUN := $(VENV)/bin/python
UV := $(VENV)/bin/uv
LOCK := requirements.lock
LOWEST_LOCK := requirements-lowest.lock

# Trust the certificates that this machine trusts; leave alone an environment that happens to be
# active.
export UV_SYSTEM_CERTS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport VIRTUAL_ENV PYTHONHOME
# TensorFlow only reads data here; its start-up messages tell nothing.
export TF_CPP_MIN_LOG_LEVEL ?= 3
export TF_ENABLE_ONEDNN_OPTS ?= 0

# ---------------------------------------------------------------------------------------- set-up
# $(call pinned,NAME): NAME==VERSION as the lock has it.
pinned = $(shell sed -n 's/^\($(1)==[^ ;]*\).*/\1/p' $(LOCK))
# $(call install,VENV,LOCK): exactly what LOCK lists, then the project, editable.
# Byte code is compiled once, here: where Python may not write it, every process would compile it.
define install
	$(UV) pip install --quiet --python $(1)/bin/python --no-deps --require-hashes \
	  --compile-bytecode -r $(2)
	$(UV) pip install --quiet --python $(1)/bin/python --no-deps --no-build-isolation -e .
	@touch $(1)/installed
endef

.PHONY: help
help:  ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

.PHONY: setup
setup: $(VENV)/installed  ## a virtual environment in .venv, exactly as requirements.lock says

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
	  echo "Python 3.11 to 3.13 is needed; say make PYTHON=/path/to/python3.11 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --no-deps $(call pinned,uv)

$(VENV)/installed: setup.py pyproject.toml $(LOCK) | $(UV)
	$(call install,$(VENV),$(LOCK))

$(LOWEST_VENV)/installed: setup.py pyproject.toml $(LOWEST_LOCK) | $(UV)
	$(PYTHON) -m venv $(LOWEST_VENV)
	$(call install,$(LOWEST_VENV),$(LOWEST_LOCK))

# The first Python from 3.12 to 3.13 that is there and runs; nothing is downloaded.
NEWER_PYTHON ?= $(shell for python in python3.13 python3.12 \
    $$(ls -d $$HOME/.pyenv/versions/3.1[23].*/bin/python 2>/dev/null); do \
  "$$python" -c 'import sys; sys.exit(not (3, 12) <= sys.version_info < (3, 14))' 2>/dev/null \
    && echo "$$python" && break; done)

$(NEWER_VENV)/installed: setup.py pyproject.toml $(LOCK) | $(UV)
	$(NEWER_PYTHON) -m venv $(NEWER_VENV)
	$(call install,$(NEWER_VENV),$(LOCK))

# ------------------------------------------------------------------------------------------ demo
DEMO_DIR ?= runs/demo

.PHONY: demo
demo: setup  ## meta-train a small optimizer on real images, then compare it with tuned baselines
	$(RUN) -m unf_lopt.train --config_file=demo.gin --train_log_dir=$(DEMO_DIR)/mixed_step
	$(RUN) -m unf_lopt.evaluate --train_log_dir=$(DEMO_DIR)/mixed_step \
	  --output_dir=$(DEMO_DIR)/evaluation

# ----------------------------------------------------------------------------------------- tests
PYTEST_ARGS ?=
# Processes that share the tests; each takes up to 5 GB.
PROCESSES ?= 2
PYTEST = python -m pytest --numprocesses=$(PROCESSES) --dist=worksteal $(PYTEST_ARGS)
# $(call suite,VENV): every test that is not slow. Those of the evaluation run with the compiler's
# default settings, all others with those of tests/compiler.py, which compile faster.
define suite
	$(1)/bin/$(PYTEST) -m 'not slow' --ignore=tests/evaluation
	XLA_FLAGS= $(1)/bin/$(PYTEST) -m 'not slow' tests/evaluation
endef

# Where the ecosystem's version makes a difference; symmetry and layers never import it.
MET_BY_ECOSYSTEM := tests/ecosystem tests/estimators tests/evaluation/test_evaluate.py \
  tests/optimizers/test_optimizers.py tests/outer_training tests/tasks/test_paper_tasks.py \
  tests/tasks/test_training.py tests/test_configs.py tests/test_inspect.py
# Where versions of other packages do.
VERSIONED := tests/ecosystem tests/estimators tests/optimizers tests/outer_training tests/runs
# Where Python's own version does: files, processes, text, signatures, and types of trees; and where
# JAX's does, whose newest version only newer Pythons have: what reads its jaxprs, and Flax.
OF_PYTHON := tests/commands tests/ecosystem tests/outer_training tests/runs tests/tasks \
  tests/optimizers/test_export.py tests/optimizers/test_optax_contract.py \
  tests/symmetry/inference tests/symmetry/verification tests/symmetry/test_equinox.py \
  tests/symmetry/test_infer.py tests/symmetry/test_trees.py tests/test_architecture.py tests/test_lightness.py

.PHONY: test test-slow test-lowest test-newer test-main lint types notebooks docs
test: lint  ## lint, and every test that is not marked slow
	$(call suite,$(VENV))

test-slow: setup  ## the tests marked slow, and those of random examples with many more of them
	$(VENV)/bin/$(PYTEST) -m slow
	$(VENV)/bin/$(PYTEST) -m 'hypothesis and not slow' --hypothesis-profile=thorough

test-lowest: $(LOWEST_VENV)/installed  ## what depends on versions, with the lowest that setup.py allows
	$(LOWEST_VENV)/bin/$(PYTEST) -m 'not slow' $(VERSIONED)

test-newer: | $(UV)  ## what depends on Python and JAX, with newer ones where they are there (NEWER_PYTHON=)
	@if [ -z '$(NEWER_PYTHON)' ]; then \
	  echo 'No Python from 3.12 to 3.13 here; nothing is run with a newer one.'; \
	else \
	  $(MAKE) $(NEWER_VENV)/installed NEWER_PYTHON='$(NEWER_PYTHON)' && \
	  $(NEWER_VENV)/bin/$(PYTEST) -m 'not slow' $(OF_PYTHON); \
	fi

test-main: setup  ## what uses the ecosystem, with its GitHub main: LEARNED_OPTIMIZATION=/its/checkout
	@test -d '$(LEARNED_OPTIMIZATION)/learned_optimization' || { \
	  echo "No checkout of it in '$(LEARNED_OPTIMIZATION)'; set LEARNED_OPTIMIZATION." >&2; exit 2; }
	export PYTHONPATH='$(abspath $(LEARNED_OPTIMIZATION))'; \
	  $(VENV)/bin/$(PYTEST) -m 'not slow' $(MET_BY_ECOSYSTEM)

lint: setup  ## ruff: rules and format
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check

types: setup  ## basedpyright, in basic mode
	$(VENV)/bin/basedpyright --pythonpath $(RUN)

notebooks: setup  ## the notebooks of docs/ anew, with their outputs
	$(VENV)/bin/jupyter nbconvert --execute --inplace --to notebook --log-level=WARN \
	  --ExecutePreprocessor.record_timing=False docs/notebooks/*.ipynb

docs: setup  ## the pages of docs/ as a site, in build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --quiet

# ----------------------------------------------------------------------------------------- locks
# A lock is made from setup.py, with the newest that each Python can have, and keeps the versions it
# has where it can;
# `make lock UPGRADE=--upgrade` takes the newest. The ecosystem's release comes without its own
# pins (see pyproject.toml).
UPGRADE ?=
COMPILE = echo '$(ECOSYSTEM_RELEASE)' | UV_CUSTOM_COMPILE_COMMAND='make $@' $(UV) pip compile \
  --quiet --universal --fork-strategy requires-python --python-version 3.11 --generate-hashes setup.py -

.PHONY: lock lowest-lock
lock: | $(UV)  ## requirements.lock from setup.py (UPGRADE=--upgrade: the newest versions)
	$(COMPILE) --extra dev $(UPGRADE) -o $(LOCK)

lowest-lock: | $(UV)  ## requirements-lowest.lock: the lower bounds of setup.py
	$(COMPILE) --extra test --upgrade --resolution lowest-direct -o $(LOWEST_LOCK)

# -------------------------------------------------------------------------------------- clearing
.PHONY: clean
clean:  ## remove the virtual environments, caches and builds (never runs/)
	rm -rf $(VENV) $(LOWEST_VENV) $(NEWER_VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find benchmarks tasks tests unf_lopt -name __pycache__ -type d -prune -exec rm -rf {} +
