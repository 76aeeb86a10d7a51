# The commands that people and CI use. Each makes the machine ready first; that takes no time when it is.
# REKAM_HOME names the state folder (default ~/.local/share/rekam); the broker's jars are cached in it.

PYTHON := .venv/bin/python
# Half of a test is waiting for a server. A file stays in one process, so that its tests share what it sets up.
TWO_AT_ONCE := -n 2 --dist loadfile --no-loadscope-reorder
FAST_TESTS := $(wildcard tests/unit tests/property tests/contract)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast check format bench clean

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what is missing (APT=no: only name the system packages)
	@deploy/local/bootstrap

demo: setup ## Run the regency on this machine: http://127.0.0.1:8080 (ARGS=--until-drained ends it)
	.venv/bin/rekam up --demo $(ARGS)

test: setup ## Run all tests, the quick ones first (ARGS are pytest's; ARGS="-n 0 --pdb")
	$(PYTHON) -m pytest $(TWO_AT_ONCE) $(ARGS)

test-fast: setup ## Run the tests that need no servers
	$(PYTHON) -m pytest $(TWO_AT_ONCE) $(FAST_TESTS) $(ARGS)

check: setup ## Lint, format, types, imports
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy --explicit-package-bases
	.venv/bin/lint-imports

format: setup ## Format the code and fix what ruff can
	$(PYTHON) -m ruff check --fix
	$(PYTHON) -m ruff format

bench: setup ## Measure; prints a table and writes a JSON file
	$(PYTHON) -m tests.benchmarks $(ARGS)

clean: ## Remove caches and build output; .venv and REKAM_HOME stay
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +
