# Sets up .venv from the lock files and runs commands in it. `make` without a target lists them.
#   make train ARGS=--config.model.groups=4    flags for the command
#   make train CONFIG=configs/smoke.py         another experiment
#   make train PYTHON=python3.12               another Python, for a new .venv

PYTHON ?= python3
CONFIG ?= configs/fmnist.py
ARGS ?=

PEERS := torch==2.13.0 flax==0.12.8
PIP := .venv/bin/python -m pip --disable-pip-version-check -qq
# Distributed by file, because the tests of one file share what they train, and TensorFlow is imported only once in each
# of the two processes. The files that take longest come first. Hundreds of processes import gnexp: its bytecode is
# written even where the environment asks for none.
PYTEST := env -u PYTHONDONTWRITEBYTECODE .venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder \
	tests/sweeps tests/commands tests/training tests/models tests
# Each training is a process of its own, and JAX would compile the same network in every one of them.
JAX_CACHE := JAX_COMPILATION_CACHE_DIR="$(CURDIR)/build/jax" JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0.1
# What the fast tests compile runs for a moment, so that optimizing it fully would take longer.
JAX_QUICK := XLA_FLAGS="--xla_backend_optimization_level=0"

.PHONY: help train test test-slow docs peers lock
.DELETE_ON_ERROR:

help:
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile | expand -t 16

train: .venv/requirements.ready ## train what CONFIG says, configs/fmnist.py
	.venv/bin/python -m gnexp.train --config=$(CONFIG) $(ARGS)

test: .venv/requirements-test.ready ## check the style and run the fast tests, on JAX and on TensorFlow
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	KERAS_BACKEND=jax $(JAX_CACHE) $(JAX_QUICK) $(PYTEST) -m "not slow and not any_backend" $(ARGS)
	KERAS_BACKEND=tensorflow $(PYTEST) -m "not slow" $(ARGS)

test-slow: .venv/requirements-test.ready ## run the tests that take minutes
	KERAS_BACKEND=jax $(PYTEST) -m "slow and not any_backend" $(ARGS)
	KERAS_BACKEND=tensorflow $(PYTEST) -m slow $(ARGS)

docs: .venv/requirements.ready ## write the table of docs/configs.md
	.venv/bin/python -m docs.configs

peers: .venv/requirements-test.ready ## install PyTorch, Flax, Optuna and Ray Tune, for comparisons
	$(PIP) install $(PEERS)

# Pins that still fit stay as they are; `make lock ARGS=--upgrade` takes the newest of everything.
UV_COMPILE := build/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock"
lock: ## pin the dependencies of pyproject.toml again
	@$(PYTHON) -c "$$CHECK_PYTHON"
	@rm -rf build/uv && $(PYTHON) -m venv build/uv
	@build/uv/bin/python -m pip --disable-pip-version-check -qq install uv
	$(UV_COMPILE) pyproject.toml -o requirements.lock $(ARGS)
	$(UV_COMPILE) --extra test -c requirements.lock pyproject.toml -o requirements-test.lock $(ARGS)
	@rm -rf build/uv

# The set-up. `.venv/NAME.ready` says that .venv holds what NAME.lock asks for. While pip works there is `.venv/unfinished`.
# If it is found later, pip was killed half-way, and .venv is made again.

define CHECK_PYTHON
import sys
name = "$(PYTHON) is Python %d.%d" % sys.version_info[:2]
if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    sys.exit("gnexp needs Python 3.11, 3.12 or 3.13 (as TensorFlow does), and " + name + ". Name another: make PYTHON=python3.12 ...")
try:
    import ensurepip, venv
except ImportError:
    sys.exit("gnexp needs the module venv, and " + name + " without it. On Debian and Ubuntu: apt-get install python3-venv")
endef
export CHECK_PYTHON

# The Python that .venv was made with may be gone, for example after an upgrade.
ifneq ($(shell .venv/bin/python -c "import pip" 2>/dev/null && test ! -e .venv/unfinished && echo good),good)
$(shell rm -f .venv/*.ready)
endif

.venv/%.ready: %.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "gnexp needs Python 3.11 or newer, and there is no $(PYTHON) here" >&2; exit 1; }
	@$(PYTHON) -c "$$CHECK_PYTHON"
	@echo "Setting up .venv from $< (on a new machine: minutes, and up to 800 MB to download) ..."
	@if [ -e .venv/unfinished ] || ! .venv/bin/python -c "import pip" 2>/dev/null; then rm -rf .venv; fi
	@mkdir -p .venv && touch .venv/unfinished
	@test -e .venv/bin/python || $(PYTHON) -m venv .venv
	@$(PIP) install --require-hashes -r $< && $(PIP) install --no-deps --no-build-isolation --editable . \
		|| { rm -f .venv/unfinished; exit 1; }
	@rm .venv/unfinished && touch $@
