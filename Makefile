# Two commands do all on a fresh machine: `make demo` and `make test`. Needs Python 3.11 or later with venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
RESULTS ?= results/demo
WORKERS ?= 2
CODE := frbench.harness frbench.attacks frbench.defenses frbench.datasets

.PHONY: demo test lint types unit bench clean

demo: $(VENV)/.demo
	$(BIN)/frbench run experiment=demo paths.results=$(RESULTS)
	$(BIN)/frbench report paths.results=$(RESULTS)

test: lint types unit

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test
	MYPYPATH=$(VENV)/typing $(BIN)/mypy $(foreach package,$(CODE),-p $(package))

unit: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist worksteal

bench: $(VENV)/.bench
	$(BIN)/python scripts/bench.py
	$(BIN)/python scripts/bench_attacks.py
	$(BIN)/python scripts/bench_defenses.py
	$(BIN)/python scripts/bench_cloaks.py
	$(BIN)/python scripts/bench_training.py

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache

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
