# On a fresh machine: `make demo`, `make test`, and `make docs`, which builds the documentation into site/.
# Needs Python 3.11 or later with venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
MKDOCS := $(VENV)/docs/bin/mkdocs
RESULTS ?= results/demo
WORKERS ?= 2
CODE := frbench.harness frbench.attacks frbench.defenses frbench.datasets

.PHONY: demo test lint types unit cluster bench docs docs-serve clean

demo: $(VENV)/.demo
	$(BIN)/frbench run experiment=demo paths.results=$(RESULTS)
	$(BIN)/frbench report paths.results=$(RESULTS)

test: lint types unit

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test
	MYPYPATH=$(VENV)/typing $(BIN)/mypy $(foreach package,$(CODE),-p $(package))

# Compiled tests are kept, whatever the environment says: to compile them again takes each worker several seconds.
unit: $(VENV)/.test $(MKDOCS)
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist worksteal --durations 40 \
		-m "not slurm and not cluster"
	@echo "Tests of launchers on a real Slurm, and whole sweeps that are killed and damaged: make cluster"

# Needs slurm-wlm and munge (Debian), and for one test the extra ray; what is missing is skipped with the reason.
cluster: $(VENV)/.test
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/pytest -m "slurm or cluster" --durations 10

bench: $(VENV)/.bench
	$(BIN)/python scripts/bench.py
	$(BIN)/python scripts/bench_attacks.py
	$(BIN)/python scripts/bench_defenses.py
	$(BIN)/python scripts/bench_cloaks.py
	$(BIN)/python scripts/bench_training.py
	$(BIN)/python scripts/bench_sweeps.py
	$(BIN)/python scripts/bench_defense_sweeps.py
	$(BIN)/python scripts/bench_store.py
	$(BIN)/python scripts/bench_workers.py

docs: $(MKDOCS)
	$(MKDOCS) build --strict

docs-serve: $(MKDOCS)
	$(MKDOCS) serve

clean:
	rm -rf $(VENV) build site *.egg-info .mypy_cache .ruff_cache .pytest_cache

# One environment; each stamp says what it holds so far.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable .
	touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable ".[all,dev]"
	mkdir -p $(VENV)/typing && ln -sfn ../.. $(VENV)/typing/frbench   # mypy does not see editable namespaces
	touch $@ $(VENV)/.demo

$(VENV)/.bench: $(VENV)/.test
	$(PIP) --editable ".[all,dev,bench]"
	touch $@

# The documentation reads the source and imports none of it; see the extra docs in pyproject.toml.
$(MKDOCS): constraints-docs.txt | $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)/docs
	$(VENV)/docs/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints-docs.txt \
		mkdocs-material "mkdocstrings[python]" ruff
	touch $@
