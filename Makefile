# The two that matter: `make quickstart` and `make test`. Everything happens inside .venv.
PYTHON ?= python3
BIN := .venv/bin
# A process per core; a module's tests stay in one, which shares what they prepare.
PYTEST := $(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder

.PHONY: quickstart test test-all test-app test-platform lint bench reports reference clean

quickstart: .venv/.kit
	$(BIN)/kit quickstart

test: .venv/.dev lint
	$(PYTEST) -m "not slow"

test-all: .venv/.dev lint
	$(PYTEST)

# The web app in a real browser: needs Chromium, and installs the package that drives it.
test-app: .venv/.dev
	$(BIN)/pip install --quiet --disable-pip-version-check playwright
	$(BIN)/pytest tests/app

# The everyday tests with the Python and the packages of a platform (kit/platforms/), in .venv-PLATFORM: 6 GB.
# Without PYTHON=…, this looks for pythonX.Y of the platform's version on the path.
PLATFORM ?= kaggle-2026-08
test-platform:
	$(PYTHON) -m tests.platforms $(PLATFORM)

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Measure every claim about speed, memory and growth, and write tests/benchmarks/README.md. Takes 40 minutes.
bench: .venv/.dev
	$(BIN)/python -m tests.benchmarks --readme tests/benchmarks/README.md

# Small forms of the recipes in configs/reports, with data of $KIT_DATA and weights of $KIT_WEIGHTS. Takes 15 minutes.
reports: .venv/.dev
	$(BIN)/python -m tests.benchmarks.reports --readme configs/reports/README.md

# The tables of configs/README.md, from the schema.
reference: .venv/.kit
	$(BIN)/python -c "from pathlib import Path; from kit.config.reference import write_reference; write_reference(Path('configs/README.md'))"

# A stamp per set of requirements, so that make installs again only when pyproject.toml changed.
.venv/.kit: pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	@touch $@

.venv/.dev: pyproject.toml | .venv/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

.venv/bin/python:
	$(PYTHON) -m venv .venv

clean:
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache build *.egg-info
