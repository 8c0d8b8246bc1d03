# make help prints what there is; every target sets up what it needs by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PEERS := $(VENV)/.peers

.DEFAULT_GOAL := help
.PHONY: help setup demo test check parity format types bench clean

help: ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,stems]'
	@touch $@

setup: $(READY) ## make the virtual environment with the pinned dependencies

demo: $(READY) ## a first run: train on songs that sepexp makes itself, score, listen
	$(BIN)/python -m sepexp experiments=first_run/demo hydra.run.dir=runs/demo/$$(date +%Y-%m-%d_%H-%M-%S)

test: $(READY) ## format, lint, types and tests
	$(MAKE) --no-print-directory check

check: $(READY) ## what CI runs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist worksteal

$(PEERS): $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,stems,parity]'
	$(BIN)/python -m pip install --quiet --no-deps asteroid==0.7.0
	@touch $@

parity: $(PEERS) ## same weights, same output as other packages, which it installs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m parity

format: $(READY) ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(READY) ## types alone
	$(BIN)/mypy

bench: $(READY) ## speed against named peers, those that are installed, as ratios
	@echo "== scores: BSSEval v4 against museval"
	$(BIN)/python benchmarks/scores.py
	@echo "== stream: training examples a second against the readers of other projects"
	$(BIN)/python benchmarks/stream.py
	@echo "== stretch: pitch and tempo of a chunk against stretching libraries"
	$(BIN)/python benchmarks/stretch.py
	@echo "== models: training steps and inference against reference classes (make parity installs them)"
	$(BIN)/python benchmarks/models.py

clean: ## remove the environment and what tools left behind
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache
