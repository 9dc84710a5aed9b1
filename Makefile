# Every target does its own set-up: on a fresh machine `make demo` or `make test` is all there is to do.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
READY := $(VENV)/.ready
PROCESSES := -n auto --maxprocesses 4 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help install demo compare test test-all test-more coverage lint types wheel-test docs docs-links clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1|/' | column -t -s '|'

install: $(STAMP)  ## make .venv and install coseg into it, editable, with the developer extras

# What `make demo` needs, and no more. Only what it imports is compiled: pip compiles all files, which takes longer.
$(READY): pyproject.toml
	$(make-venv)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -e .
	@touch $@

$(STAMP): pyproject.toml
	$(make-venv)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(READY)

define make-venv
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
	  { echo "coseg needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is another: make PYTHON=python3.12 …" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
endef

demo: $(READY)  ## train and test on drawn shapes; leaves runs/demo/summary.json
	$(BIN)/python -m coseg.cli.demo

compare: install  ## train all networks and ablations 5 minutes each on COSEG_VOC_ROOT; stopped, it goes on
	$(BIN)/python -m benchmarks.equal_budget $(COMPARE)

test: install  ## the tests, without those marked slow
	$(BIN)/python -m pytest -q $(PROCESSES)

test-all: install  ## all tests
	$(BIN)/python -m pytest -q -m '' $(PROCESSES)

test-more: install  ## a few of the slow ones: two processes, signals, a study, the page in a real browser
	$(BIN)/python -m pytest -q -m slow tests/training/test_two_processes.py tests/page/test_browser.py \
	  tests/training/test_resume.py::test_a_signal_to_the_process_group 'tests/cli/test_cli_sweep.py::test_every_study_runs[default]'

coverage: install  ## the tests, with the share of lines of src/coseg that they run: at least 92 %
	$(BIN)/python -m pytest -q $(PROCESSES) --cov --cov-report=term --cov-fail-under=92

lint: install  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install  ## mypy on src
	$(BIN)/mypy

wheel-test: install  ## build the wheel, install it elsewhere, run the commands from another directory
	$(BIN)/python tests/wheel.py

docs: install  ## the site, into build/docs; whatever Sphinx warns of is an error
	$(BIN)/python -m sphinx -b html -W --keep-going -q docs build/docs
	@echo build/docs/index.html

docs-links: install  ## try the site's links to other machines
	$(BIN)/python -m sphinx -b linkcheck -W --keep-going -q docs build/docs-links

clean:  ## remove what was built and .venv; runs/ stays
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
