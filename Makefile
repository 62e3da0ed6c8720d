# Every target does its own set-up and can be repeated. Commands that need root say so: use sudo.

PYTHON := .venv/bin/python
BIN := .venv/bin

.PHONY: help setup run test check bench lock stop format

help: ## Show the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile | expand -t 16

setup: ## Install what is missing and make .venv
	@scripts/setup.sh

run: setup ## Start orlopd if none answers and run a first container
	@$(PYTHON) scripts/run.py

stop: ## Stop the orlopd that `make run` started; containers run on
	@$(PYTHON) scripts/run.py --stop

test: ## Run the whole test suite
	@scripts/setup.sh test
	$(BIN)/pytest

check: setup ## Linters, types, floors and unit tests: takes seconds
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/unit

format: setup ## Format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: setup ## Compare with dockerd if it is installed, and with the bare kernel
	@$(PYTHON) -m bench $(BENCH)

lock: setup ## Renew requirements.lock after a change of pyproject.toml
	$(BIN)/uv pip compile -q pyproject.toml --group dev --universal --generate-hashes --no-header --no-annotate -o requirements.lock
