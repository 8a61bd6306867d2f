# Two commands on a fresh machine with Python 3.11 and make: `make demo` and `make test`.
# Every target makes its own virtual environment first, from the pinned set in constraints.txt.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test lint types bench fuzz up clean

help: ## Say what the targets do
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "healspan needs Python 3.11 or newer: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing healspan and its tools into .venv (about a minute) ..."
	@$(PIP) --upgrade pip
	@$(PIP) --editable '.[all]' --group dev
	@touch $(STAMP)

demo: $(STAMP) ## Heal real SEC filings, twice: the second run needs no diagnosis
	@$(BIN)/healspan demo

# Boundaries have two forms; what is tested of one must hold of the other.
BOTH_FORMS := $(addprefix tests/,integration/test_boundary.py integration/test_engine.py \
  integration/test_retry_and_parameters.py integration/test_inner_functions.py acceptance/test_attacks.py \
  acceptance/test_filings.py)

# The store is on SQLite or on PostgreSQL; what is tested of one must hold of the other.
ON_POSTGRESQL := $(addprefix tests/integration/test_,analytics.py cascades.py fix_evidence.py fleet.py gateway.py \
  gateway_budgets.py gateway_processes.py golden.py metrics.py probation_fleet.py store_database.py store_drain.py store_index.py \
  store_propagation.py)

# Much of the time tests wait, for processes and for time-outs: two at once take half as long, on two cores or one.
WORKERS ?= 2

test: lint types $(STAMP) ## Everything CI checks: lint, types, tests
	@$(BIN)/pytest -n $(WORKERS) --dist loadfile
	@HEALSPAN_COMPILED_BOUNDARIES=0 $(BIN)/pytest -n $(WORKERS) --dist loadfile $(BOTH_FORMS)
	@HEALSPAN_TEST_STORE=postgresql $(BIN)/pytest -n $(WORKERS) --dist loadfile $(ON_POSTGRESQL)

lint: $(STAMP) ## Style and the one-way arrows between the parts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache

types: $(STAMP) ## Strict types
	@$(BIN)/mypy

fuzz: $(STAMP) ## A minute of coverage-guided fuzzing for every repairer
	@$(PIP) --group fuzz
	@$(BIN)/python tests/fuzz/fuzz_repairers.py --seconds 60

bench: $(STAMP) ## Budgets, seven functions, injected faults, strangers' errors, retrieval, filings (needs the data folder)
	@$(BIN)/python benchmarks/overhead.py
	@$(BIN)/python benchmarks/seven.py
	@$(BIN)/python benchmarks/faults.py --data ../shared/data/filings
	@$(BIN)/python benchmarks/runtime_errors.py ../shared/data/runtime_errors/core_dev.jsonl
	@$(BIN)/python benchmarks/tier2.py
	@$(BIN)/python benchmarks/storm.py
	@$(BIN)/python benchmarks/retrieval.py --data ../shared/data/tracebacks/python_tracebacks.jsonl.gz
	@$(BIN)/python benchmarks/filings.py --data ../shared/data/filings

up: $(STAMP) ## Scheduled analytics, /metrics and the console, on this machine
	@$(BIN)/healspan up

clean: ## Remove what the targets made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
