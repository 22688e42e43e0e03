# make run: the whole pipeline on the embedded sample. make test: every check. Both make .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

export DO_NOT_TRACK := true
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: help run test check ui viz clean

help:
	@echo "make run    the whole pipeline on the embedded sample, then the result table"
	@echo "make test   linters, types, import rules and the whole test suite"
	@echo "make ui     the MLflow UI on http://127.0.0.1:5000"
	@echo "make viz    the pipelines in Kedro-Viz on http://127.0.0.1:4141"
	@echo "make clean  remove what runs have written (not .venv, not your photographs)"

run: $(VENV)/.installed
	$(BIN)/kedro run

test: $(VENV)/.installed-dev check
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

ui: $(VENV)/.installed
	PYTHONWARNINGS=ignore $(BIN)/kedro mlflow ui

viz: $(VENV)/.installed
	PYTHONWARNINGS=ignore $(BIN)/kedro viz run

clean:
	rm -rf data/01_raw/sample data/0[2-8]*/* mlflow.db mlartifacts build .viz

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("isr_pipeline needs Python 3.11 to 3.13" if not (3, 11) <= sys.version_info < (3, 14) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) install --quiet -c constraints.txt -e ".[openvino,page]"
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install --quiet -c constraints.txt -e ".[dev,export,page]"
	touch $@
