# `make demo` and `make test` do everything, set-up included, on a machine with Python 3.11 or later, make and a C compiler.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.setup
PORT ?= 3000
MINUTES ?= 10
CYTHON := $(shell find cdc_pipeline -name '*_cy.py')

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-live test-long lint format dev bench fuzz lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1\t/' | expand -t 12

setup: $(SETUP)  ## make .venv with the package, compiled, editable, all extras, locked versions

$(SETUP): pyproject.toml .ci/constraints.txt $(CYTHON)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11 or later expected, found $$($(PYTHON) --version); set PYTHON=python3.12"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=.ci/constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--editable '.[embedded,encryption,dev]'
	@$(BIN)/python -c 'from cdc_pipeline.decode import COMPILED as d; from cdc_pipeline.load.postgres import COMPILED as p; \
		import sys; sys.exit(0 if d and p else "error: the decoder is not compiled; is there a C compiler and Python.h?")'
	@touch $@

demo: setup  ## replay a recorded Cassandra node through Dagster into an embedded PostgreSQL and ClickHouse
	@$(BIN)/cdc-pipeline demo

test: setup  ## all tests that need Python and a C compiler only
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term:skip-covered --cov-fail-under=85 $(ARGS)

test-live: setup  ## random schemas and statements on live Cassandra nodes; needs a JDK 17 and Maven, or Docker
	$(BIN)/python -m pytest -m live cdc_pipeline_tests/live $(ARGS)

test-long: setup  ## more of the same: dropped bits, kills (CDC_CHAOS_KILLS), histories (CDC_CASES), recordings (CDC_RECORDINGS=FOLDER)
	$(BIN)/python -m pytest -m long -n 2 --dist worksteal --hypothesis-profile=exploring $(ARGS)

fuzz: setup  ## each fuzzer of the decoder for MINUTES (10)
	$(BIN)/python -m cdc_pipeline_tests.fuzz --minutes $(MINUTES)

lint: setup  ## ruff, mypy, import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup  ## ruff's own fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

dev: setup  ## the Dagster UI on the demo project
	@$(BIN)/cdc-pipeline demo --ui --port $(PORT)

bench: setup  ## measure decoding (beside Cassandra's own reader, where JDK and Maven are), following and loading
	@$(BIN)/python -m cdc_pipeline_tests.benchmarks.decode
	@$(BIN)/cdc-pipeline bench live
	@$(BIN)/cdc-pipeline bench live --into postgres --rate 50
	@$(BIN)/cdc-pipeline bench live --into clickhouse --rate 50 --seconds 60
	@$(BIN)/cdc-pipeline bench load postgres
	@$(BIN)/cdc-pipeline bench load clickhouse
	@$(BIN)/python -m cdc_pipeline_tests.benchmarks.load

lock: setup  ## write .ci/constraints.txt anew (uv, from PyPI)
	$(PYTHON) -m uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --no-header \
		--no-annotate --no-emit-index-url --no-emit-find-links --output-file .ci/constraints.txt --upgrade --quiet

clean:  ## remove what make made, the demo's data too
	rm -rf $(VENV) .demo build *.egg-info .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find cdc_pipeline cdc_pipeline_tests -name __pycache__ -prune -exec rm -rf {} +
	find cdc_pipeline -name '*_cy.c' -delete -o -name '*_cy.*.so' -delete
