# `make repro`: everything from nothing to the metrics and the report.  `make study`: the grid of controls after it.
#  `make test`: everything that is checked.
PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin

.PHONY: setup repro report study test
.NOTPARALLEL:

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=/path/to/python")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

repro: setup
	PATH="$(BIN):$$PATH" dvc repro

report: setup
	PATH="$(BIN):$$PATH" dvc repro report

study: setup
	PATH="$(BIN):$$PATH" dvc repro studies/controls/dvc.yaml

test: setup
	$(BIN)/ruff format --check --quiet src tests
	$(BIN)/ruff check --quiet src tests
	$(BIN)/mypy
	PATH="$(BIN):$$PATH" pytest
