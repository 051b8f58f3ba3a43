# `make demo` and `make test` need nothing installed but Python 3.11 (or uv); see docs/INSTALL.md.
PYTHON := .venv/bin/python
STAMP := .venv/.installed
PYTEST_ARGS ?=
DEMO_ARGS ?=
LOCK_ARGS ?=
UV = $(or $(shell command -v uv),.venv/bin/uv)
COMPILE := --quiet --generate-hashes --python-version 3.11 --python-platform x86_64-manylinux_2_39

# What the image of the pipeline has (Dockerfile), in the versions of requirements.lock.
IMAGE := --extra tfx --extra stores --extra retrieval --extra encode

.PHONY: help demo test test-fast test-cluster lint format lock

help:
	@echo "make demo          run the whole pipeline on synthetic logs, serve the model and rank for one user"
	@echo "make test          run all tests           (PYTEST_ARGS='-k history' for some)"
	@echo "make test-fast     run those that cost little, in less than 90 seconds: what to run after each edit"
	@echo "make test-cluster  run those that need a runner of Beam with workers of its own; takes Go"
	@echo "make lint          check style and types   (make format to repair style)"
	@echo "make lock          resolve requirements/*.in anew"

demo: $(STAMP)
	.venv/bin/dmf demo $(DEMO_ARGS)

# Two workers, each file to one of them, what takes longest first. --record-costs writes anew what that goes by.
PYTEST = $(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: $(STAMP)
	$(PYTEST) --durations 40 $(PYTEST_ARGS)

# tests/costs.py says what is fast.
test-fast: $(STAMP)
	$(PYTEST) -m fast $(PYTEST_ARGS)

# The runner is built once. Nothing of `make test` needs it.
test-cluster: $(STAMP)
	prism=$$($(PYTHON) -m tools.beam_cluster prism) && \
	DMF_PRISM=$$prism $(PYTHON) -m pytest --durations 5 tests/tools/beam_cluster_test.py $(PYTEST_ARGS)

lint: $(STAMP)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

format: $(STAMP)
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

$(STAMP): requirements/requirements.lock requirements/uv.lock setup.py pyproject.toml $(wildcard tools/*.py)
	@if python3.11 -c '' 2>/dev/null; then python3.11 tools/setup_environment.py; \
	elif command -v uv >/dev/null; then uv run --quiet --isolated --no-project --python 3.11 tools/setup_environment.py; \
	else echo "make: found neither python3.11 nor uv on PATH; install one of them (docs/INSTALL.md)" >&2; exit 1; fi

# Keeps every pin that still fits; LOCK_ARGS=--upgrade moves all, LOCK_ARGS='--upgrade-package keras' one.
lock: $(STAMP)
	$(UV) pip compile requirements/requirements.in -o requirements/requirements.lock $(COMPILE) $(LOCK_ARGS)
	$(UV) pip compile setup.py $(IMAGE) -o requirements/image.lock $(COMPILE) -c requirements/requirements.lock
	$(UV) pip compile setup.py $(IMAGE) --extra gpu -o requirements/image-gpu.lock $(COMPILE) -c requirements/requirements.lock
	$(UV) pip compile requirements/uv.in -o requirements/uv.lock $(COMPILE) $(LOCK_ARGS)
