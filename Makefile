PYTHON ?= python3
BIN := .venv/bin
SNAKEMAKE := PATH="$(CURDIR)/$(BIN):$$PATH" snakemake

# Files of tests beside one another, those that run Snakemake first (see conftest.py).
PYTEST := $(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder --maxprocesses 4 -n
# Most of the time of the cluster's file is waiting, and each of the others kills one thing after the other.
FAULTS ?= $(wildcard tests/slurm/test_*.py tests/faults/test_*.py)
SEED ?= $(shell od -An -N4 -tu4 /dev/urandom | tr -d ' ')

.PHONY: smoke test test-random test-faults lint docs keys reproduction clean
.DEFAULT_GOAL := smoke

smoke: .venv/installed  ## run config/smoke.yaml up to reports/smoke/report.html
	$(SNAKEMAKE) --cores all --configfile config/smoke.yaml
	@echo "The report: $(CURDIR)/reports/smoke/report.html"

test: .venv/installed  ## run the tests
	$(PYTEST) logical -rs --durations 15 --ignore tests/faults --ignore tests/slurm

test-random: .venv/installed  ## try each property on 500 fresh examples, or on those of a SEED
	$(PYTEST) logical -m hypothesis --hypothesis-profile random --hypothesis-seed $(SEED)

test-faults: .venv/installed  ## kill, starve and damage runs; start a SLURM cluster of one node (as root, on Debian)
	$(PYTEST) $(words $(FAULTS)) -rs --durations 15 $(FAULTS)

lint: .venv/installed  ## check style, types, import rules and the workflow
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/snakefmt --check Snakefile workflow
	$(SNAKEMAKE) --lint --configfile config/smoke.yaml

docs: .venv/installed  ## build the site in docs/build; a warning or a broken link is an error
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet -c docs . docs/build
	@echo "The site: $(CURDIR)/docs/build/index.html"

keys: .venv/installed  ## write config/README.md anew from the code
	$(BIN)/python -m nls.experiments.config_keys

reproduction: .venv/installed  ## write the tables of docs/reproduction.md anew from results/reference
	$(BIN)/python -m nls.reporting.reproduction

clean:  ## remove the environment
	rm -rf .venv

.venv/installed: pyproject.toml constraints.txt requirements-no-deps.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	    || { echo "nls needs Python 3.11, 3.12 or 3.13; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,slurm]'
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements-no-deps.txt
	touch $@
